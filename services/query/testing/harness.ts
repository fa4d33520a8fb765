import { pino, type Logger } from 'pino';
import type { CallOptions } from '@grpc/grpc-js';
import type { SearchRequest } from '../../../proto/generated/scalingnote/v1/SearchRequest.ts';
import type { SearchResponse__Output } from '../../../proto/generated/scalingnote/v1/SearchResponse.ts';
import { callUnary, serveService, type Harness } from '../../runtime/testing/harness.ts';
import { MAX_RECEIVE_BYTES, queryService, type QueryParts } from '../service.ts';
import { FakeStore, FakeTower } from './fakes.ts';

/** A query service over fakes, with one empty collection "docs" of the tower's space. */
export interface QueryHarness extends Harness {
  tower: FakeTower;
  store: FakeStore;
  search(request: SearchRequest, options?: CallOptions): Promise<SearchResponse__Output>;
}

export async function startQuery(
  parts: Partial<Omit<QueryParts, 'tower' | 'store'>> & {
    tower?: FakeTower;
    store?: FakeStore;
    log?: Logger;
  } = {},
): Promise<QueryHarness> {
  const tower = parts.tower ?? new FakeTower();
  const store = parts.store ?? new FakeStore();
  const log = parts.log ?? pino({ level: 'silent' });
  await store.lead('docs', tower.manifest.space.fingerprint);
  const harness = await serveService(
    queryService({ slots: 4, queue: 4, cache: 100, ...parts, tower, store, log }),
    { log, maxReceiveBytes: MAX_RECEIVE_BYTES },
  );
  return {
    ...harness,
    tower,
    store,
    search: (request, options) =>
      callUnary(harness.client, 'Search', { collection: 'docs', query: 'stars', ...request }, options),
  };
}
