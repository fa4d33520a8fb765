import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse, stringify } from 'yaml';
import { DocumentClient, type DocumentInput, QueryClient } from '../clients/index.ts';
import { freePort } from '../cli/service-processes.ts';
import { startService, stopServices } from '../services/runtime/testing/processes.ts';
import { optionalTool } from '../test/testing/optional-tool.ts';
import { encodeFamiliarity } from '../towers/familiarity.ts';
import { VOCABULARY, writeTinyTower } from '../towers/testing/tiny-tower.ts';
import { dashboards, FOLDER, pathOf, read, rules, selectorsIn } from './testing/telemetry-files.ts';

/**
 * A real Prometheus scrapes a running pair, with our own configuration but for addresses and intervals. Whatever
 * dashboards, rules and alerts ask for has to be there: a name that nothing exports, or a label with a typo, is empty
 * for ever and nobody notices.
 */

const { path: prometheus, skip } = optionalTool('prometheus');

/** What this pair has no data for, and why. The same series must be there with other values of these labels. */
const EMPTY: Readonly<Record<string, string>> = {
  'db_client_operation_duration_seconds_count{error_type=~"STORE_(UNAVAILABLE|UNAUTHENTICATED|PERMISSION_DENIED|OVERLOADED|INTERNAL)"}':
    'the embedded store is well',
  'db_client_operation_duration_seconds_count{error_type="STORE_FULL"}': 'the disk has room',
  'scalingnote_documents_total{scalingnote_document_outcome="rejected",scalingnote_reason=~"INTERNAL|STORE_INTERNAL|VECTOR_DEGENERATE|ENCODER_FAILED"}':
    'no document meets a fault of the service',
};

/** How long the data may take to appear. It takes some ten seconds; a busy machine takes longer. */
const PATIENCE_MS = 120_000;

interface Sample {
  metric: Record<string, string>;
  value: [time: number, value: string];
}

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-live-telemetry-'));
const stopTraffic = new AbortController();
let traffic: Promise<unknown> = Promise.resolve();
let server: ChildProcess | undefined;
let address = '';

