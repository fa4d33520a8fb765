import { type Context, SpanKind } from '@opentelemetry/api';
import { StoreError, type StoreErrorReason } from '../../store/errors.ts';
import type { SearchHit, SearchQuery } from '../../store/queries.ts';
import type { CollectionKey, Store } from '../../store/store.ts';
import { readQuery, type ReadQuery } from '../../towers/lexical/query.ts';
import { queryTerms } from '../../towers/terms.ts';
import { analyserOf, notAnalysed } from '../runtime/analysis.ts';
import type { Call } from '../runtime/handler.ts';
import { traceOf } from '../runtime/telemetry/span.ts';
import { Quotas } from '../runtime/tenants/quotas.ts';
import { tenantFlow } from '../runtime/tenants/whose.ts';
import type { Collections } from './collections.ts';
import type { CutText, QueryEncoder, QueryTower } from './encoder.ts';
import type { SearchPlan } from './search-plan.ts';
import { Vocabularies } from './vocabularies.ts';

/** What searching needs of a store. */
export type QueryStore = Pick<
  Store,
  | 'kind'
  | 'aliases'
  | 'findCollection'
  | 'search'
  | 'words'
  | 'lookupDocuments'
  | 'readDocuments'
  | 'findOrigins'
  | 'findDelete'
>;

/** What was found, and where the time went. */
export interface Found {
  hits: SearchHit[];
  /** Physical name of what was searched, and what the store was asked. */
  collection: string;
  query: SearchQuery;
  timings: { tokenizeMs: number; queueMs: number; encodeMs: number; searchMs: number; cached: boolean };
  /** How many tokens the tower read of a query that has more. */
  cut?: CutText;
  /** What the words of the text mean in the collection; absent where it has no analysis, or nobody asked. */
  reading?: ReadQuery;
}

/** What encoding made of a search's text. */
interface Encoded {
  /** The analysis of the collection that it was made for; `undefined` where that does not matter. */
  analysis?: string | undefined;
  reading?: ReadQuery;
  vectors: Pick<SearchQuery, 'vector' | 'sparse' | 'hnswEf' | 'oversampling'>;
  timings: Found['timings'];
  cut?: CutText;
}

/** Why a store does not find a collection where it was a moment ago. */
const GONE: ReadonlySet<StoreErrorReason> = new Set(['COLLECTION_NOT_FOUND', 'COLLECTION_REPLACED']);

/** What a search that is tried again keeps of the attempt before. */
export interface Kept {
  encoded?: Encoded;
}

/** Does searches that have been checked and let in. */
export class Searcher {
  readonly #store: QueryStore;
  readonly #encoder: QueryEncoder;
  readonly #collections: Collections;
  readonly #quotas: Quotas;
  readonly #vocabularies: Vocabularies;
  /** As the tower's manifest recommends it. */
  readonly #recommended: Pick<SearchQuery, 'hnswEf' | 'oversampling'>;

