import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { jsonMetrics } from '../runtime/telemetry/exposition.ts';
import { Metrics } from '../runtime/telemetry/metrics.ts';
import { Desk } from './desk.ts';
import { measureRoutes, summarise } from './measures.ts';
import { intervalOf, per, WINDOW_MS, withLook } from './shared/interval.ts';
import type { Measures, MeasuresAnswer } from './shared/wire.ts';
import { serveRoutes } from './testing/bridge.ts';

/** What a service would serve after `use`. */
function served(use: (metrics: Metrics) => void): ReturnType<typeof jsonMetrics> {
  const metrics = new Metrics();
  use(metrics);
  return jsonMetrics(metrics.all);
}

describe('measures', () => {
  test('are read from the metrics as the services have them', async () => {
    const { gauges, totals } = summarise(
      served((metrics) => {
        for (const padding of [0.25, 0.5]) {
          metrics.batchSize({}).record(4);
          metrics.batchTokens({}).record(100);
          metrics.batchPadding({}).record(padding);
          metrics.batchDuration({}).record(0.01);
        }
        metrics.cacheLookups({ 'scalingnote.result': 'hit' }).add(3);
        metrics.cacheLookups({ 'scalingnote.result': 'miss' }).add(1);
        metrics.documents({ 'scalingnote.document.outcome': 'indexed' }).add(5);
        metrics.documents({ 'scalingnote.document.outcome': 'rejected' }).add(2);
        metrics.liveCosine({}).record(0.9);
        metrics.callDuration({ 'rpc.method': 'a' }).record(0.5);
        metrics.callDuration({ 'rpc.method': 'b' }).record(0.25);
        metrics.callDuration({ 'rpc.method': 'scalingnote.v1.DocumentService/Ingest' }).record(60);
        for (const [process, seconds] of [
          ['1', 0.1],
          ['2', 0.3],
        ] as const) {
          const own = { 'scalingnote.process': process };
          metrics.observe('nodejs.eventloop.delay.p99', 's', '', () => seconds, own);
          metrics.observe('process.memory.usage', 'By', '', () => 10, own);
        }
        metrics.observe('scalingnote.queue.depth', '1', '', () => 7, { 'scalingnote.queue': 'ingest' });
      }),
    );
    assert.equal(gauges.queue, 7);
    assert.deepEqual([gauges.memory, gauges.loopDelayP99], [20, 0.3], 'of several processes');
    assert.deepEqual(
      [totals.batches, totals.batchInputs, totals.batchTokens, totals.batchPadding],
      [2, 8, 200, 0.75],
    );
    assert.deepEqual([totals.cacheHits, totals.cacheLookups], [3, 4]);
    assert.deepEqual([totals.documents, totals.documentsRejected], [7, 2]);
    assert.deepEqual([totals.calls, totals.callSeconds, totals.compared, totals.cosine], [2, 0.75, 1, 0.9]);
  });

  test('of one service are there though the other has none; what is wrong says which flag mends it', async (t) => {
    const series = served((metrics) => metrics.documents({}).add(1));
    const service = createServer((_, response) => response.end(JSON.stringify(series)));
    service.listen(0, '127.0.0.1');
    await once(service, 'listening');
    t.after(() => service.close());
    const document = `127.0.0.1:${(service.address() as AddressInfo).port}`;
    const desk = new Desk({ document, queries: [document] });
    t.after(() => desk.close());
    const bridge = await serveRoutes([measureRoutes({ document, query: '' }, () => desk)]);
    t.after(() => bridge.stop());
    const { services } = (await bridge.ask('GET', '/api/measures')).json as MeasuresAnswer;
    assert.equal(services[0]?.measures?.totals.documents, 1);
    assert.equal(services[1]?.measures, undefined);
    assert.match(services[1]!.problem!, /--query-metrics/);
  });
});

describe('what happened lately', () => {
  const empty = summarise([]);
  const look = (at: number, documents: number, calls = documents): { at: number; measures: Measures } => ({
    at,
    measures: { ...empty, totals: { ...empty.totals, documents, calls } },
  });

  test('is the difference to the oldest look of the window', () => {
    let looks: ReturnType<typeof withLook> = [];
    assert.equal(intervalOf(looks), undefined);
    for (let at = 0; at <= 2 * WINDOW_MS; at += 1000) {
      looks = withLook(looks, { kind: 'document', ...look(at, at / 100) });
    }
    const { seconds, grown } = intervalOf(looks)!;
    assert.deepEqual([seconds, grown.documents], [WINDOW_MS / 1000, WINDOW_MS / 100]);
    assert.deepEqual([per(grown.documents, seconds), per(1, 0)], [10, undefined]);
  });

  test('begins anew where a service was started again, or has no measures', () => {
    const looks = withLook([look(0, 50), look(1000, 60)], { kind: 'query', ...look(2000, 3) });
    assert.deepEqual(looks, [look(2000, 3)]);
    assert.deepEqual(withLook(looks, { kind: 'query', at: 3000, problem: 'away' }), []);
  });
});
