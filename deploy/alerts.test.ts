import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { status } from '@grpc/grpc-js';
import { parse } from 'yaml';
import { optionalTool } from '../test/testing/optional-tool.ts';
import { FOLDER, pathOf, read, rules, scenarioFiles } from './testing/telemetry-files.ts';

/** A file of scenarios, as far as this test looks at it. */
interface Scenarios {
  tests: {
    promql_expr_test?: { expr: string; exp_samples: { labels: string }[] }[];
    alert_rule_test?: { alertname: string; exp_alerts: unknown[] }[];
  }[];
}

const { path: promtool, skip } = optionalTool('promtool');
const run = promisify(execFile);
const alerts = rules.filter(({ alert }) => alert !== undefined);
const names = alerts.map(({ alert }) => alert!);

describe('promtool', { skip }, () => {
  test('takes the rules', async () => {
    await run(promtool!, ['check', 'rules', '--lint-fatal', pathOf(`${FOLDER}/alerts.yaml`)]);
  });

  test('takes the configuration', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'scalingnote-prometheus-'));
    try {
      // Where the files lie here.
      const config = read(`${FOLDER}/prometheus.yaml`)
        .replaceAll('/etc/prometheus', pathOf(FOLDER))
        .replace('/run/secrets/qdrant-api-key', join(folder, 'key'));
      writeFileSync(join(folder, 'key'), 'key');
      writeFileSync(join(folder, 'prometheus.yaml'), config);
      await run(promtool!, ['check', 'config', join(folder, 'prometheus.yaml')]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  for (const file of scenarioFiles) {
    test(`plays ${file}`, async () => {
      const failure = await run(promtool!, ['test', 'rules', pathOf(file)]).then(
        () => '',
        (error: { stdout: string; stderr: string }) => `${error.stdout}${error.stderr}`,
      );
      assert.equal(failure, '');
    });
  }
});

test('every alert fires in a scenario, and comes near and stays silent in another', () => {
  const fired = new Set<string>();
  const silent = new Set<string>();
  for (const file of scenarioFiles) {
    for (const each of (parse(read(file)) as Scenarios).tests) {
      for (const { expr, exp_samples } of each.promql_expr_test ?? []) {
        if (!expr.includes('ALERTS{alertstate="firing"}')) continue;
        for (const { labels } of exp_samples) {
          const name = /alertname="(\w+)"/.exec(labels)?.[1];
          if (name !== undefined) fired.add(name);
        }
      }
      for (const { alertname, exp_alerts } of each.alert_rule_test ?? []) {
        assert.deepEqual(exp_alerts, [], `${file}: what fires is listed by promql_expr_test`);
        silent.add(alertname);
      }
    }
  }
  assert.deepEqual([...fired].sort(), names.toSorted());
  assert.deepEqual([...silent].sort(), names.toSorted());
});

test('every alert says what it means and what to do, and has a section in the runbook', () => {
  const runbook = read('docs/runbook.md');
  for (const { alert, labels, annotations } of alerts) {
    assert.match(labels?.['severity'] ?? '', /^(page|ticket|info)$/, alert);
    assert.ok(annotations?.['summary'] && annotations['description'], alert);
    assert.equal(annotations['runbook_url'], `docs/runbook.md#${alert!.toLowerCase()}`);
  }
  // In their order, and none of an alert that is gone.
  assert.deepEqual(
    [...runbook.matchAll(/^### (\w+)$/gm)].map(([, heading]) => heading),
    names,
  );
});

test('alerts ask for reasons and statuses that the services have', () => {
  const folders = [
    'services/runtime',
    'services/runtime/tenants',
    'services/document/ingest',
    'store',
    'towers',
  ];
  const sources = folders.flatMap((folder) =>
    readdirSync(pathOf(folder))
      .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
      .map((file) => read(`${folder}/${file}`)),
  );
  const asked = new Set<string>();
  for (const { expr } of rules) {
    for (const [, label = '', values = ''] of expr.matchAll(/(\w+)=~?"([^"]*)"/g)) {
      if (!/^(?:scalingnote_reason|error_type|rpc_response_status_code)$/.test(label)) continue;
      for (const value of alternatives(values)) {
        asked.add(value);
        const known =
          label === 'rpc_response_status_code'
            ? Object.hasOwn(status, value)
            : sources.some((source) => source.includes(`'${value}'`));
        assert.ok(known, `${label}="${value}"`);
      }
    }
  }
  assert.ok(asked.has('STORE_FULL') && asked.has('STORE_UNAVAILABLE') && asked.has('DATA_LOSS'));
});

/** The values that a pattern such as `A|B_(C|D)` matches. */
function alternatives(pattern: string): string[] {
  return (pattern.match(/(?:[^|(]|\([^)]*\))+/g) ?? []).flatMap((part) => {
    const [, before = '', inside = ''] = /^(\w*)\((.*)\)$/.exec(part) ?? [];
    return inside === '' ? [part] : inside.split('|').map((each) => before + each);
  });
}
