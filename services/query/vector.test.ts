import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import type { SearchResponse__Output } from '../../proto/generated/scalingnote/v1/SearchResponse.ts';
import { callUnary, failure } from '../runtime/testing/harness.ts';
import { vectorOf } from './testing/fakes.ts';
import { startQuery, type QueryHarness } from './testing/harness.ts';

const started: QueryHarness[] = [];
after(() => Promise.all(started.map(({ stop }) => stop())));

async function start() {
  const harness = await startQuery();
  started.push(harness);
  const space = harness.tower.manifest.space.fingerprint;
  const vector = [...vectorOf('stars')];
  const good = { search: { collection: 'docs' }, space, vector };
  const ask = (request: object): Promise<SearchResponse__Output> =>
    callUnary(harness.client, 'SearchByVector', { ...good, ...request });
  return { ...harness, ask, vector };
}

test('a search by vector asks the store with that vector, and encodes nothing', async () => {
  const { ask, store, vector } = await start();
  const answer = await ask({ search: { collection: 'docs', limit: 7, tenant: 't' } });
  const [asked] = store.searches;
  assert.deepEqual([...asked!.query.vector!], vector);
  assert.deepEqual([asked!.query.limit, asked!.query.tenant, asked!.query.sparse], [7, 't', undefined]);
  assert.deepEqual([answer.timings!.encodeMs, answer.timings!.tokenizeMs], [0, 0]);
});

test('a vector of another space is refused, with both fingerprints', async () => {
  const { ask, store, tower } = await start();
  const other = `sp1_${'0'.repeat(32)}`;
  const { code, reason, metadata } = await failure(ask({ space: other }));
  assert.deepEqual([code, reason], [status.FAILED_PRECONDITION, 'SPACE_MISMATCH']);
  assert.deepEqual(metadata, { expected: tower.manifest.space.fingerprint, actual: other });
  assert.equal(store.searches.length, 0);
});

test('what needs the text, and vectors that are none, are refused by field', async () => {
  const { ask, store, vector } = await start();
  const cases: [object, string][] = [
    [{ search: null }, 'search'],
    [{ search: { collection: 'docs', query: 'stars' } }, 'search.query'],
    [{ search: { collection: 'docs', mode: 'SEARCH_MODE_HYBRID' } }, 'search.mode'],
    [{ search: { collection: 'docs', explain: true } }, 'search.explain'],
    [{ search: { collection: 'docs', explainDocumentId: 'd' } }, 'search.explain_document_id'],
    [{ search: { collection: 'docs', snippetLength: 100 } }, 'search.snippet_length'],
    [{ space: '' }, 'space'],
    [{ vector: vector.slice(1) }, 'vector'],
    [{ vector: vector.map(() => 0) }, 'vector'],
    [{ vector: vector.with(1, Number.NaN) }, 'vector[1]'],
    [{ vector: vector.map((value) => value * 3) }, 'vector'],
  ];
  for (const [change, field] of cases) {
    const { code, violations } = await failure(ask(change));
    assert.equal(code, status.INVALID_ARGUMENT, field);
    assert.equal(violations?.[0]?.field, field);
  }
  assert.equal(store.searches.length, 0);
});
