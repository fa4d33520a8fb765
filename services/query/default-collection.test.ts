import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import type { SearchStreamResponse__Output } from '../../proto/generated/scalingnote/v1/SearchStreamResponse.ts';
import type { MeasureFamiliarityResponse__Output } from '../../proto/generated/scalingnote/v1/MeasureFamiliarityResponse.ts';
import { callUnary, failure } from '../runtime/testing/harness.ts';
import { ALIAS_TTL_MS } from './collections.ts';
import { FakeStore, FakeTower, vectorOf } from './testing/fakes.ts';
import { startQuery, type QueryHarness } from './testing/harness.ts';

const { fingerprint } = new FakeTower().manifest.space;
let harness: QueryHarness;

before(async () => {
  harness = await startQuery();
});
after(() => harness.stop());

async function withCollections(names: readonly string[], defaultCollection?: string): Promise<QueryHarness> {
  const store = new FakeStore();
  for (const name of names) await store.lead(name, fingerprint);
  return startQuery({ store, defaultCollection });
}

test('a search that names no collection is of the only one, and the answer says which', async () => {
  const answer = await harness.search({ collection: '' });
  assert.equal(answer.collection, 'docs');
  assert.equal(harness.store.searches.at(-1)?.collection, `docs--${fingerprint.slice(0, 12)}`);
  assert.equal((await harness.search({ collection: 'docs' })).collection, 'docs');
});

test('so is a search by vector, a query of a stream, and a measure of familiarity', async () => {
  const byVector = await callUnary<{ collection: string }>(harness.client, 'SearchByVector', {
    search: {},
    space: fingerprint,
    vector: [...vectorOf('stars')],
  });
  assert.equal(byVector.collection, 'docs');
  const known = await callUnary<MeasureFamiliarityResponse__Output>(harness.client, 'MeasureFamiliarity', {});
  assert.equal(known.collection, 'docs');
  const stream = harness.client.searchStream();
  const answered = new Promise<SearchStreamResponse__Output>((resolve, reject) => {
    stream.once('data', resolve).once('error', reject);
  });
  stream.write({ sequence: 1, search: { query: 'stars' } });
  assert.equal((await answered).result?.collection, 'docs');
  stream.end();
});

test('with several collections, it is refused with their names and the setting', async (context) => {
  const several = await withCollections(['a', 'b', 'c', 'd', 'e']);
  context.after(() => several.stop());
  const error = await failure(several.search({ collection: '' }));
  assert.equal(error.code, status.INVALID_ARGUMENT);
  assert.match(error.message, /^collection: is empty, and the store has 6 collections: a, b, c, d, docs, …;/);
  assert.match(error.message, /--default-collection or SCALINGNOTE_DEFAULT_COLLECTION/);
  assert.equal(several.tower.texts.length, 0, 'nothing is encoded');
});

test('the setting says which of several', async (context) => {
  const several = await withCollections(['a', 'b'], 'b');
  context.after(() => several.stop());
  assert.equal((await several.search({ collection: '' })).collection, 'b');
  assert.equal((await several.search({ collection: 'a' })).collection, 'a');
});

test('a default collection that there is not is NOT_FOUND by its name, with the setting', async (context) => {
  const none = await withCollections([], 'gone');
  context.after(() => none.stop());
  const error = await failure(none.search({ collection: '' }));
  assert.deepEqual([error.code, /"gone"/.test(error.message)], [status.NOT_FOUND, true]);
  assert.match(error.message, /--default-collection or SCALINGNOTE_DEFAULT_COLLECTION/);
  const other = await failure(none.search({ collection: 'other' }));
  assert.deepEqual([other.code, /--default-collection/.test(other.message)], [status.NOT_FOUND, false]);
});

test('the store is asked once for many searches, and again for a collection that is new', async (context) => {
  const one = await startQuery();
  context.after(() => one.stop());
  let asked = 0;
  const aliases = one.store.aliases.bind(one.store);
  one.store.aliases = (options) => {
    asked++;
    return aliases(options);
  };
  await Promise.all(Array.from({ length: 4 }, () => one.search({ collection: '' })));
  await one.search({ collection: '' });
  assert.equal(asked, 1);
  await one.store.lead('second', fingerprint);
  await new Promise((resolve) => setTimeout(resolve, ALIAS_TTL_MS + 50));
  assert.match((await failure(one.search({ collection: '' }))).message, /2 collections: docs, second;/);
});
