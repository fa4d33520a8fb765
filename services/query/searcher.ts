import { type Context, SpanKind } from '@opentelemetry/api';
import { StoreError, type StoreErrorReason } from '../../store/errors.ts';
import { DEFAULT_FUSION, type Fusion } from '../../store/fusion.ts';
import type { SearchHit, SearchQuery } from '../../store/queries.ts';
import type { CollectionKey, Store } from '../../store/store.ts';
import { readQuery, type ReadQuery } from '../../towers/lexical/query.ts';
import type { Reranker } from '../../towers/reranker/reranker.ts';
import { queryTerms } from '../../towers/terms.ts';
import { analyserOf, notAnalysed } from '../runtime/analysis.ts';
import { ServiceError } from '../runtime/errors.ts';
import type { Call } from '../runtime/handler.ts';
import { traceOf } from '../runtime/telemetry/span.ts';
import { Quotas } from '../runtime/tenants/quotas.ts';
import { tenantFlow } from '../runtime/tenants/whose.ts';
import type { Collections } from './collections.ts';
import type { CutText, EncodedQuery, QueryEncoder, QueryTower } from './encoder.ts';
import type { ResultSet } from '../../proto/generated/scalingnote/v1/ResultSet.ts';
import { fusionFor } from './fusion.ts';
import { type Absence, encodeInTime, searchByWords } from './ladder.ts';
import { percentileUnknown, type Scale, Scales } from './percentile.ts';
import { type Page, Reranks } from './rerank.ts';
import { requireIndexed, searchSet } from './result-set.ts';
import type { SearchPlan } from './search-plan.ts';
import { Vocabularies } from './vocabularies.ts';
import { warmWords } from './warm.ts';

/** What searching needs of a store. */
export type QueryStore = Pick<
  Store,
  | 'kind'
  | 'aliases'
  | 'findCollection'
  | 'search'
  | 'words'
  | 'scroll'
  | 'lookupDocuments'
  | 'readDocuments'
  | 'findOrigins'
  | 'findDelete'
>;

/** What was found, and where the time went. */
export interface Found extends Page {
  /** Physical name of what was searched, and what the store was asked. */
  collection: string;
  query: SearchQuery;
  timings: { tokenizeMs: number; queueMs: number; encodeMs: number; searchMs: number; cached: boolean };
  /** How many tokens the tower read of a query that has more. */
  cut?: CutText;
  /** What the words of the text mean in the collection; absent where it has no analysis, or nobody asked. */
  reading?: ReadQuery;
  /** What marks words in a snippet, where a search without a reading has one. */
  marks?: Marks;
  /** Where percentiles are asked for. */
  scale?: Scale;
  set?: ResultSet;
  /** Why a hybrid search has no dense leg. */
  absence?: Absence;
  /** The best document below the threshold, where nothing reaches it. */
  below?: SearchHit;
}

/** Tells whether a word of a passage is one of the query's. */
export type Marks = Pick<ReadQuery, 'matches'>;

/** What encoding made of a search's text. */
interface Encoded {
  /** The analysis of the collection that it was made for; `undefined` where that does not matter. */
  analysis?: string | undefined;
  reading?: ReadQuery;
  marks?: Marks;
  vectors: Pick<SearchQuery, 'vector' | 'sparse' | 'hnswEf' | 'oversampling'>;
  timings: Found['timings'];
  cut?: CutText;
  absence?: Absence;
}

/** What of a search says how its words are read. */
type WordsPlan = Pick<
  SearchPlan,
  'collection' | 'text' | 'mode' | 'prefix' | 'mustPrefix' | 'language' | 'query'
> & { besides?: Pick<SearchPlan['besides'], 'snippetLength'> };

/** Why a store does not find a collection where it was a moment ago. */
const GONE: ReadonlySet<StoreErrorReason> = new Set(['COLLECTION_NOT_FOUND', 'COLLECTION_REPLACED']);

/** What a search that is tried again keeps of the attempt before. */
export interface Kept {
  encoded?: Encoded;
}

/** What a searcher may be given. */
export interface SearcherOptions {
  quotas?: Quotas;
  /** How a collection fuses, by logical name. */
  fusion?: Readonly<Record<string, Fusion>> | undefined;
  reranker?: Reranker | undefined;
}

/** Does searches that have been checked and let in. */
export class Searcher {
  readonly #store: QueryStore;
  readonly #encoder: QueryEncoder;
  readonly #collections: Collections;
  readonly #quotas: Quotas;
  readonly #vocabularies: Vocabularies;
  readonly #scales: Scales;
  readonly #reranks: Reranks;
  /** By logical name. */
  readonly #fusion: ReadonlyMap<string, Fusion>;
  /** As the tower's manifest recommends it. */
  readonly #recommended: Pick<SearchQuery, 'hnswEf' | 'oversampling'>;

