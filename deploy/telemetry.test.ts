import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { pino } from 'pino';
import { parse } from 'yaml';
import { IngestPipeline } from '../services/document/ingest/pipeline.ts';
import { FakeTower } from '../services/document/testing/fake-tower.ts';
import { MemoryStore } from '../store/testing/memory-store.ts';
import { queryService } from '../services/query/service.ts';
import { FakeStore, FakeTower as FakeQueryTower } from '../services/query/testing/fakes.ts';
import {
  HistogramSeries,
  type CounterSeries,
  type GaugeSeries,
  type SeriesOf,
} from '../services/runtime/telemetry/instruments.ts';
import { startTelemetry, type Telemetry } from '../services/runtime/telemetry/telemetry.ts';
import { dashboards, FOLDER, read, rules, selectorsIn } from './testing/telemetry-files.ts';

interface Compose {
  services: Record<string, { configs?: { source: string; target: string }[] }>;
  configs: Record<string, { file: string }>;
}

const compose = parse(read('docker-compose.yml'), { merge: true }) as Compose;
const recorded = new Set(rules.flatMap(({ record }) => record ?? []));

let telemetry: Telemetry;
/** Every series that the services have. */
const series = new Set<string>();

before(async () => {
  const log = pino({ level: 'silent' });
  const started = await startTelemetry(
    {
      name: 'test',
      version: '0',
      consoleAddress: '127.0.0.1:9',
      metricsHost: '127.0.0.1',
      metricsPort: 0,
      metricsPortSetting: '',
      slowMs: 1000,
    },
    {},
    log,
  );
  telemetry = started!;
  const { metrics } = telemetry;
  for (const seriesOf of Object.values(metrics!) as unknown[]) {
    if (typeof seriesOf !== 'function') continue;
    const one = (seriesOf as SeriesOf<CounterSeries | GaugeSeries | HistogramSeries>)({});
    if (one instanceof HistogramSeries) one.record(1);
    else one.value = 1;
  }
  const store = new FakeStore();
  queryService({ tower: new FakeQueryTower(), store, slots: 1, queue: 1, cache: 1, log, telemetry });
  const ingest = { store: new MemoryStore(), tower: new FakeTower(), log, telemetry };
  assert.equal(new IngestPipeline(ingest, { budgetTokens: 1024, maxStreams: 1 }).streams, 0);
  // The process of a service has it.
  series.add('scalingnote_serving');
  // A pause of garbage collection has to be there to be seen.
  const text = await (await fetch(`http://${telemetry.metricsAddress}/metrics`)).text();
  for (const line of text.split('\n')) if (!line.startsWith('#')) series.add(line.split(/[{ ]/)[0]!);
  for (const part of ['bucket', 'sum', 'count']) series.add(`v8js_gc_duration_seconds_${part}`);
});

after(() => telemetry.close());

function assertThere(expression: string, where: string): void {
  for (const selector of selectorsIn(expression.replaceAll('$__rate_interval', '5m'))) {
    const [name = ''] = selector.split('{');
    const known = name === 'up' || series.has(name) || recorded.has(name);
    assert.ok(known, `${where}: nobody measures ${name}`);
  }
}

test('dashboards show what is measured', () => {
  assert.deepEqual(dashboards.map(({ uid }) => uid).sort(), [
    'scalingnote-ingest',
    'scalingnote-processes',
    'scalingnote-search',
  ]);
  for (const { uid, panels } of dashboards) {
    for (const { title, description, targets } of panels) {
      assert.ok(description, title);
      for (const { expr } of targets) assertThere(expr, `${uid}, ${title}`);
    }
  }
});

test('alerts look at what is measured', () => {
  for (const { alert, record, expr } of rules) assertThere(expr, alert ?? record ?? '');
  const slos = new Set(rules.flatMap(({ labels }) => labels?.['slo'] ?? []));
  assert.deepEqual([...slos].sort(), ['freshness', 'search-availability', 'search-latency']);
});

test('Compose mounts every file of this folder where its program looks for it', () => {
  for (const { file } of Object.values(compose.configs)) assert.ok(read(file), file);
  const mounted = Object.values(compose.services).flatMap(({ configs = [] }) => configs);
  assert.deepEqual(mounted.map(({ source }) => source).sort(), Object.keys(compose.configs).sort());
  const prometheus = parse(read(`${FOLDER}/prometheus.yaml`)) as { rule_files: string[] };
  const targets = new Set(mounted.map(({ target }) => target));
  for (const file of prometheus.rule_files) assert.ok(targets.has(file), file);
  const collector = parse(read(`${FOLDER}/collector.yaml`)) as {
    exporters: Record<string, { endpoint: string }>;
    service: { pipelines: Record<string, { exporters: string[] }> };
  };
  for (const { exporters } of Object.values(collector.service.pipelines)) {
    for (const name of exporters) {
      const [host] = collector.exporters[name]!.endpoint.split(':');
      assert.ok(Object.hasOwn(compose.services, host!), `${host} is a service`);
    }
  }
});
