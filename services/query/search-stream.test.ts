import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import type { Status__Output } from '../../proto/generated/google/rpc/Status.ts';
import { v1 } from '../../proto/load.ts';
import { unpackStatus } from '../../proto/status.ts';
import { StoreError } from '../../store/errors.ts';
import { Metrics } from '../runtime/telemetry/metrics.ts';
import type { Telemetry } from '../runtime/telemetry/telemetry.ts';
import { recordingLog, TestStream, until } from '../runtime/testing/harness.ts';
import { Held } from './testing/fakes.ts';
import { startQuery, type QueryHarness } from './testing/harness.ts';

const started: QueryHarness[] = [];
const start = async (...parts: Parameters<typeof startQuery>): Promise<QueryHarness> => {
  const harness = await startQuery(...parts);
  started.push(harness);
  return harness;
};
after(() => Promise.all(started.map(({ stop }) => stop())));

const search = (query: string) => ({ collection: 'docs', query });

/** What the answers were: `1 result`, `2 superseded by 3`, `3 error REASON`. */
function summary(stream: TestStream): string[] {
  return stream.answers.map(({ sequence, answer, superseded, error }) => {
    if (answer === 'superseded') return `${sequence} superseded by ${superseded!.bySequence}`;
    if (answer === 'error') return `${sequence} error ${unpackStatus(error as Status__Output).reason}`;
    return `${sequence} ${answer}`;
  });
}

test('queries one after the other are answered each', async () => {
  const { client } = await start();
  const stream = new TestStream(client);
  for (const sequence of [1, 2, 10]) {
    stream.send({ sequence, search: search(`query ${sequence}`) });
    await until(() => stream.answers.at(-1)?.sequence === String(sequence));
  }
  stream.end();
  assert.equal((await stream.ended).code, status.OK);
  assert.deepEqual(summary(stream), ['1 result', '2 result', '10 result']);
});

test('the last word of a query may be unfinished, unless it says no', async () => {
  const { client, store, tower } = await start();
  await store.analysed('words', tower.manifest.space.fingerprint, ['astronomer']);
  const stream = new TestStream(client);
  const asked = { collection: 'words', mode: 'SEARCH_MODE_HYBRID', query: 'astron' } as const;
  for (const [index, prefix] of [undefined, false].entries()) {
    stream.send({ sequence: index + 1, search: { ...asked, ...(prefix === undefined ? {} : { prefix }) } });
    await until(() => stream.answers.length === index + 1);
  }
  stream.send({ sequence: 3, search: search('astron') });
  await until(() => stream.answers.length === 3);
  await store.setAnalysis('words', 'what a later version may say');
  stream.send({ sequence: 4, search: { collection: 'words', query: 'astron' } });
  stream.end();
  assert.equal((await stream.ended).code, status.OK);
  assert.deepEqual(
    summary(stream),
    ['1 result', '2 result', '3 result', '4 result'],
    'one without words goes on',
  );
  assert.deepEqual(
    stream.answers.map(({ result }) => result!.completions),
    [['astronomer'], [], [], stream.answers[3]!.result!.completions],
  );
  assert.deepEqual(tower.texts, ['astronomer', 'astron']);
});

test('a newer query supersedes the one before it, whose search is given up', async () => {
  const { client, store } = await start();
  const held = new Held();
  store.find = held.find;
  const stream = new TestStream(client);
  for (const sequence of [1, 2, 3]) {
    stream.send({ sequence, search: search('st'.padEnd(sequence + 2, 'a')) });
    await until(() => store.searches.length === sequence);
  }
  await until(() => held.abandoned === 2);
  held.release();
  stream.end();
  assert.equal((await stream.ended).code, status.OK);
  assert.deepEqual(summary(stream), ['1 superseded by 2', '2 superseded by 3', '3 result']);
});

test('a query is answered as superseded even where its search can’t be given up', async () => {
  const { client, store } = await start({ slots: 2 });
  const go: (() => void)[] = [];
  store.find = () => new Promise((resolve) => go.push(() => resolve([])));
  const stream = new TestStream(client);
  stream.send({ sequence: 1, search: search('a') });
  await until(() => go.length === 1);
  stream.send({ sequence: 2, search: search('b') });
  await stream.untilAnswers(1);
  assert.deepEqual(summary(stream), ['1 superseded by 2']);
  await until(() => go.length === 2);
  go[0]!();
  go[1]!();
  stream.end();
  await stream.ended;
  assert.deepEqual(summary(stream), ['1 superseded by 2', '2 result']);
});

test('a burst is answered, each query exactly once', async () => {
  const { client } = await start();
  const stream = new TestStream(client);
  for (let sequence = 1; sequence <= 200; sequence++)
    stream.send({ sequence, search: search(`q ${sequence}`) });
  stream.end();
  assert.equal((await stream.ended).code, status.OK);
  const sequences = stream.answers.map(({ sequence }) => Number(sequence));
  assert.deepEqual(
    sequences.toSorted((a, b) => a - b),
    Array.from({ length: 200 }, (_, index) => index + 1),
  );
  for (const { sequence, superseded } of stream.answers) {
    if (superseded) assert.equal(Number(superseded.bySequence), Number(sequence) + 1);
  }
  assert.equal(stream.answers.find(({ sequence }) => sequence === '200')?.answer, 'result');
});

