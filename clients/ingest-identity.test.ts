import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status as Code } from '@grpc/grpc-js';
import { DocumentClient, type IngestOperation, type ScalingnoteError } from './index.ts';
import { failure, type IngestCall, MemoryIngest, replaced, serve } from './testing/fake-service.ts';

const OTHER = `col_${'2'.repeat(32)}`;
const unavailable = (call: IngestCall): void => {
  call.emit('error', failure({ code: Code.UNAVAILABLE, message: 'gone', reason: 'GONE' }));
};

function* documents(count: number): Generator<IngestOperation> {
  for (let index = 1; index <= count; index++) yield { id: `d${index}`, text: `text ${index}` };
}

async function ingestInto(
  server: MemoryIngest,
  options: { expectedIdentity?: string; onReconnect?: () => void } = {},
) {
  using service = await serve({ Ingest: server.handle });
  using client = new DocumentClient({ address: service.address });
  const ready: string[] = [];
  const summary = await client.ingest(documents(20), {
    collection: 'c',
    patienceMs: 1_000,
    signal: AbortSignal.timeout(10_000),
    onReady: ({ identity }) => ready.push(identity),
    ...options,
  });
  return { summary, ready };
}

test('a run tells the identity of its collection, and the token of its last watermark', async () => {
  const server = new MemoryIngest();
  const { summary, ready } = await ingestInto(server);
  assert.deepEqual(ready, [server.identity]);
  assert.equal(summary.identity, server.identity);
  assert.equal(summary.freshnessToken, `${server.identity}.20`);
  assert.deepEqual(server.expected, ['']);
});

test('the identity is remembered over connections', async () => {
  const server = new MemoryIngest([
    { after: 5, outcomes: true, durable: 2, end: unavailable },
    { after: 3, outcomes: false, durable: 0, end: unavailable },
  ]);
  const { summary } = await ingestInto(server);
  assert.equal(summary.watermark, 20);
  assert.deepEqual(server.expected, ['', server.identity, server.identity]);
});

test('a collection that was replaced between two connections ends the run, and nothing more is sent', async () => {
  const server = new MemoryIngest([{ after: 5, outcomes: true, durable: 2, end: unavailable }]);
  const onReconnect = (): void => void (server.identity = OTHER);
  await assert.rejects(
    ingestInto(server, { onReconnect }),
    ({ reason, retryable }: ScalingnoteError) => reason === 'COLLECTION_REPLACED' && !retryable,
  );
  assert.deepEqual(server.arrivals[1], []);
});

test('a collection that is replaced under an open stream ends the run', async () => {
  const server = new MemoryIngest([
    { after: 5, outcomes: true, durable: 2, end: (call) => void call.emit('error', replaced()) },
  ]);
  await assert.rejects(
    ingestInto(server),
    ({ reason }: ScalingnoteError) => reason === 'COLLECTION_REPLACED',
  );
  assert.equal(server.arrivals.length, 1, 'it is not tried again');
});

test('progress of an earlier run goes on in its own collection alone', async () => {
  const server = new MemoryIngest();
  assert.equal((await ingestInto(server, { expectedIdentity: server.identity })).summary.watermark, 20);
  assert.deepEqual(server.expected, [server.identity]);
  await assert.rejects(
    ingestInto(server, { expectedIdentity: OTHER }),
    ({ reason }: ScalingnoteError) => reason === 'COLLECTION_REPLACED',
  );
  assert.deepEqual(server.arrivals[1], []);
});
