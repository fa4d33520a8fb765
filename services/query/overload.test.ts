import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { callUnary, failure, until } from '../runtime/testing/harness.ts';
import { Held } from './testing/fakes.ts';
import { startQuery, type QueryHarness } from './testing/harness.ts';

const started: QueryHarness[] = [];
const start = async (...parts: Parameters<typeof startQuery>): Promise<QueryHarness> => {
  const harness = await startQuery(...parts);
  started.push(harness);
  return harness;
};
after(() => Promise.all(started.map(({ stop }) => stop())));

test('more than fits is refused at once, all that was let in is served, and then all is as before', async () => {
  const { search, store } = await start({ slots: 3, queue: 5 });
  const held = new Held();
  store.find = held.find;
  const refused: unknown[] = [];
  let served = 0;
  const calls = Array.from({ length: 50 }, (_, index) =>
    search({ query: `query ${index}` }).then(
      () => served++,
      (error: unknown) => refused.push(error),
    ),
  );
  await until(() => refused.length === 42);
  for (const reason of refused) {
    const error = await failure(Promise.reject(reason));
    assert.deepEqual([error.code, error.reason], [status.RESOURCE_EXHAUSTED, 'OVERLOADED']);
    assert.ok(error.retryDelayMs! > 0);
  }
  assert.equal(held.waiting, 3, 'no more are worked on than there are slots');
  store.find = () => [];
  held.release();
  await Promise.all(calls);
  assert.deepEqual([served, refused.length], [8, 42]);
  await search({});
});

test('Describe answers under overload, Encode does not', async () => {
  const { client, search, store } = await start({ slots: 1, queue: 0 });
  const held = new Held();
  store.find = held.find;
  const first = search({});
  await until(() => held.waiting === 1);
  assert.equal((await failure(search({ query: 'other' }))).code, status.RESOURCE_EXHAUSTED);
  assert.equal(
    (await failure(callUnary(client, 'Encode', { texts: ['x'] }))).code,
    status.RESOURCE_EXHAUSTED,
  );
  await callUnary(client, 'Describe', {});
  held.release();
  await first;
});

test('a request that is wrong takes no place', async () => {
  const { search, store } = await start({ slots: 1, queue: 0 });
  const held = new Held();
  store.find = held.find;
  const first = search({});
  await until(() => held.waiting === 1);
  assert.equal((await failure(search({ limit: 0 }))).code, status.INVALID_ARGUMENT);
  held.release();
  await first;
});

test('a failed search gives its place back', async () => {
  const { search, store } = await start({ slots: 1, queue: 0 });
  store.find = () => Promise.reject(new Error('broken'));
  for (let index = 0; index < 5; index++) assert.equal((await failure(search({}))).code, status.INTERNAL);
});