test('an error is the answer to its query, and the stream goes on', async () => {
  const { log, lines } = recordingLog();
  const { client, store } = await start({ log });
  const stream = new TestStream(client);
  const ask = async (
    sequence: number,
    request: Parameters<TestStream['send']>[0]['search'],
  ): Promise<void> => {
    stream.send({ sequence, ...(request ? { search: request } : {}) });
    await stream.untilAnswers(sequence);
  };
  await ask(1, { ...search('x'), limit: 0 });
  await ask(2, undefined);
  await ask(3, { collection: 'none', query: 'x' });
  store.find = () => Promise.reject(new StoreError('STORE_UNAVAILABLE', 'down'));
  await ask(4, search('x'));
  store.find = () => Promise.reject(new Error('broken'));
  await ask(5, search('x'));
  store.find = () => [];
  await ask(6, search('x'));
  stream.end();
  assert.equal((await stream.ended).code, status.OK);
  assert.deepEqual(summary(stream), [
    '1 error INVALID_ARGUMENT',
    '2 error INVALID_ARGUMENT',
    '3 error COLLECTION_NOT_FOUND',
    '4 error STORE_UNAVAILABLE',
    '5 error INTERNAL',
    '6 result',
  ]);
  const { metadata } = unpackStatus(stream.answers[4]!.error as Status__Output);
  assert.equal(lines.filter(({ reference }) => reference === metadata?.['reference']).length, 1);
});

test('each query of a stream is measured while the stream is open', async () => {
  const metrics = new Metrics();
  const telemetry: Telemetry = {
    tracer: undefined,
    metrics,
    slowMs: Infinity,
    metricsAddress: undefined,
    watch: () => assert.fail('the server has no telemetry here'),
    close: () => Promise.resolve(),
  };
  const { client, store } = await start({ telemetry });
  const stream = new TestStream(client);
  const count = (code: string): number => {
    const method = 'scalingnote.v1.QueryService/SearchStream';
    return metrics.streamQueryDuration({ 'rpc.method': method, 'rpc.response.status_code': code }).count;
  };
  stream.send({ sequence: 1, search: search('x') });
  await until(() => count('OK') === 1);
  store.find = () => Promise.reject(new StoreError('STORE_UNAVAILABLE', 'the store is away'));
  stream.send({ sequence: 2, search: search('y') });
  await until(() => count('UNAVAILABLE') === 1);
  const held = new Held();
  store.find = held.find;
  stream.send({ sequence: 3, search: search('z') });
  await until(() => store.searches.length === 3);
  stream.send({ sequence: 4, search: search('zz') });
  await until(() => count('CANCELLED') === 1);
  held.release();
  await until(() => count('OK') === 2);
  stream.end();
  assert.equal((await stream.ended).code, status.OK);
});

test('a query that is not UTF-8 is an error of its own', async () => {
  const { client } = await start();
  const { path, requestSerialize } = v1.QueryService.service.SearchStream;
  const call = client.makeBidiStreamRequest(
    path,
    (bytes: Buffer) => bytes,
    (bytes) => bytes,
  );
  let answers = 0;
  call.on('data', () => answers++);
  const message = requestSerialize({ sequence: 1, search: search('MARK') });
  message.set([0xff, 0xff], message.indexOf('MARK'));
  call.write(message);
  await until(() => answers === 1);
  call.write(requestSerialize({ sequence: 2, search: search('stars') }));
  await until(() => answers === 2);
  call.end();
});

for (const [what, sequences] of [
  ['stays', [1, 1]],
  ['goes down', [5, 4]],
  ['is zero', [0]],
  ['is too large to be exact', ['9007199254740992']],
] as const) {
  test(`a sequence that ${what} ends the stream`, async () => {
    const { client } = await start();
    const stream = new TestStream(client);
    for (const sequence of sequences) stream.send({ sequence, search: search('x') });
    const ended = await stream.ended;
    assert.deepEqual([ended.code, ended.violations?.[0]?.field], [status.INVALID_ARGUMENT, 'sequence']);
  });
}

test('a stream that ends gives up what it was searching for', async () => {
  const { client, store } = await start();
  const held = new Held();
  store.find = held.find;
  const cancelled = new TestStream(client);
  cancelled.send({ sequence: 1, search: search('a') });
  await until(() => held.waiting === 1);
  cancelled.call.cancel();
  await until(() => held.abandoned === 1);

  const broken = new TestStream(client);
  broken.send({ sequence: 1, search: search('b') });
  await until(() => held.waiting === 2);
  broken.send({ sequence: 1, search: search('c') });
  await until(() => held.abandoned === 2);
  assert.equal((await broken.ended).code, status.INVALID_ARGUMENT);
});

test('a query in flight is answered before a service that stops ends the stream', async () => {
  const { client, store, server } = await start();
  const held = new Held();
  store.find = held.find;
  const stream = new TestStream(client);
  stream.send({ sequence: 1, search: search('a') });
  await until(() => held.waiting === 1);
  const down = server.shutdown(10_000);
  held.release();
  const ended = await stream.ended;
  await down;
  assert.deepEqual([ended.code, ended.reason], [status.UNAVAILABLE, 'SHUTTING_DOWN']);
  assert.deepEqual(summary(stream), ['1 result']);
});
