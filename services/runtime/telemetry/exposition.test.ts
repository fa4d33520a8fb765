import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { optionalTool } from '../../../test/testing/optional-tool.ts';
import { exposition, PROMETHEUS_TEXT } from './exposition.ts';
import type { GaugeSeries } from './instruments.ts';
import { CounterSeries, HistogramSeries, type SeriesOf } from './instruments.ts';
import { Metrics } from './metrics.ts';
import { measureProcess } from './process-metrics.ts';

const { path: promtool, skip } = optionalTool('promtool');

/** Every metric that a service has, with values. */
function everything(): Metrics {
  const metrics = new Metrics();
  const stop = measureProcess(metrics);
  for (const member of Object.values(metrics) as unknown[]) {
    if (typeof member !== 'function') continue;
    const of = member as SeriesOf<CounterSeries | GaugeSeries | HistogramSeries>;
    for (const label of ['plain', 'quote " backslash \\ line\n', 'Wörter, 語 {}=#']) {
      const series = of({ 'rpc.method': label, 'a-b': 1 });
      if (series instanceof HistogramSeries) for (const value of [0, 0.02, 1e9]) series.record(value);
      else if (series instanceof CounterSeries) series.add(3);
      else series.set(-0.5);
    }
  }
  stop();
  return metrics;
}

/** What Prometheus's own linter says of a page. */
async function lint(page: string): Promise<{ code: number; complaints: string[] }> {
  const child = spawn(promtool!, ['check', 'metrics'], { stdio: ['pipe', 'ignore', 'pipe'] });
  child.stdin.end(page);
  const [complaints, [code]] = await Promise.all([
    text(child.stderr),
    once(child, 'exit') as Promise<[number]>,
  ]);
  return { code, complaints: complaints.split('\n').filter((line) => line !== '') };
}

test('Prometheus’s own linter takes every metric', { skip }, async () => {
  const page = exposition({ 'service.name': 'test' }, everything().all, PROMETHEUS_TEXT);
  assert.deepEqual(await lint(page), { code: 0, complaints: [] });
});

test('the linter sees a page that is wrong', { skip }, async () => {
  const page = exposition({}, everything().all, PROMETHEUS_TEXT);
  assert.notEqual((await lint(page.replace('le="+Inf"', 'le="x"'))).code, 0);
  assert.notEqual((await lint(page.replace(' counter\n', ' gauge\n'))).code, 0);
});
