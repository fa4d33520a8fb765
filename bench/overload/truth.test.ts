import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { v1 } from '../../proto/load.ts';
import { admit } from '../../services/runtime/admission/admit.ts';
import { jsonMetrics } from '../../services/runtime/telemetry/exposition.ts';
import { Metrics } from '../../services/runtime/telemetry/metrics.ts';
import { RpcWatch } from '../../services/runtime/telemetry/rpc.ts';
import type { Telemetry } from '../../services/runtime/telemetry/telemetry.ts';
import { serve, until } from '../../services/runtime/testing/harness.ts';
import { load } from '../load/load.ts';
import { framed } from '../load/messages.ts';
import { Tally } from '../load/tally.ts';
import { compare, type Told, toldOf } from './truth.ts';

const closers: (() => unknown)[] = [];
after(() => Promise.all(closers.map((close) => close())));
const { Encode, SearchStream } = v1.QueryService.service;

/** A query service with two slots whose metrics can be read, and load on one of its methods. */
async function startWatched(handlers: Parameters<typeof serve>[0], path: string, request: Buffer) {
  const log = pino({ level: 'silent' });
  const metrics = new Metrics();
  const watch = (path: string, isStream: boolean): RpcWatch =>
    new RpcWatch(path, isStream, { tracer: undefined, metrics, slowMs: Infinity, log });
  const telemetry: Telemetry = {
    tracer: undefined,
    metrics,
    slowMs: Infinity,
    metricsAddress: undefined,
    watch,
    close: () => Promise.resolve(),
  };
  const admission = admit(
    { definition: v1.QueryService.service },
    { maxReceiveBytes: 1 << 20 },
    { querySlots: 2, queryQueue: 2, connectionIdleS: 300, connectionAgeS: 3_600 },
    telemetry,
  );
  const { server, stop } = await serve(handlers, { hooks: admission, telemetry, log });
  closers.push(() => (admission.close(), stop()));
  const told = (): Told => toldOf(jsonMetrics(metrics.all), path);
  const offer = async (deadlineMs: number) => {
    const { phases } = await load({
      host: '127.0.0.1',
      port: Number(server.address.split(':')[1]),
      path,
      bodies: [framed(request)],
      headers: {},
      deadlineMs,
      connections: 3,
      phases: [{ name: 'over', ms: 500, rate: 1_500, arrivals: 'poisson' }],
      seed: 1,
    });
    await until(() => admission.open === 0);
    return phases[0]!;
  };
  return { told, offer };
}

test('in overload the metrics count what callers see, and what they gave up', async () => {
  let slowMs = 5;
  const handlers = { Encode: () => sleep(slowMs, { embeddings: [{ values: [1] }] }) };
  const request = Encode.requestSerialize({ texts: ['x'] });
  const { told, offer } = await startWatched(handlers, Encode.path, request);
  const before = told();
  const patient = await offer(60_000);
  const agreed = compare(before, told(), patient);
  assert.ok(agreed.countsAgree, JSON.stringify(agreed));
  assert.equal(agreed.gaveUp, 0);
  assert.ok(patient.accepted.count > 0 && patient.refused.count > 0, JSON.stringify(patient.statuses));
  assert.deepEqual(
    Object.values(agreed.counts).map(([service, callers]) => service - callers),
    Object.values(agreed.counts).map(() => 0),
  );
  // Now callers give up what has begun.
  slowMs = 100;
  const middle = told();
  const hasty = await offer(50);
  const apart = compare(middle, told(), hasty);
  assert.ok(apart.gaveUp > 0, JSON.stringify(apart));
  assert.ok(apart.countsAgree, JSON.stringify(apart));
});

test('a stream that is refused after its head is counted once, as its caller sees it', async () => {
  const { told, offer } = await startWatched(
    {
      SearchStream: async ({ requests, write }) => {
        for await (const { sequence } of requests) await sleep(5).then(() => write({ sequence, result: {} }));
      },
    },
    SearchStream.path,
    SearchStream.requestSerialize({ sequence: 1, search: { collection: 'docs', query: 'x' } }),
  );
  const before = told();
  const patient = await offer(60_000);
  const { counts } = compare(before, told(), patient);
  assert.ok(patient.accepted.count > 0 && patient.refused.count > 0, JSON.stringify(patient.statuses));
  assert.deepEqual(Object.keys(counts).sort(), ['OK', 'RESOURCE_EXHAUSTED'], JSON.stringify(counts));
  for (const [service, callers] of Object.values(counts))
    assert.equal(service, callers, JSON.stringify(counts));
});

test('what a service does not count, or counts twice, is seen', () => {
  const tally = new Tally('phase', 1);
  for (let each = 0; each < 100; each++) {
    tally.sent(0);
    tally.ended(0, each, each < 98 ? 3 : 30);
  }
  const seen = tally.report();
  const told = (count: number): Told => ({
    counts: { OK: count },
    bounds: [0.002, 0.005, 0.02, 0.05],
    buckets: [0, count - 2, 0, 2, 0],
  });
  const nothing: Told = { counts: {}, bounds: [], buckets: [] };
  assert.deepEqual(compare(nothing, told(100), seen), {
    counts: { OK: [100, 100] },
    gaveUp: 0,
    countsAgree: true,
    p99: [0.05, 0.05],
    bucketsApart: 0,
  });
  assert.equal(compare(nothing, told(99), seen).countsAgree, false);
  assert.equal(compare(nothing, told(101), seen).countsAgree, false);
  const fast = { ...told(100), buckets: [100, 0, 0, 0, 0] };
  assert.equal(compare(nothing, fast, seen).bucketsApart, 3);
});