before(async () => {
  if (prometheus === undefined) return;
  const pair = await startPair();
  traffic = Promise.all([
    ingestForEver(pair.document.address),
    makeTrouble(pair.document.address),
    searchForEver(pair.query.address),
  ]);
  // Whoever awaits it in the end hears of its failure.
  traffic.catch(() => {});
  address = `127.0.0.1:${await freePort()}`;
  writeFileSync(join(folder, 'prometheus.yaml'), config(pair.document.metrics, pair.query.metrics));
  server = spawn(
    prometheus,
    [
      `--config.file=${join(folder, 'prometheus.yaml')}`,
      `--storage.tsdb.path=${join(folder, 'prometheus')}`,
      `--web.listen-address=${address}`,
      '--enable-feature=exemplar-storage',
      '--log.level=error',
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
});

after(async () => {
  stopTraffic.abort();
  await traffic;
  if (server?.exitCode === null) {
    const exited = once(server, 'exit');
    server.kill('SIGTERM');
    await exited;
  }
  await stopServices();
  rmSync(folder, { recursive: true, force: true });
});

describe('a Prometheus that scrapes a running pair', { skip }, () => {
  for (const { title, panels } of dashboards) {
    for (const panel of panels) {
      test(`has data for the panel "${panel.title}" of the dashboard ${title}`, async () => {
        for (const { expr, legendFormat } of panel.targets) {
          const samples = await dataOf(expr.replaceAll('$__rate_interval', '30s'));
          for (const [, label = ''] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
            const labelled = samples.some(({ metric }) => metric[label] !== undefined);
            assert.ok(labelled, `${expr} has no label ${label}`);
          }
        }
      });
    }
  }

  test('has data for whatever rules and alerts read', async () => {
    const selectors = new Set(rules.flatMap(({ expr }) => selectorsIn(expr)));
    for (const selector of selectors) {
      // The label is there, with values that mean no trouble.
      await dataOf(EMPTY[selector] === undefined ? selector : selector.replaceAll(/=~?"[^"]*"/g, '!=""'));
    }
    for (const selector of Object.keys(EMPTY)) {
      assert.ok(selectors.has(selector), `no rule reads ${selector}: take it off the list`);
      assert.deepEqual(await query(selector), [], `${selector} has data: take it off the list`);
    }
  });

  test('records every series, and evaluates every rule without an error', async () => {
    for (const { record } of rules) if (record !== undefined) await dataOf(record);
    const { groups } = await ask<{
      groups: { rules: { name: string; health: string; lastError?: string }[] }[];
    }>('rules');
    const evaluated = groups.flatMap((group) => group.rules);
    assert.equal(evaluated.length, rules.length);
    for (const { name, health, lastError } of evaluated) {
      assert.deepEqual([health, lastError], ['ok', undefined], name);
    }
  });

  test('sees failures of calls and of streams where there are some', async () => {
    await until('scalingnote:searches_failed:rate5m > 0');
    await until('scalingnote:ingest_streams_failed:rate15m > 0');
    await until('scalingnote:documents_rejected:rate15m > 0');
  });
});

/** What an expression gives, once it gives numbers. */
async function dataOf(expression: string): Promise<Sample[]> {
  const samples = await until(expression);
  assert.ok(samples.some(({ value: [, value] }) => value !== 'NaN'));
  return samples;
}

/** Waits until an expression has a number. */
async function until(expression: string): Promise<Sample[]> {
  for (;;) {
    const samples = await query(expression).catch((error: unknown) => {
      // It may not listen yet.
      if (error instanceof TypeError) return [];
      throw error;
    });
    if (samples.some(({ value: [, value] }) => value !== 'NaN')) return samples;
    if (performance.now() > PATIENCE_MS) assert.fail(`no data: ${expression}`);
    await sleep(500);
  }
}

const query = async (expression: string): Promise<Sample[]> =>
  (await ask<{ result: Sample[] }>(`query?query=${encodeURIComponent(expression)}`)).result;

async function ask<Data>(path: string): Promise<Data> {
  const response = await fetch(`http://${address}/api/v1/${path}`);
  const answer = (await response.json()) as { status: string; error?: string; data: Data };
  assert.equal(answer.status, 'success', `${path}: ${answer.error}`);
  return answer.data;
}

/** Our own configuration, for a pair on this machine and a test that does not wait for minutes. */
function config(document: string, queries: string): string {
  const own = parse(read(`${FOLDER}/prometheus.yaml`)) as {
    global: Record<string, string>;
    rule_files: string[];
    alerting?: object;
    scrape_configs: {
      job_name: string;
      static_configs: { targets: string[]; labels: { service: string } }[];
    }[];
  };
  own.global = { scrape_interval: '1s', evaluation_interval: '1s' };
  own.rule_files = [pathOf(`${FOLDER}/alerts.yaml`)];
  // `alertmanager.test.ts` has one.
  delete own.alerting;
  own.scrape_configs = own.scrape_configs.filter(({ job_name }) => job_name === 'scalingnote');
  for (const target of own.scrape_configs.flatMap(({ static_configs }) => static_configs)) {
    target.targets = [target.labels.service === 'document' ? document : queries];
  }
  return stringify(own);
}

/** Both services over small towers and one embedded store, so narrow that some calls find no room. */
async function startPair() {
  writeTinyTower(join(folder, 'document'));
  const counts = new Uint32Array(Object.keys(VOCABULARY).length);
  counts.fill(100, 0, 20);
  writeTinyTower(join(folder, 'query'), {
    name: 'tiny-student',
    role: 'query',
    distillation: {
      teacher: `file:${join(folder, 'document')}`,
      student: 'lookup',
      loss: '',
      texts: 1,
      steps: 1,
      seed: 1,
      heldOutCosine: 1,
      familiarity: encodeFamiliarity(counts),
    },
  });
  const nobody = `127.0.0.1:${await freePort()}`;
  const start = (name: 'document' | 'query', ...flags: string[]) =>
    startService(name, '--port', '0', '--metrics-port', '0', '--data', join(folder, 'data'), ...flags);
  const own = (name: string): string[] => [
    '--console-address',
    nobody,
    `--${name}-tower`,
    `file:${join(folder, name)}`,
  ];
  const document = await start('document', ...own('document'), '--ingest-streams', '1');
  const narrow = ['--query-slots', '1', '--query-queue', '0', '--live-share', '1'];
  const query = await start('query', ...own('query'), ...narrow);
  return { document, query };
}

/** One stream that never ends, with a document every now and then, of which some are out of date. */
async function ingestForEver(address: string): Promise<void> {
  const client = new DocumentClient({ address });
  async function* documents(): AsyncGenerator<DocumentInput> {
    for (let index = 0; !stopTraffic.signal.aborted; index++) {
      const stale = index > 0 && index % 4 === 0;
      yield stale
        ? { id: 'star 1', version: 0, text: `older ${index}` }
        : { id: `star ${index % 50}`, version: index + 1, text: `hello star ${index}` };
      await sleep(100);
    }
  }
  await client.ingest(documents(), { collection: 'docs' });
  client.close();
}

/** Streams for which there is no room, and calls of other kinds. */
async function makeTrouble(address: string): Promise<void> {
  const client = new DocumentClient({ address, attempts: 1 });
  while (!stopTraffic.signal.aborted) {
    const refused = client.ingest([{ id: 'late', text: 'world' }], {
      collection: 'docs',
      patienceMs: 1,
    });
    await refused.catch(() => {});
    await client.count({ collection: 'docs' }).catch(() => {});
    await sleep(200);
  }
  client.close();
}

/** Searches of every kind: alone, more than there is room for, over a stream, and of what is not there. */
async function searchForEver(address: string): Promise<void> {
  const client = new QueryClient({ address, attempts: 1 });
  const stream = client.searchStream();
  for (let index = 0; !stopTraffic.signal.aborted; index++) {
    const search = (query: string, collection = 'docs') => client.search({ collection, query });
    const type = (query: string) => stream.search({ collection: 'docs', query });
    await search('hello').catch(() => {});
    await search('hello', 'nowhere').catch(() => {});
    const texts = Array.from({ length: 8 }, (_, each) => `hello world ${index} ${each}`);
    await Promise.allSettled([...texts.map((text) => search(text)), type('wor'), type(`world ${index}`)]);
    await type('star').catch(() => {});
    await sleep(100);
  }
  stream.close();
  client.close();
}
