import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { status as Code } from '@grpc/grpc-js';
import { DocumentClient, type IngestOperation, type ScalingnoteError } from './index.ts';
import { failure, type IngestCall, MemoryIngest, serve } from './testing/fake-service.ts';

const idle = (call: IngestCall): void => {
  const message = 'the stream did nothing for 30 s';
  call.emit('error', failure({ code: Code.UNAVAILABLE, message, reason: 'STREAM_IDLE', retryDelayMs: 1 }));
};

/** Yields a document, waits for a promise, and yields another. */
async function* withPause(pause: Promise<void>): AsyncGenerator<IngestOperation> {
  yield { id: 'before', text: 'text' };
  await pause;
  yield { id: 'after', text: 'text' };
}

test('a client whose stream was ended because its source paused comes back when there is more', async (context) => {
  context.mock.method(Math, 'random', () => 0);
  const server = new MemoryIngest([{ after: 1, outcomes: true, durable: 1, end: idle }]);
  using service = await serve({ Ingest: server.handle });
  using client = new DocumentClient({ address: service.address });
  let goOn = (): void => {};
  const pause = new Promise<void>((resolve) => (goOn = resolve));
  const done = client.ingest(withPause(pause), {
    collection: 'c',
    // Far less than the pause.
    patienceMs: 20,
    signal: AbortSignal.timeout(10_000),
  });
  while (server.arrivals[0]?.length !== 1) await sleep(2);
  await sleep(100);
  assert.equal(server.arrivals.length, 1, 'it takes no place while it has nothing to send');
  goOn();
  assert.equal((await done).watermark, 2);
  assert.deepEqual(server.arrivals, [[1], [2]]);
});

test('one that is aborted meanwhile ends at once', async () => {
  const server = new MemoryIngest([{ after: 1, outcomes: true, durable: 1, end: idle }]);
  using service = await serve({ Ingest: server.handle });
  using client = new DocumentClient({ address: service.address });
  const controller = new AbortController();
  const done = client.ingest(withPause(new Promise(() => {})), {
    collection: 'c',
    signal: controller.signal,
  });
  while (server.arrivals[0]?.length !== 1) await sleep(2);
  await sleep(50);
  controller.abort(new Error('enough'));
  await assert.rejects(done, /enough/);
});

test('one that has something to send comes back without waiting for its source', async () => {
  const server = new MemoryIngest([{ after: 1, outcomes: true, durable: 0, end: idle }]);
  using service = await serve({ Ingest: server.handle });
  using client = new DocumentClient({ address: service.address });
  let goOn = (): void => {};
  const pause = new Promise<void>((resolve) => (goOn = resolve));
  const reasons: string[] = [];
  const done = client.ingest(withPause(pause), {
    collection: 'c',
    signal: AbortSignal.timeout(10_000),
    onReconnect: ({ reason }: ScalingnoteError) => reasons.push(reason),
  });
  while (server.arrivals[1]?.length !== 1) await sleep(2);
  goOn();
  assert.equal((await done).watermark, 2);
  assert.deepEqual(reasons, ['STREAM_IDLE']);
});
