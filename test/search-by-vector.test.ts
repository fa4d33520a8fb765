import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { QueryClient, ScalingnoteError } from '../clients/index.ts';
import { startQuery, type QueryHarness } from '../services/query/testing/harness.ts';
import { vectorOf } from '../services/query/testing/fakes.ts';

/** A search by vector from the TypeScript client to the store. */

let harness: QueryHarness;
let client: QueryClient;
before(async () => {
  harness = await startQuery();
  client = new QueryClient({ address: harness.server.address });
});
after(async () => {
  client.close();
  await harness.stop();
});

test('a vector finds what its text would, and the text is not sent', async () => {
  await harness.store.fill('docs', ['stars', 'bread']);
  const space = harness.tower.manifest.space.fingerprint;
  const vector = [...vectorOf('bread')];
  const { hits } = await client.searchByVector({ search: { collection: 'docs', limit: 1 }, space, vector });
  assert.deepEqual(
    hits.map(({ text }) => text),
    ['bread'],
  );
  assert.deepEqual(harness.tower.texts, []);
});

test('another space, other dimensions, and numbers that are none are refused', async () => {
  const space = harness.tower.manifest.space.fingerprint;
  const vector = [...vectorOf('bread')];
  const good = { search: { collection: 'docs' }, space, vector };
  const asked = harness.store.searches.length;
  for (const [change, reason, message] of [
    [{ space: `sp1_${'0'.repeat(32)}` }, 'SPACE_MISMATCH', /the vector is of space "?sp1_0000/],
    [{ vector: vector.slice(1) }, 'INVALID_ARGUMENT', /vector: has \d+ values; the space has \d+ dimensions/],
    [{ vector: [] }, 'INVALID_ARGUMENT', /vector/],
    [{ vector: vector.with(1, Number.NaN) }, 'INVALID_ARGUMENT', /vector\[1\]/],
    [{ vector: vector.with(0, Infinity) }, 'INVALID_ARGUMENT', /vector\[0\]/],
    [{ vector: vector.map((x) => 3 * x) }, 'INVALID_ARGUMENT', /divide by it/],
    [{ search: { collection: 'docs', query: 'bread' } }, 'INVALID_ARGUMENT', /query/],
    [{ space: undefined }, 'INVALID_ARGUMENT', /space: is missing/],
  ] as const) {
    await assert.rejects(client.searchByVector({ ...good, ...change } as typeof good), (error) => {
      assert.ok(error instanceof ScalingnoteError, String(error));
      assert.equal(error.reason, reason);
      assert.match(error.message, message);
      return true;
    });
  }
  assert.equal(harness.store.searches.length, asked);
});