  constructor(
    tower: QueryTower,
    store: QueryStore,
    encoder: QueryEncoder,
    collections: Collections,
    quotas = new Quotas(),
  ) {
    this.#quotas = quotas;
    const { search } = tower.manifest;
    this.#recommended = {
      ...(search && { hnswEf: search.hnswEf }),
      ...(search?.oversampling !== undefined && { oversampling: search.oversampling }),
    };
    this.#store = store;
    this.#vocabularies = new Vocabularies(store);
    this.#encoder = encoder;
    this.#collections = collections;
  }

  /**
   * @param kept the same object for all attempts of one search: its text is encoded once
   * @throws {StoreError} `COLLECTION_NOT_FOUND`, `SPACE_MISMATCH`, `COLLECTION_REPLACED` before anything is encoded, and
   *   what else the store throws
   * @throws {TowerError} as the tower does
   */
  async search(plan: SearchPlan, call: Call, kept: Kept = {}): Promise<Found> {
    const key = await this.#resolve(plan, call);
    const { physicalName: physical } = key;
    if (kept.encoded && !isFor(kept.encoded, key)) delete kept.encoded;
    const { vectors, timings, cut, reading } = (kept.encoded ??= await this.#encode(plan, key, call));
    const query = { ...plan.query, ...vectors };
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
      const hits = await this.#ask(plan, key, query, { ...call, ...traceOf(span) });
      timings.searchMs = performance.now() - started;
      return {
        hits,
        collection: physical,
        query,
        timings,
        ...(cut && { cut }),
        ...(reading && { reading }),
      };
    } catch (error) {
      // A search that was given up, because a newer query came, has not failed.
      const { name } = error as Error;
      if (name !== 'AbortError') span?.fail(error instanceof StoreError ? error.reason : name);
      throw error;
    } finally {
      span?.end();
    }
  }

  /** What a search keeps whose vector the caller made. */
  given(vector: Float32Array): Kept {
    const timings = { tokenizeMs: 0, queueMs: 0, encodeMs: 0, searchMs: 0, cached: false };
    return { encoded: { vectors: { vector, ...this.#recommended }, timings } };
  }

  async #encode(plan: SearchPlan, key: CollectionKey, call: Call): Promise<Encoded> {
    const timings = { tokenizeMs: 0, queueMs: 0, encodeMs: 0, searchMs: 0, cached: false };
    const vectors: Encoded['vectors'] = {};
    let cut: CutText | undefined;
    const reading = await this.#read(plan, key, call);
    if (plan.mode !== 'dense') {
      const started = performance.now();
      vectors.sparse = reading?.sparse ?? queryTerms(plan.text);
      const done = performance.now();
      timings.tokenizeMs = done - started;
      if (plan.mode === 'sparse') call.span?.record('tokenize', started, done);
    }
    if (plan.mode !== 'sparse') {
      const { tenant } = plan.query;
      const encoded = await this.#encoder.encode(reading?.text ?? plan.text, {
        signal: call.signal,
        ...(call.span && { span: call.span }),
        owner: tenantFlow(tenant),
        onTokens: (tokens) => this.#quotas.tokens(tenant, tokens),
      });
      vectors.vector = encoded.vector;
      cut = encoded.cut;
      Object.assign(vectors, this.#recommended);
      timings.tokenizeMs += encoded.tokenizeMs;
      timings.queueMs = encoded.queueMs;
      timings.encodeMs = encoded.encodeMs;
      timings.cached = encoded.cached;
    }
    return {
      vectors,
      timings,
      analysis: reading || plan.mode !== 'dense' ? key.analysis : undefined,
      ...(cut && { cut }),
      ...(reading && { reading }),
    };
  }

  /** What the words of the text mean in the collection; `undefined` where that does not matter, or can't be known. */
  async #read(plan: SearchPlan, key: CollectionKey, call: Call): Promise<ReadQuery | undefined> {
    const { collection, text, mode, prefix = false, language, query } = plan;
    const { analysis, physicalName } = key;
    if (mode === 'dense' && !prefix) return undefined;
    if (key.readOnly === true) return undefined;
    const analyser = analyserOf(collection, analysis);
    if (!analyser) {
      if (prefix && plan.mustPrefix) throw notAnalysed(collection, 'prefix');
      if (language !== undefined) throw notAnalysed(collection, 'language');
      return undefined;
    }
    const started = performance.now();
    const vocabulary = await this.#vocabularies.of(physicalName, query.tenant, call);
    const reading = readQuery(text, { analyser, vocabulary, language, prefix });
    call.span?.record('read', started, performance.now());
    return reading;
  }

  #resolve({ collection, query }: SearchPlan, call: Call): Promise<CollectionKey> {
    return this.#collections.find(collection, call, query.atLeast?.identity);
  }

  /** A collection may have been replaced and dropped since we looked where its name leads: look once more. */
  async #ask(
    plan: SearchPlan,
    key: CollectionKey,
    query: SearchQuery,
    call: Call & { trace?: Context },
  ): Promise<SearchHit[]> {
    try {
      return await this.#store.search(key.physicalName, query, call);
    } catch (error) {
      if (!(error instanceof StoreError && GONE.has(error.reason))) throw error;
      this.#collections.forget(plan.collection);
      const now = await this.#resolve(plan, call);
      // Another analysis has other terms for the same words.
      const { sparse } = now.analysis === key.analysis ? query : await this.#termsIn(plan, now, call);
      return this.#store.search(now.physicalName, sparse ? { ...query, sparse } : query, call);
    }
  }

  async #termsIn(plan: SearchPlan, key: CollectionKey, call: Call): Promise<Pick<SearchQuery, 'sparse'>> {
    if (plan.mode === 'dense') return {};
    return { sparse: (await this.#read(plan, key, call))?.sparse ?? queryTerms(plan.text) };
  }
}

/** Whether what was made of a text holds for a collection, too. */
function isFor({ analysis, vectors, reading }: Encoded, key: CollectionKey): boolean {
  return (!vectors.sparse && !reading) || analysis === key.analysis;
}