  constructor(
    tower: QueryTower,
    store: QueryStore,
    encoder: QueryEncoder,
    collections: Collections,
    { quotas = new Quotas(), fusion, reranker }: SearcherOptions = {},
  ) {
    this.#quotas = quotas;
    this.#reranks = new Reranks(reranker);
    this.#fusion = new Map(Object.entries(fusion ?? {}));
    const { search } = tower.manifest;
    this.#recommended = {
      ...(search && { hnswEf: search.hnswEf }),
      ...(search?.oversampling !== undefined && { oversampling: search.oversampling }),
    };
    this.#store = store;
    this.#vocabularies = new Vocabularies(store);
    this.#encoder = encoder;
    this.#scales = new Scales({
      store,
      encode: async (text, { collection, tenant }, signal) => {
        const [{ vector }, key] = await Promise.all([
          encoder.encode(text, { signal }),
          collections.find(collection, { signal }),
        ]);
        const asked = { collection, text, mode: 'hybrid' as const, query: { tenant, limit: 1 } };
        const reading = await this.#read(asked, key, { signal });
        return { vector, sparse: reading?.sparse ?? queryTerms(text) };
      },
    });
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
    if (plan.set) requireIndexed(plan.set, key, plan.collection);
    if (kept.encoded && !isFor(kept.encoded, key)) delete kept.encoded;
    const { vectors, timings, cut, absence, reading, marks } = (kept.encoded ??= await this.#encode(
      plan,
      key,
      call,
    ));
    const scale = plan.percentile && (await this.#scale(plan, physical, call));
    const fusion =
      plan.mode === 'hybrid' ? fusionFor(plan.fusion, this.#fusion.get(plan.collection), reading) : undefined;
    const query: SearchQuery = { ...plan.query, ...vectors, ...(fusion && { fusion }) };
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
      const ask = (one: SearchQuery): Promise<SearchHit[]> =>
        this.#ask(plan, key, one, { ...call, ...traceOf(span) });
      const asked = withPercentile(plan, query, scale);
      const askAll = absence ? (one: SearchQuery) => searchByWords(hybrid(one), ask) : ask;
      const found = await answer(plan, asked, scale, askAll, (one) => this.#pageOf(plan, one, askAll, call));
      timings.searchMs = performance.now() - started;
      return {
        ...found,
        collection: physical,
        query: asked,
        timings,
        ...(cut && { cut }),
        ...(scale && { scale }),
        ...(absence && { absence }),
        ...(reading && { reading }),
        ...(marks && { marks }),
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
    const read = await this.#read(plan, key, call);
    // A dense search looks for no words: they are read for the marks of its snippets.
    const reading = plan.mode === 'dense' && plan.prefix !== true ? undefined : read;
    if (plan.mode !== 'dense') {
      const started = performance.now();
      vectors.sparse = reading?.sparse ?? queryTerms(plan.text);
      const done = performance.now();
      timings.tokenizeMs = done - started;
      if (plan.mode === 'sparse') call.span?.record('tokenize', started, done);
    }
    if (plan.mode !== 'sparse') {
      const { tenant } = plan.query;
      const text = reading?.text ?? plan.text;
      const asked = {
        ...(call.span && { span: call.span }),
        owner: tenantFlow(tenant),
        onTokens: (tokens: number) => this.#quotas.tokens(tenant, tokens),
      };
      const now = (): EncodedQuery | undefined => this.#encoder.encodeNow(text, asked);
      const encode = (signal: AbortSignal): Promise<EncodedQuery> =>
        this.#encoder.encode(text, { signal, ...asked });
      const encoded =
        plan.mode === 'hybrid'
          ? await encodeInTime(call, encode, now)
          : (now() ?? (await encode(call.signal)));
      if (typeof encoded === 'string') {
        return { vectors, timings, absence: encoded, analysis: key.analysis, ...(reading && { reading }) };
      }
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
      analysis: read || plan.mode !== 'dense' ? key.analysis : undefined,
      ...(cut && { cut }),
      ...(reading ? { reading } : read && { marks: read }),
    };
  }

  /** What the words of the text mean in the collection; `undefined` where that does not matter, or can't be known. */
  async #read(
    plan: WordsPlan,
    key: CollectionKey,
    call: Pick<Call, 'signal' | 'span'>,
  ): Promise<ReadQuery | undefined> {
    const { collection, text, mode, prefix = false, language, query, besides } = plan;
    const { analysis, physicalName } = key;
    if (mode === 'dense' && !prefix && !besides?.snippetLength) return undefined;
    // The terms of a collection of others are theirs, if it has any.
    const find = () => (key.readOnly === true ? undefined : analyserOf(collection, analysis));
    // A dense search that nobody asked to complete words goes on without that.
    const analyser = mode === 'dense' && plan.mustPrefix !== true ? unlessRefused(find) : find();
    if (!analyser) {
      if (prefix && plan.mustPrefix) throw notAnalysed(key, collection, 'prefix');
      if (language !== undefined) throw notAnalysed(key, collection, 'language');
      return undefined;
    }
    const started = performance.now();
    const vocabulary = await this.#vocabularies
      .of(physicalName, query.tenant, call)
      .catch((error: unknown) => {
        // The search itself looks once more where the name leads.
        if (error instanceof StoreError && GONE.has(error.reason)) return undefined;
        throw error;
      });
    const reading = readQuery(text, { analyser, vocabulary, language, prefix });
    call.span?.record('read', started, performance.now());
    return reading;
  }

  /** Reads the words that the first searches would wait for. @param space fingerprint @throws {StoreError} */
  warm(
    store: Pick<Store, 'listCollections' | 'tenantCounts'>,
    space: string,
    signal: AbortSignal,
  ): Promise<void> {
    return warmWords(store, space, this.#vocabularies, signal);
  }

  #resolve({ collection, query }: SearchPlan, call: Call): Promise<CollectionKey> {
    return this.#collections.find(collection, call, query.atLeast?.identity);
  }

  /** The hits of a page, reranked where the search asks for that. */
  async #pageOf(
    { rerank: most, text }: SearchPlan,
    query: SearchQuery,
    ask: (query: SearchQuery) => Promise<SearchHit[]>,
    call: Call,
  ): Promise<Page> {
    return most === 0 ? { hits: await ask(query) } : this.#reranks.search({ most, text, call }, query, ask);
  }

  /** @throws {ServiceError} `PERCENTILE_UNKNOWN` where a threshold needs what is not known */
  async #scale(plan: SearchPlan, physical: string, call: Call): Promise<Scale> {
    const scale = await this.#scales.of(physical, plan.query.tenant, call.signal);
    if (plan.percentile?.threshold !== undefined && !scale.isKnown) throw percentileUnknown(scale.queries);
    return scale;
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

function unlessRefused<Result>(find: () => Result): Result | undefined {
  try {
    return find();
  } catch (error) {
    if (error instanceof ServiceError) return undefined;
    throw error;
  }
}

/** Whether what was made of a text holds for a collection, too. */
function isFor({ analysis, vectors, reading, marks }: Encoded, key: CollectionKey): boolean {
  return (!vectors.sparse && !reading && !marks) || analysis === key.analysis;
}

/** In a mode of one leg, a percentile is a score, which the store can tell from others. */
function withPercentile(
  { mode, percentile }: SearchPlan,
  query: SearchQuery,
  scale: Scale | undefined,
): SearchQuery {
  const least = percentile?.threshold;
  if (least === undefined || !scale || mode === 'hybrid') return query;
  const lowest = scale.threshold(least, mode);
  const { scoreThreshold = lowest } = query;
  return lowest === -Infinity ? query : { ...query, scoreThreshold: Math.max(scoreThreshold, lowest) };
}

/** The page, what is wanted of the result set, and what there is where thresholds leave nothing. */
async function answer(
  { mode, set, percentile }: SearchPlan,
  query: SearchQuery,
  scale: Scale | undefined,
  ask: (query: SearchQuery) => Promise<SearchHit[]>,
  pageOf: (query: SearchQuery) => Promise<Page>,
): Promise<Page & Pick<Found, 'set' | 'below'>> {
  const least = mode === 'hybrid' ? percentile?.threshold : undefined;
  const keep = least === undefined || !scale ? undefined : (hit: SearchHit) => scale.of(hit, mode) >= least;
  const found = set ? await searchSet(set, query, mode, { ask, pageOf, keep }) : await pageOf(query);
  const { hits } = found;
  const isBounded = query.scoreThreshold !== undefined || least !== undefined;
  if (hits.length > 0 || !isBounded || (query.offset ?? 0) > 0) return found;
  const { scoreThreshold: _, ...unbounded } = query;
  const [below] = await ask({ ...unbounded, limit: 1, idsOnly: true, withText: false, withMetadata: false });
  return { ...found, ...(below && { below }) };
}

/** A search that has no dense leg is hybrid all the same: how it fuses is known. */
function hybrid(query: SearchQuery): SearchQuery & { fusion: Fusion } {
  return { ...query, fusion: query.fusion ?? DEFAULT_FUSION };
}
