import { type Context, SpanKind } from '@opentelemetry/api';
import { StoreError } from '../../store/errors.ts';
import type { SearchHit, SearchQuery, Store } from '../../store/store.ts';
import { queryTerms } from '../../towers/terms.ts';
import type { Call } from '../runtime/handler.ts';
import { traceOf } from '../runtime/telemetry/span.ts';
import { Collections } from './collections.ts';
import type { QueryEncoder, QueryTower } from './encoder.ts';
import type { SearchPlan } from './search-plan.ts';

/** What searching needs of a store. */
export type QueryStore = Pick<Store, 'kind' | 'findCollection' | 'search'>;

/** What was found, and where the time went. */
export interface Found {
  hits: SearchHit[];
  /** Physical name of what was searched, and what the store was asked. */
  collection: string;
  query: SearchQuery;
  timings: { tokenizeMs: number; queueMs: number; encodeMs: number; searchMs: number; cached: boolean };
}

/** Does searches that have been checked and let in. */
export class Searcher {
  readonly #store: QueryStore;
  readonly #encoder: QueryEncoder;
  readonly #collections: Collections;
  /** As the tower's manifest recommends it. */
  readonly #recommended: Pick<SearchQuery, 'hnswEf' | 'oversampling'>;

  constructor(tower: QueryTower, store: QueryStore, encoder: QueryEncoder) {
    const { dimensions, space, search } = tower.manifest;
    this.#recommended = {
      ...(search && { hnswEf: search.hnswEf }),
      ...(search?.oversampling !== undefined && { oversampling: search.oversampling }),
    };
    this.#store = store;
    this.#encoder = encoder;
    this.#collections = new Collections(store, { fingerprint: space.fingerprint, dimensions });
  }

  /**
   * @throws {StoreError} `COLLECTION_NOT_FOUND`, `SPACE_MISMATCH` before anything is encoded, and what else the
   *   store throws
   * @throws {TowerError} as the tower does
   */
  async search(plan: SearchPlan, call: Call): Promise<Found> {
    const physical = await this.#collections.resolve(plan.collection, call);
    const timings = { tokenizeMs: 0, queueMs: 0, encodeMs: 0, searchMs: 0, cached: false };
    const query = { ...plan.query };
    if (plan.mode !== 'dense') {
      const started = performance.now();
      query.sparse = queryTerms(plan.text);
      const done = performance.now();
      timings.tokenizeMs = done - started;
      if (plan.mode === 'sparse') call.span?.record('tokenize', started, done);
    }
    if (plan.mode !== 'sparse') {
      const encoded = await this.#encoder.encode(plan.text, call);
      query.vector = encoded.vector;
      Object.assign(query, this.#recommended);
      timings.tokenizeMs += encoded.tokenizeMs;
      timings.queueMs = encoded.queueMs;
      timings.encodeMs = encoded.encodeMs;
      timings.cached = encoded.cached;
    }
    const span = call.span?.child('store', {
      kind: SpanKind.CLIENT,
      attributes: {
        'db.system.name': this.#store.kind,
        'db.operation.name': 'search',
        'db.collection.name': physical,
      },
    });
    const started = performance.now();
    try {
      const hits = await this.#ask(plan.collection, physical, query, { ...call, ...traceOf(span) });
      timings.searchMs = performance.now() - started;
      return { hits, collection: physical, query, timings };
    } catch (error) {
      // A search that was given up, because a newer query came, has not failed.
      const { name } = error as Error;
      if (name !== 'AbortError') span?.fail(error instanceof StoreError ? error.reason : name);
      throw error;
    } finally {
      span?.end();
    }
  }

  /** A collection may have been replaced and dropped since we looked where its name leads: look once more. */
  async #ask(
    name: string,
    physical: string,
    query: SearchQuery,
    call: Call & { trace?: Context },
  ): Promise<SearchHit[]> {
    try {
      return await this.#store.search(physical, query, call);
    } catch (error) {
      if (!(error instanceof StoreError) || error.reason !== 'COLLECTION_NOT_FOUND') throw error;
      this.#collections.forget(name);
      return this.#store.search(await this.#collections.resolve(name, call), query, call);
    }
  }
}
