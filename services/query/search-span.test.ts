import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Metadata } from '@grpc/grpc-js';
import { SpanStatusCode } from '@opentelemetry/api';
import { StoreError } from '../../store/errors.ts';
import type { RecordedSpan } from '../runtime/telemetry/recorded-span.ts';
import { Tracer } from '../runtime/telemetry/tracer.ts';
import { Collections } from './collections.ts';
import { QueryEncoder } from './encoder.ts';
import { parseSearch } from './search-plan.ts';
import { Searcher } from './searcher.ts';
import { FakeStore, FakeTower } from './testing/fakes.ts';

/** The span of a search's store call that ends with an error. */
async function storeSpan(error: Error): Promise<RecordedSpan> {
  const tower = new FakeTower();
  const store = new FakeStore();
  await store.lead('docs', tower.manifest.space.fingerprint);
  store.find = () => {
    throw error;
  };
  const kept: RecordedSpan[] = [];
  const tracer = new Tracer({ push: (spans) => void kept.push(...spans) }, () => ({ sampled: true }));
  const span = tracer.server('search', undefined, 0, {});
  const { dimensions, space } = tower.manifest;
  const collections = new Collections(store, { fingerprint: space.fingerprint, dimensions });
  const searcher = new Searcher(tower, store, new QueryEncoder(tower, { cache: 10 }), collections);
  const plan = parseSearch({
    collection: 'docs',
    tenant: '',
    query: 'stars',
    offset: 0,
    mode: 'SEARCH_MODE_DENSE',
    omitText: false,
    omitMetadata: false,
    filter: null,
    atLeastAsFreshAs: '',
    explain: false,
    explainDocumentId: '',
    snippetLength: 0,
    withDocumentText: false,
    language: '',
    fusion: null,
    withPercentile: false,
    withCount: false,
    facets: [],
    sort: null,
    candidates: 0,
    rerank: 0,
  });
  const call = { signal: new AbortController().signal, metadata: new Metadata(), span };
  await assert.rejects(searcher.search(plan, call), error);
  span.end();
  return kept.find(({ name }) => name === 'store')!;
}

test('a search that was given up for a newer one has not failed, and one whose store is away has', async () => {
  const superseded = await storeSpan(new DOMException('superseded', 'AbortError'));
  assert.equal(superseded.status.code, SpanStatusCode.UNSET);
  const failed = await storeSpan(new StoreError('STORE_UNAVAILABLE', 'the store is away'));
  assert.equal(failed.status.code, SpanStatusCode.ERROR);
  assert.equal(failed.attributes?.['error.type'], 'STORE_UNAVAILABLE');
});
