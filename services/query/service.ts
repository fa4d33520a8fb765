import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Embedding } from '../../proto/generated/scalingnote/v1/Embedding.ts';
import type { EncodeRequest__Output } from '../../proto/generated/scalingnote/v1/EncodeRequest.ts';
import type { EncodeResponse } from '../../proto/generated/scalingnote/v1/EncodeResponse.ts';
import type { QueryServiceHandlers } from '../../proto/generated/scalingnote/v1/QueryService.ts';
import type { SearchByVectorRequest__Output } from '../../proto/generated/scalingnote/v1/SearchByVectorRequest.ts';
import type { NoGoodAnswer } from '../../proto/generated/scalingnote/v1/NoGoodAnswer.ts';
import type { QueryTruncation } from '../../proto/generated/scalingnote/v1/QueryTruncation.ts';
import type { SearchRequest__Output } from '../../proto/generated/scalingnote/v1/SearchRequest.ts';
import type { ServiceInfo } from '../../proto/generated/scalingnote/v1/ServiceInfo.ts';
import type { SearchResponse } from '../../proto/generated/scalingnote/v1/SearchResponse.ts';
import type { Reranker } from '../../towers/reranker/reranker.ts';
import type { Fusion } from '../../store/fusion.ts';
import type { SearchHit } from '../../store/queries.ts';
import { type HitParts, partsOf } from '../../store/shown.ts';
import type { Store } from '../../store/store.ts';
import { serviceInfo, towerMessage } from '../runtime/service-info.ts';
import { invalidArgument } from '../runtime/errors.ts';
import type { Call, Implementation } from '../runtime/handler.ts';
import { service, type Service } from '../runtime/server.ts';
import type { Telemetry } from '../runtime/telemetry/telemetry.ts';
import { countRequest, perTenant } from '../runtime/tenants/per-tenant.ts';
import { Quotas } from '../runtime/tenants/quotas.ts';
import { flowOf, onlyTenant, tenantFlow } from '../runtime/tenants/whose.ts';
import {
  checkCollection,
  checkTenant,
  MAX_ENCODE_TEXTS,
  MAX_QUERY_BYTES,
  requireText,
} from '../runtime/validate.ts';
import { addBesides } from './besides.ts';
import { Collections } from './collections.ts';
import { queryDefinition } from './encode-response.ts';
import {
  type CutText,
  type EncodeCall,
  type EncodedQuery,
  QueryEncoder,
  type QueryTower,
} from './encoder.ts';
import { FamiliarityMeter } from './familiarity.ts';
import { FreshnessWait } from './freshness.ts';
import { fusionMessage, legsMessage } from './fusion.ts';
import { Gate } from './gate.ts';
import type { LiveQuality } from './live-quality.ts';
import type { Scale } from './percentile.ts';
import { bytesOf, parseSearch, parseTextless, type SearchPlan } from './search-plan.ts';
import { type Found, type Kept, Searcher, type QueryStore } from './searcher.ts';
import { HitMessage } from './search-response.ts';
import { searchStream } from './search-stream.ts';
import { checkVector } from './vector.ts';

/**
 * Largest message that the service takes: more than the longest text that anybody sends by mistake, so that it is
 * told which field is too long, which the transport can't tell.
 */
export const MAX_RECEIVE_BYTES = 16 * 1024 * 1024;

/** The queue of the service, among those that are measured. */
const SEARCH_QUEUE = { 'scalingnote.queue': 'search' };

/** How many texts of one Encode call are with the tower at a time, so that searches come in between. */
const ENCODE_CHUNK = 32;

/** What a query service is made of. */
export interface QueryParts {
  tower: QueryTower;
  store: QueryStore & Pick<Store, 'scroll'>;
  /** Whose collections and tenants are looked up to read their words before anybody asks. @default nothing is read before */
  warmFrom?: Pick<Store, 'listCollections' | 'tenantCounts'> | undefined;
  /** Calls that are worked on at the same time. */
  slots: number;
  /** Calls that may wait for that. */
  queue: number;
  /** Query vectors that are kept. */
  cache: number;
  /** Collection that a request means which names none. @default the only one that the store has */
  defaultCollection?: string | undefined;
  /** Reads the best documents of a search again, where the search asks for that. @default none */
  reranker?: Reranker | undefined;
  /** How hybrid searches of a collection fuse where they do not say, by logical name. @default `DEFAULT_FUSION` */
  fusion?: Readonly<Record<string, Fusion>> | undefined;
  log: Logger;
  telemetry?: Telemetry | undefined;
  /** What the service is at this moment. @default without its health */
  describe?: () => ServiceInfo;
  /** How much each tenant may do. @default as much as it likes */
  quotas?: Quotas | undefined;
  /** Looks at searches that were answered. */
  live?: LiveQuality | undefined;
}

