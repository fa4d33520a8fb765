import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTraceState, SpanKind } from '@opentelemetry/api';
import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import { recordingLog } from '../testing/harness.ts';
import { SpanQueue, type QueueSettings } from './span-queue.ts';
import { readSpanRequest } from './testing/otlp.ts';
import { Tracer } from './tracer.ts';

const ORIGIN = {
  resource: resourceFromAttributes({ 'service.name': 'scalingnote-test' }),
  scope: { name: 'scalingnote', version: '1.2.3' },
};
const REMOTE_KNOWN = 0x100;
const SAMPLED_AND_REMOTE_KNOWN = 0x101;
const REMOTE = 0x200;

/** A queue whose exporter answers when the test says so. */
function queueOf(settings: Partial<QueueSettings> = {}) {
  const requests: { spans: readonly ReadableSpan[]; answer: (result: ExportResult) => void }[] = [];
  const { log, lines } = recordingLog();
  const queue = new SpanQueue(
    {
      export: (spans, answer) => void requests.push({ spans, answer }),
      shutdown: () => Promise.resolve(),
    },
    { scheduledDelayMillis: 60_000, maxQueueSize: 2048, maxExportBatchSize: 512, ...settings },
    { ...ORIGIN, log },
  );
  const tracer = new Tracer(queue, () => ({ sampled: true }));
  const add = (count: number): void => {
    for (let span = 0; span < count; span++) tracer.server('call', undefined, 1, {}).end();
  };
  const sizes = (): number[] => requests.map(({ spans }) => spans.length);
  return { queue, tracer, requests, sizes, add, lines };
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const OK = { code: ExportResultCode.SUCCESS };
const FAILED = { code: ExportResultCode.FAILED };

test('all of a span is there for a receiver that knows OTLP’s schema', async () => {
  const { queue, requests } = queueOf();
  // Not sampled, and exported because it failed.
  const tracer = new Tracer(queue, () => ({ sampled: false }));
  const state = createTraceState('congo=t61rcWkgMzE');
  const parent = {
    traceId: 'ab'.repeat(16),
    spanId: 'cd'.repeat(8),
    traceFlags: 0,
    isRemote: true,
    traceState: state,
  };
  const attributes = {
    text: 'Wörter, 語',
    whole: 10,
    negative: -3,
    part: 0.25,
    huge: 1e300,
    yes: true,
    no: false,
    list: ['a', 'b'],
    numbers: [1, 2.5],
  };
  const root = tracer.server('scalingnote.v1.QueryService/Search', parent, 1.5, attributes);
  const child = root.child('store', { kind: SpanKind.CLIENT, startTime: 2 });
  child.addEvent('retry', { attempt: 2 }, 12).addEvent('again');
  child.droppedEvents = 300;
  child.addLink({ context: root.spanContext(), attributes: { why: 'because' } });
  child.addLink({ context: { ...root.spanContext(), isRemote: true } });
  child.fail('STORE_UNAVAILABLE', 'the store is away').end(4.25);
  const run = { startedAt: 1, encodeMs: 2, size: 2, tokens: 9, paddingRatio: 0.25 };
  const batch = tracer.batch(run, 'tower');
  root.record('encode', 1, 2).addBatch(batch);
  root.notable = true;
  root.end(5);
  const closed = queue.close();
  const body = ProtobufTraceSerializer.serializeRequest([...requests[0]!.spans])!;
  requests[0]!.answer(OK);
  await closed;

  const spans = readSpanRequest(Buffer.from(body));
  const [call, store, encode] = spans;
  assert.deepEqual(
    spans.map(({ name, kind, service, scope }) => [name, kind, service, scope]),
    [
      ['scalingnote.v1.QueryService/Search', 'server', 'scalingnote-test', 'scalingnote 1.2.3'],
      ['store', 'client', 'scalingnote-test', 'scalingnote 1.2.3'],
      ['encode', 'internal', 'scalingnote-test', 'scalingnote 1.2.3'],
    ],
  );
  assert.deepEqual([call!.traceId, call!.parentSpanId], [parent.traceId, parent.spanId]);
  assert.equal(call!.traceState, 'congo=t61rcWkgMzE');
  assert.deepEqual(call!.attributes, attributes);
  assert.deepEqual([store!.traceId, store!.parentSpanId], [parent.traceId, call!.spanId]);
  assert.deepEqual([store!.status, store!.statusMessage], ['error', 'the store is away']);
  assert.equal(store!.attributes['error.type'], 'STORE_UNAVAILABLE');
  assert.deepEqual([call!.status, call!.statusMessage], ['unset', '']);
  // Exported is sampled, whatever the caller asked for; the parent of the first is in another process.
  assert.deepEqual(
    spans.map(({ flags }) => flags),
    [SAMPLED_AND_REMOTE_KNOWN | REMOTE, SAMPLED_AND_REMOTE_KNOWN, SAMPLED_AND_REMOTE_KNOWN],
  );
  const milliseconds = (from: bigint, to: bigint): number => Number(to - from) / 1e6;
  assert.ok(Math.abs(milliseconds(store!.start, store!.end) - 2.25) < 0.001);
  assert.ok(Math.abs(milliseconds(call!.start, store!.start) - 0.5) < 0.001);
  const ageMs = Date.now() - Number(call!.start / 1_000_000n);
  assert.ok(Math.abs(ageMs - performance.now()) < 1000, 'in the time of day');
  assert.deepEqual(
    store!.events.map(({ name, attributes }) => [name, attributes]),
    [
      ['retry', { attempt: 2 }],
      ['again', {}],
    ],
  );
  assert.ok(Math.abs(milliseconds(call!.start, store!.events[0]!.time) - 10.5) < 0.001);
  assert.equal(store!.droppedEvents, 300);
  const { traceId, spanId } = call!;
  assert.deepEqual(store!.links, [
    { traceId, spanId, attributes: { why: 'because' }, flags: REMOTE_KNOWN },
    { traceId, spanId, attributes: {}, flags: REMOTE_KNOWN | REMOTE },
  ]);
  const linked = batch.spanContext();
  assert.deepEqual(
    encode!.links.map((link) => [link.traceId, link.spanId]),
    [[linked.traceId, linked.spanId]],
  );
});

test('full requests go at once, one after the other; the rest waits for the timer or for the end', async () => {
  const { queue, requests, sizes, add } = queueOf({ maxExportBatchSize: 4 });
  add(3);
  assert.deepEqual(sizes(), []);
  add(6);
  assert.deepEqual(sizes(), [4], 'the second waits for the answer to the first');
  requests[0]!.answer(OK);
  await nextTurn();
  assert.deepEqual(sizes(), [4, 4]);
  requests[1]!.answer(OK);
  await nextTurn();
  assert.deepEqual(sizes(), [4, 4], 'a single span is no full request');
  const closed = queue.close();
  assert.deepEqual(sizes(), [4, 4, 1]);
  requests[2]!.answer(OK);
  await closed;
  assert.equal(queue.dropped, 0);
});

test('what waits goes when its time is over', async () => {
  const { requests, sizes, add } = queueOf({ scheduledDelayMillis: 1 });
  add(3);
  while (requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  requests[0]!.answer(OK);
  add(2);
  while (requests.length === 1) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.deepEqual(sizes(), [3, 2]);
});

test('spans in flight count as waiting; beyond the limit they are dropped and counted', async () => {
  const { queue, requests, add } = queueOf({ maxExportBatchSize: 4, maxQueueSize: 6 });
  add(10);
  assert.equal(queue.dropped, 4);
  requests[0]!.answer(OK);
  await nextTurn();
  add(5);
  assert.equal(queue.dropped, 5, 'there is room for four');
});

test('what the receiver does not take is dropped and counted; the log says so once, and once that it is over', async () => {
  const { queue, requests, add, lines } = queueOf({ maxExportBatchSize: 2 });
  for (const [index, result] of [OK, FAILED, FAILED, OK, OK].entries()) {
    add(2);
    requests[index]!.answer(result);
    await nextTurn();
  }
  assert.equal(queue.dropped, 4);
  assert.deepEqual(
    lines.map(({ msg }) => String(msg)),
    ['spans can’t be exported and are dropped, until they can', 'spans are exported again'],
  );
});

test('the end does not wait for a receiver that is away', async () => {
  const { queue, requests, add } = queueOf({ maxExportBatchSize: 2 });
  add(2);
  requests[0]!.answer(FAILED);
  await nextTurn();
  add(4);
  assert.equal(requests.length, 2);
  // The receiver has not answered the second request, and is not asked for the rest.
  await queue.close();
  assert.equal(requests.length, 2);
  assert.equal(queue.dropped, 4);
});

test('the end asks a receiver once that may be back, and drops the rest where it is not', async () => {
  const { queue, requests, add } = queueOf({ maxExportBatchSize: 2 });
  add(1);
  const closing = queue.close();
  requests[0]!.answer(FAILED);
  await closing;
  assert.equal(queue.dropped, 1);

  const later = queueOf({ maxExportBatchSize: 1 });
  later.add(3);
  const ending = later.queue.close();
  later.requests[0]!.answer(FAILED);
  await ending;
  assert.deepEqual([later.requests.length, later.queue.dropped], [1, 3]);
});
