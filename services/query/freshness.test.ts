import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Metadata, status } from '@grpc/grpc-js';
import { StoreError } from '../../store/errors.ts';
import { freshnessToken } from '../../store/freshness.ts';
import { physicalName } from '../../store/store.ts';
import { MemoryData } from '../../store/testing/memory-data.ts';
import { cancelled, overloaded, toServiceError } from '../runtime/errors.ts';
import type { Call } from '../runtime/handler.ts';
import { failure, TestStream, until } from '../runtime/testing/harness.ts';
import { FreshnessWait, MAX_WAITING } from './freshness.ts';
import { DIMENSIONS, FakeStore } from './testing/fakes.ts';
import { startQuery, type QueryHarness } from './testing/harness.ts';

const started: QueryHarness[] = [];
after(() => Promise.all(started.map(({ stop }) => stop())));

/** A query service whose store is a replica of another, and follows it only when it is told to. */
async function start(parts: Parameters<typeof startQuery>[0] = {}) {
  const written = new MemoryData();
  const read = new MemoryData();
  const primary = new FakeStore({ data: written });
  const harness = await startQuery({ ...parts, store: new FakeStore({ data: read }) });
  started.push(harness);
  await primary.lead('docs', harness.tower.manifest.space.fingerprint);
  const follow = (): void => {
    read.collections.clear();
    for (const [name, collection] of structuredClone(written.collections)) {
      read.collections.set(name, collection);
    }
    read.aliases.clear();
    for (const [alias, name] of written.aliases) read.aliases.set(alias, name);
  };
  follow();
  const token = async (): Promise<string> => freshnessToken(await primary.freshness('docs'));
  return { ...harness, primary, follow, token };
}

const idsOf = ({ hits }: Awaited<ReturnType<QueryHarness['search']>>): string[] =>
  hits.map(({ documentId }) => documentId);

test('a search sees what its token covers, where the same search without the token is stale', async () => {
  const { search, store, primary, follow, token } = await start();
  await primary.fill('docs', ['stars']);
  const waiting = search({ atLeastAsFreshAs: await token() });
  await until(() => store.searches.length >= 3);
  assert.deepEqual(idsOf(await search({})), [], 'stale');
  follow();
  assert.deepEqual(idsOf(await waiting), ['0']);
});

test('a store that is fresh already is asked once', async () => {
  const { search, store, primary, follow, token } = await start();
  await primary.fill('docs', ['stars']);
  const earlier = await token();
  await primary.fill('docs', ['moons']);
  follow();
  assert.deepEqual(idsOf(await search({ atLeastAsFreshAs: earlier })), ['0']);
  assert.equal(store.searches.length, 1);
});

test('a store that does not get fresh in time is UNAVAILABLE with a hint, before the deadline', async () => {
  const { search, primary, token } = await start();
  await primary.fill('docs', ['stars']);
  const error = await failure(search({ atLeastAsFreshAs: await token() }, { deadline: Date.now() + 600 }));
  assert.deepEqual([error.code, error.reason], [status.UNAVAILABLE, 'STORE_NOT_FRESH']);
  assert.ok(error.retryDelayMs! > 0);
});

test('what is no token is refused, with the field', async () => {
  const { search, store } = await start();
  for (const token of ['5', 'col_1.5', `col_${'0'.repeat(32)}`, `col_${'0'.repeat(32)}.`, ' ']) {
    const error = await failure(search({ atLeastAsFreshAs: token }));
    assert.equal(error.code, status.INVALID_ARGUMENT, token);
    assert.equal(error.violations?.[0]?.field, 'at_least_as_fresh_as');
  }
  assert.equal(store.searches.length, 0);
});

test('a token of another collection is refused at once, and nothing is encoded', async () => {
  const { search, tower } = await start();
  const error = await failure(search({ atLeastAsFreshAs: `col_${'0'.repeat(32)}.1` }));
  assert.deepEqual([error.code, error.reason], [status.FAILED_PRECONDITION, 'COLLECTION_REPLACED']);
  assert.equal(error.metadata?.['expected_identity'], `col_${'0'.repeat(32)}`);
  assert.deepEqual(tower.texts, []);
});