/** What a search within the slots of the service answers. */
type Attempt = Omit<SearchResponse, 'timings'> & Pick<Found, 'timings'>;

/** `scalingnote.v1.QueryService` over a query tower and a store. */
export function queryService(parts: QueryParts): Service {
  const { tower, store, slots, queue, cache, log, telemetry, live, quotas = new Quotas() } = parts;
  const { describe = () => serviceInfo(tower, store) } = parts;
  const familiarity = new FamiliarityMeter(tower, telemetry?.metrics);
  const onTokens = (tokens: readonly number[]): void => familiarity.record(tokens);
  const encoder = new QueryEncoder(tower, { cache, telemetry, onTokens });
  const { dimensions, space } = tower.manifest;
  const key = { fingerprint: space.fingerprint, dimensions };
  const collections = new Collections(store, key, parts.defaultCollection);
  const searcher = new Searcher(tower, store, encoder, collections, {
    quotas,
    fusion: parts.fusion,
    reranker: parts.reranker,
  });
  const gate = new Gate({ slots, queue });
  const freshness = new FreshnessWait(telemetry);
  const metrics = telemetry?.metrics;
  const waits = metrics?.queueWait(SEARCH_QUEUE);
  const depth = (): number => gate.waiting;
  metrics?.observe('scalingnote.queue.depth', '{request}', 'Requests that wait', depth, SEARCH_QUEUE);
  const queryTower = towerMessage(tower);

  /** A search within the slots of the service. */
  const attempt = async (plan: SearchPlan, call: Call, kept: Kept): Promise<Attempt> => {
    const { span } = call;
    const asked = performance.now();
    const { tenant } = plan.query;
    const wait = gate.enter(call, tenantFlow(tenant), quotas.weight(tenant));
    if (wait) await wait;
    const entered = performance.now();
    span?.record('queue', asked, entered);
    waits?.record((entered - asked) / 1000, span);
    let workedMs: number | undefined;
    try {
      const found = await searcher.search(plan, call, kept);
      const { hits, timings, collection, query, scale } = found;
      const done = performance.now();
      workedMs = done - entered;
      timings.queueMs += entered - asked;
      if (plan.text !== '') live?.offer({ text: plan.text, collection, query });
      const parts = partsOf(hits);
      const messages = hits.map((hit, at) => hitMessage(hit, plan, found, parts?.[at]));
      span?.record('group', done, performance.now(), { 'scalingnote.hits': hits.length });
      const explainedDocument = await addBesides({ plan, found, store, tower, live, call }, messages);
      const queryTruncation = found.cut ? truncationMessage(found.cut, tower.manifest.maxTokens) : null;
      const { didYouMean = '', completions = [] } = found.reading ?? {};
      const fusion = query.fusion ? fusionMessage(query.fusion) : null;
      return {
        hits: messages,
        timings,
        explainedDocument,
        queryTruncation,
        fusion,
        noGoodAnswer: found.below ? noGoodAnswer(found.below, plan, scale) : null,
        percentileQueries: scale?.queries ?? 0,
        resultSet: plan.set?.isShown === true ? found.set! : null,
        reranking: found.reranking ?? null,
        didYouMean,
        completions,
        denseLegAbsence: found.absence ?? 'DENSE_LEG_ABSENCE_UNSPECIFIED',
      };
    } finally {
      gate.leave(workedMs);
    }
  };

  const search = async (request: SearchRequest__Output, call: Call): Promise<SearchResponse> => {
    const arrived = performance.now();
    return run(parseSearch(request), call, arrived);
  };

  /** A search while its words are typed. */
  const searchTyped = async (request: SearchRequest__Output, call: Call): Promise<SearchResponse> => {
    const arrived = performance.now();
    return run({ prefix: true, ...parseSearch(request) }, call, arrived);
  };

  const searchByVector = async (
    request: SearchByVectorRequest__Output,
    call: Call,
  ): Promise<SearchResponse> => {
    const arrived = performance.now();
    const plan = parseTextless(request.search);
    return run(plan, call, arrived, searcher.given(checkVector(request, tower.manifest)));
  };

  const run = async (
    asked: SearchPlan,
    call: Call,
    arrived: number,
    kept: Kept = {},
  ): Promise<SearchResponse> => {
    const { span } = call;
    const collection = await collections.named(asked.collection, call);
    const plan = { ...asked, collection };
    span?.setAttributes({
      'scalingnote.collection': collection,
      'scalingnote.search.mode': plan.mode,
      'scalingnote.search.limit': plan.query.limit,
    });
    const { query } = plan;
    const { timings, ...answer } = query.atLeast
      ? await freshness.search(call, bytesOf(plan), () => attempt(plan, call, kept))
      : await attempt(plan, call, kept);
    return {
      ...answer,
      timings: { ...timings, totalMs: performance.now() - arrived },
      queryTower,
      collection,
    };
  };

  const encode = async ({ texts }: EncodeRequest__Output, call: Call): Promise<EncodeResponse> => {
    if (texts.length === 0 || texts.length > MAX_ENCODE_TEXTS) {
      throw invalidArgument('texts', `has ${texts.length} texts; send 1 to ${MAX_ENCODE_TEXTS}`);
    }
    texts.forEach((text, index) => requireText(`texts[${index}]`, text, MAX_QUERY_BYTES));
    const embeddings: Embedding[] = [];
    const { caller } = call;
    const owner = caller ? flowOf(caller, '') : 'anybody';
    const tenant = caller && onlyTenant(caller);
    const wait = gate.enter(call, owner, tenant === undefined ? 1 : quotas.weight(tenant));
    if (wait) await wait;
    const { span } = call;
    const asked: Omit<EncodeCall, 'signal'> = {
      ...(span && { span }),
      owner,
      ...(tenant !== undefined && { onTokens: (tokens: number) => quotas.tokens(tenant, tokens) }),
    };
    try {
      for (let start = 0; start < texts.length; start += ENCODE_CHUNK) {
        if (start > 0) await nextTurn();
        const chunk = texts.slice(start, start + ENCODE_CHUNK);
        const encoded: EncodedQuery[] = [];
        for (const text of chunk) {
          const now = encoder.encodeNow(text, asked);
          if (!now) break;
          encoded.push(now);
        }
        const others = chunk.slice(encoded.length);
        if (others.length > 0) {
          // A signal is made for who asks for it, and takes longer than a lookup.
          const { signal } = call;
          encoded.push(
            ...(await Promise.all(others.map((text) => encoder.encode(text, { signal, ...asked })))),
          );
        }
        for (const each of encoded) embeddings.push(messageOf(each));
      }
    } finally {
      gate.leave();
    }
    return { embeddings, queryTower };
  };

  /** A query of a stream counts as a request. */
  const searchCounted = async (request: SearchRequest__Output, call: Call): Promise<SearchResponse> => {
    countRequest(quotas, call, request.tenant);
    return searchTyped(request, call);
  };

  const handlers: Implementation<QueryServiceHandlers> = {
    Search: search,
    SearchByVector: searchByVector,
    SearchStream: searchStream(searchCounted, { log, slowMs: telemetry?.slowMs ?? Infinity, metrics }),
    Encode: encode,
    MeasureFamiliarity: async (request, call) => {
      if (request.collection !== '') checkCollection(request.collection);
      checkTenant(request.tenant);
      const collection = await collections.named(request.collection, call);
      return familiarity.measure(store, { ...request, collection }, call);
    },
    Describe: async () => ({ service: describe() }),
  };
  const { warmFrom } = parts;
  return {
    ...service<QueryServiceHandlers>(queryDefinition, perTenant(queryDefinition, handlers, quotas)),
    ...(warmFrom && { warm: (signal) => searcher.warm(warmFrom, space.fingerprint, signal) }),
  };
}

/** As it is: see `encodeResponseBytes`. */
function messageOf({ vector }: EncodedQuery): Embedding {
  return { values: vector as unknown as number[] };
}

function hitMessage(
  found: SearchHit,
  { mode, besides }: SearchPlan,
  { scale, rerankScores }: Pick<Found, 'scale' | 'rerankScores'>,
  parts: HitParts | undefined,
): HitMessage {
  const message = new HitMessage(found, besides.omitText, parts);
  const rerankScore = rerankScores?.get(found);
  if (found.legs) message.legs = legsMessage(found.legs);
  if (scale?.isKnown === true) message.percentile = scale.of(found, mode);
  if (rerankScore !== undefined) message.rerankScore = rerankScore;
  return message;
}

function noGoodAnswer(below: SearchHit, { mode }: SearchPlan, scale: Scale | undefined): NoGoodAnswer {
  return {
    bestScore: below.score,
    ...(scale?.isKnown === true && { bestPercentile: scale.of(below, mode) }),
  };
}

function truncationMessage({ read, whole }: CutText, maxTokens: number): QueryTruncation {
  return {
    tokensRead: read,
    maxTokens,
    queryTokens: whole.tokens,
    queryTokensAtLeast: whole.atLeast,
  };
}
