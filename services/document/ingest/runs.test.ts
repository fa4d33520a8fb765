import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { gate, harnesses } from '../testing/harness.ts';
import { Runs } from './runs.ts';

const start = harnesses();

const run = (attempt: number) => ({ collection: 'docs', runId: 'run', attempt });

test('a stream that comes after a lost connection ends the first one, which writes nothing more', async () => {
  const { ingest, store } = await start();
  const first = ingest(run(1)).document(1, 'a', 'first');
  await first.durable(1);
  const held = gate();
  // The first stream's write waits, as where its client is gone and the service has not noticed.
  const reached = new Promise<void>((resolve) => {
    store.before = (call) => {
      if (call !== 'write') return;
      resolve();
      return held.opened;
    };
  });
  first.document(2, 'a', 'second');
  await reached;
  store.before = () => {};
  const second = await ingest(run(2)).document(2, 'a', 'second').document(3, 'a', 'third').finish();
  assert.equal(second.watermark, 3);
  held.open();
  const ended = await first.ended;
  assert.deepEqual([ended.status.code, ended.status.reason], [status.ABORTED, 'STREAM_SUPERSEDED']);
  assert.equal(ended.watermark, 1);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual((await store.contents('docs'))['a']?.passages, [{ text: 'third' }]);
});

test('a stream that comes late is refused, even when the later one has ended', async () => {
  const { ingest, store } = await start();
  await ingest(run(2)).document(1, 'a', 'new').finish();
  const late = await ingest(run(1)).document(1, 'a', 'old').ended;
  assert.equal(late.status.reason, 'STREAM_SUPERSEDED');
  assert.deepEqual((await store.contents('docs'))['a']?.passages, [{ text: 'new' }]);
});

test('streams of different runs, and of none, leave each other alone', async () => {
  const { ingest } = await start();
  const streams = [
    ingest(),
    ingest(),
    ingest(run(1)),
    ingest({ ...run(1), runId: 'another' }),
    ingest({ ...run(1), tenant: 't' }),
  ];
  for (const [index, stream] of streams.entries()) await stream.document(1, `d${index}`, 'text').durable(1);
  for (const stream of streams) assert.equal((await stream.finish()).status.code, status.OK);
});

test('a run id and an attempt come together, and the id is short', async () => {
  const { ingest } = await start();
  for (const [begin, field] of [
    [{ collection: 'docs', runId: 'run' }, 'begin.attempt'],
    [{ collection: 'docs', attempt: 1 }, 'begin.attempt'],
    [{ collection: 'docs', runId: 'ä'.repeat(33), attempt: 1 }, 'begin.run_id'],
  ] as const) {
    const { status: ended } = await ingest(begin).ended;
    assert.deepEqual([ended.code, ended.violations?.[0]?.field], [status.INVALID_ARGUMENT, field]);
  }
});

test('runs without a stream are forgotten in the end, and open ones never', () => {
  const runs = new Runs();
  const ended: string[] = [];
  const stream = (name: string) => ({ supersede: () => void ended.push(name) });
  runs.begin('docs', 'open', 1, stream('open'));
  for (let index = 0; index < 5000; index++) runs.begin('docs', `run ${index}`, 5, stream('other'))();
  // The oldest is forgotten: a stream of it begins anew. The newest is not.
  runs.begin('docs', 'run 0', 1, stream('again'));
  assert.throws(() => runs.begin('docs', 'run 4999', 4, stream('late')), /stream 5 has begun/);
  runs.begin('docs', 'open', 2, stream('newer'));
  assert.deepEqual(ended, ['open']);
});