test('a collection that was made again takes its own token at once, and not the old one', async () => {
  const { search, tower, primary, follow, token } = await start();
  await primary.fill('docs', ['stars']);
  follow();
  const old = await token();
  await search({ atLeastAsFreshAs: old });
  await primary.dropCollection(physicalName('docs', tower.manifest.space.fingerprint));
  await primary.ensureCollection('docs', { ...tower.manifest.space, dimensions: DIMENSIONS });
  await primary.fill('docs', ['moons', 'stars']);
  follow();
  assert.deepEqual(idsOf(await search({ atLeastAsFreshAs: await token() })).sort(), ['0', '1']);
  assert.equal((await failure(search({ atLeastAsFreshAs: old }))).reason, 'COLLECTION_REPLACED');
});

test('a collection that is replaced while a search waits for it ends the wait', async () => {
  const { search, store, tower, primary, follow, token } = await start();
  await primary.fill('docs', ['stars']);
  const waiting = failure(search({ atLeastAsFreshAs: await token() }));
  await until(() => store.searches.length >= 2);
  await primary.dropCollection(physicalName('docs', tower.manifest.space.fingerprint));
  await primary.ensureCollection('docs', { ...tower.manifest.space, dimensions: DIMENSIONS });
  follow();
  assert.equal((await waiting).reason, 'COLLECTION_REPLACED');
});

test('a search that waits holds no slot, and its text is encoded once', async () => {
  const { search, store, tower, primary, follow, token } = await start({ slots: 1, queue: 0, cache: 0 });
  await primary.fill('docs', ['stars']);
  const waiting = search({ atLeastAsFreshAs: await token() });
  await until(() => store.searches.length === 1);
  for (let index = 0; index < 20; index++) await search({ mode: 'SEARCH_MODE_SPARSE' });
  follow();
  await waiting;
  assert.deepEqual(tower.texts, ['stars']);
});

test('on a stream, a newer query supersedes one that waits', async () => {
  const { client, store, primary, follow, token } = await start();
  await primary.fill('docs', ['stars']);
  const search = { collection: 'docs', query: 'stars', atLeastAsFreshAs: await token() };
  const stream = new TestStream(client);
  stream.send({ sequence: 1, search });
  await until(() => store.searches.length >= 2);
  stream.send({ sequence: 2, search: { ...search, query: 'moons' } });
  await until(() => store.searches.length >= 5);
  follow();
  stream.end();
  await stream.ended;
  assert.deepEqual(
    stream.answers.map(({ sequence, answer }) => `${sequence} ${answer}`),
    ['1 superseded', '2 result'],
  );
});

test('of a thousand that wait, as many as may are answered, and the others are told at once', async () => {
  const { search, primary, follow, token } = await start({ slots: 16, queue: 1000 });
  await primary.fill('docs', ['stars']);
  const request = { atLeastAsFreshAs: await token() };
  const refused: unknown[] = [];
  const found: string[][] = [];
  const calls = Array.from({ length: 1000 }, () =>
    search(request, { deadline: Date.now() + 60_000 }).then(
      (answer) => found.push(idsOf(answer)),
      (error: unknown) => refused.push(error),
    ),
  );
  await until(() => refused.length === 1000 - MAX_WAITING);
  for (const reason of refused) {
    const error = await failure(Promise.reject(reason));
    assert.deepEqual([error.code, error.reason], [status.UNAVAILABLE, 'STORE_NOT_FRESH']);
    assert.ok(error.retryDelayMs! > 0);
  }
  assert.deepEqual(idsOf(await search({})), [], 'others search meanwhile');
  follow();
  await Promise.all(calls);
  assert.deepEqual(
    found,
    Array.from({ length: MAX_WAITING }, () => ['0']),
  );
});

/** A caller that waits for so long. */
function caller(ms: number): Call {
  return { signal: new AbortController().signal, metadata: new Metadata(), deadline: Date.now() + ms };
}

const NOT_FRESH = new StoreError('STORE_NOT_FRESH', 'is at 3 only');

test('a wait that meets a full service goes on, and ends with what it met last', async () => {
  const wait = new FreshnessWait(undefined);
  const errors: Error[] = [NOT_FRESH, overloaded('full', 1)];
  const answer = await wait.search(caller(60_000), 100, async () => {
    const error = errors.shift();
    if (error) throw error;
    return 'found';
  });
  assert.equal(answer, 'found');
  let attempts = 0;
  const full = wait.search(caller(100), 100, async () => {
    throw attempts++ === 0 ? NOT_FRESH : overloaded('full', 1);
  });
  await assert.rejects(full, { reason: 'OVERLOADED' });
  assert.equal(wait.waiting, 0);
});

test('a wait without a deadline ends by itself, and another error ends it at once', async () => {
  const wait = new FreshnessWait(undefined, { waitMs: 50 });
  const { deadline: _, ...patient } = caller(0);
  const asked = wait.search(patient, 100, () => Promise.reject(NOT_FRESH));
  await assert.rejects(asked, (error) => toServiceError(error).code === status.UNAVAILABLE);
  let attempts = 0;
  const broken = wait.search(patient, 100, async () => {
    throw attempts++ === 0 ? NOT_FRESH : new StoreError('STORE_LOST', 'gone');
  });
  await assert.rejects(broken, { reason: 'STORE_LOST' });
});

test('a caller that gives up ends the wait, with its own reason', async () => {
  const wait = new FreshnessWait(undefined);
  const giveUp = new AbortController();
  const { signal } = giveUp;
  let attempts = 0;
  const asked = wait.search({ ...caller(3_600_000), signal }, 100, async () => {
    if (++attempts === 3) giveUp.abort(cancelled());
    throw NOT_FRESH;
  });
  await assert.rejects(asked, { reason: 'CANCELLED' });
  assert.deepEqual([attempts, wait.waiting], [3, 0]);
});

test('no more wait than may, and a place is free when one is done', async () => {
  const wait = new FreshnessWait(undefined, { most: 1 });
  let isFresh = false;
  const attempt = async (): Promise<string> => {
    if (!isFresh) throw NOT_FRESH;
    return 'found';
  };
  const first = wait.search(caller(60_000), 100, attempt);
  await until(() => wait.waiting === 1);
  await assert.rejects(wait.search(caller(60_000), 100, attempt), /1 searches wait for that already/);
  isFresh = true;
  assert.equal(await first, 'found');
  assert.equal(wait.waiting, 0);
});

test('no more bytes wait than may', async () => {
  const wait = new FreshnessWait(undefined, { mostBytes: 250, waitMs: 50 });
  const attempt = (): Promise<never> => Promise.reject(NOT_FRESH);
  const { deadline: _, ...patient } = caller(0);
  const waiting = [1, 2].map(() => assert.rejects(wait.search(patient, 100, attempt), /ms were not enough/));
  await until(() => wait.waiting === 2);
  await assert.rejects(wait.search(patient, 100, attempt), /2 searches wait for that already/);
  await Promise.all(waiting);
  await assert.rejects(wait.search(patient, 250, attempt), /ms were not enough/);
});

test('a service that drains does not keep those that wait', async () => {
  const { search, server, store, primary, token } = await start();
  await primary.fill('docs', ['stars']);
  const request = { atLeastAsFreshAs: await token() };
  const waiting = failure(search(request, { deadline: Date.now() + 3_600_000 }));
  await until(() => store.searches.length >= 2);
  await server.shutdown(60_000);
  const error = await waiting;
  assert.deepEqual([error.code, error.reason], [status.UNAVAILABLE, 'SHUTTING_DOWN']);
});
