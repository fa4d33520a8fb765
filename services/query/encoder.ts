import type { TokenCount } from '../../towers/lookup/counted.ts';
import { normalizeQuery } from '../../towers/lookup/query-text.ts';
import type { Encoding, Tower } from '../../towers/tower.ts';
import type { Call } from '../runtime/handler.ts';
import type { Metrics } from '../runtime/telemetry/metrics.ts';
import type { Span } from '../runtime/telemetry/span.ts';
import type { Telemetry } from '../runtime/telemetry/telemetry.ts';
import { FairCache } from '../runtime/tenants/fair-cache.ts';
import { SingleFlight } from './single-flight.ts';

/** What encoding a query needs of a tower. */
export type QueryTower = Pick<
  Tower,
  'manifest' | 'device' | 'tokenize' | 'countTokens' | 'encode' | 'encodeNow'
>;

/**
 * Longest query whose vector is kept, in UTF-16 units. What is longer was pasted, not typed, and hardly comes twice;
 * with this bound an entry takes 2 KB beside its vector, and the cache a known amount.
 */
export const MAX_CACHED_CHARS = 1024;

/** The queue before the tower, among those that are measured. */
const ENCODE_QUEUE = { 'scalingnote.queue': 'encode' };

/** A query's vector and what it took. */
export interface EncodedQuery {
  /** Shared by all who ask for the same text: read only. */
  vector: Float32Array;
  tokenizeMs: number;
  queueMs: number;
  encodeMs: number;
  /** Whether it came from the cache. */
  cached: boolean;
  /** How much was read of a text that is too long; absent where all was. */
  cut?: CutText;
}

/** What was read of a text that was cut, in tokens. */
export interface CutText {
  read: number;
  /** Of the whole text. */
  whole: TokenCount;
}

/** A vector that is kept. */
interface KeptVector {
  vector: Float32Array;
  cut: CutText | undefined;
}

/** A vector that was made, and how. Times as of `performance.now()`. */
interface Work {
  encoding: Encoding;
  tokens: number;
  cut: CutText | undefined;
  startedAt: number;
  tokenizedAt: number;
}

/** Who wants a query encoded. */
export interface EncodeCall extends Pick<Call, 'signal' | 'span'> {
  /** Whose text it is: nobody sees from the cache what others asked. @default one owner for all */
  owner?: string;
  /** Told of the tokens of a text that is not in the cache. @throws what refuses them */
  onTokens?: (tokens: number) => void;
}

/**
 * Encodes queries with one tower. Recent vectors come from a cache, equal texts that one owner asks for at the same time
 * are encoded once. Owners have nothing in common: an answer says whether it came from the cache.
 *
 * The document tower of a symmetric model can stand in for a query tower: it then reads queries as the teacher does.
 * Texts are equal after {@link normalizeQuery}. The cache belongs to the tower: another tower has another encoder.
 */
export class QueryEncoder {
  readonly #tower: QueryTower;
  readonly #prompt: { prompt?: string };
  readonly #cache: FairCache<KeptVector> | undefined;
  readonly #flights = new SingleFlight<Work>();
  readonly #telemetry: Telemetry | undefined;
  readonly #measures: ReturnType<typeof measuresOf> | undefined;
  readonly #onTokens: ((tokens: readonly number[]) => void) | undefined;

  /**
   * @param options.cache how many vectors to keep; 0 for none
   * @param options.onTokens called with the tokens of each text that is encoded
   */
  constructor(
    tower: QueryTower,
    options: {
      cache: number;
      telemetry?: Telemetry | undefined;
      onTokens?: (tokens: readonly number[]) => void;
    },
  ) {
    const { role, queryPrompt } = tower.manifest;
    this.#tower = tower;
    this.#telemetry = options.telemetry;
    this.#measures = options.telemetry?.metrics && measuresOf(options.telemetry.metrics);
    this.#onTokens = options.onTokens;
    this.#prompt = role === 'document' && queryPrompt !== undefined ? { prompt: queryPrompt } : {};
    this.#cache = options.cache > 0 ? new FairCache(options.cache) : undefined;
  }

  /** @throws {TowerError} as the tower does; the signal's reason where the caller gives up */
  async encode(text: string, call: EncodeCall): Promise<EncodedQuery> {
    const { span, owner = '', onTokens } = call;
    const normalized = normalizeQuery(text);
    const asked = performance.now();
    const now = this.#now(normalized, call, asked);
    if (now) return now;
    let joined = true;
    const work = await this.#flights.join(`${owner.length} ${owner}${normalized}`, call.signal, (shared) => {
      joined = false;
      return this.#encode(owner, normalized, shared, onTokens);
    });
    return this.#encoded(work, span, asked, joined);
  }

  /** The same in this turn of the event loop, where that can be: from the cache, or by a tower that needs no other. */
  encodeNow(text: string, call: Omit<EncodeCall, 'signal'>): EncodedQuery | undefined {
    return this.#now(normalizeQuery(text), call, performance.now());
  }

  #now(
    normalized: string,
    { span, owner = '', onTokens }: Omit<EncodeCall, 'signal'>,
    asked: number,
  ): EncodedQuery | undefined {
    const kept = this.#cache?.get(owner, normalized);
    if (kept) {
      this.#measures?.hits.add(1);
      span?.record('encode', asked, performance.now(), {
        'gen_ai.operation.name': 'embeddings',
        'gen_ai.request.model': this.#tower.manifest.name,
        'scalingnote.encode.cached': true,
      });
      const { vector, cut } = kept;
      return { vector, tokenizeMs: 0, queueMs: 0, encodeMs: 0, cached: true, ...(cut && { cut }) };
    }
    const work = this.#encodeNow(owner, normalized, asked, onTokens);
    return work && this.#encoded(work, span, asked, false);
  }

  #encoded(work: Work, span: Span | undefined, asked: number, joined: boolean): EncodedQuery {
    (joined ? this.#measures?.joins : this.#measures?.misses)?.add(1);
    if (span) this.#recordStages(span, work, asked, joined);
    const { vector: made, queueMs, encodeMs } = work.encoding;
    this.#measures?.waits.record(queueMs / 1000, span);
    const tokenizeMs = work.tokenizedAt - work.startedAt;
    const { cut } = work;
    return { vector: made, tokenizeMs, queueMs, encodeMs, cached: false, ...(cut && { cut }) };
  }

  /** Encodes in this turn, where the tower can: there is nothing to share or to give up. */
  #encodeNow(
    owner: string,
    text: string,
    startedAt: number,
    onTokens: EncodeCall['onTokens'],
  ): Work | undefined {
    const found = this.#tower.encodeNow?.(text, this.#prompt);
    if (!found) return undefined;
    const { tokens, encoding } = found;
    this.#onTokens?.(tokens.ids);
    onTokens?.(tokens.ids.length);
    const tokenizedAt = encoding.batch.startedAt;
    return this.#keep(owner, text, {
      encoding,
      tokens: tokens.ids.length,
      cut: undefined,
      startedAt,
      tokenizedAt,
    });
  }

  async #encode(
    owner: string,
    text: string,
    signal: AbortSignal,
    onTokens: EncodeCall['onTokens'],
  ): Promise<Work> {
    const startedAt = performance.now();
    const tokens = await this.#tower.tokenize(text, this.#prompt);
    const tokenizedAt = performance.now();
    this.#onTokens?.(tokens.ids);
    onTokens?.(tokens.ids.length);
    const [encoding, cut] = await Promise.all([
      this.#tower.encode(tokens, { signal }),
      tokens.truncated ? this.#cutText(text, tokens.ids.length) : undefined,
    ]);
    return this.#keep(owner, text, { encoding, tokens: tokens.ids.length, cut, startedAt, tokenizedAt });
  }

  #keep(owner: string, text: string, work: Work): Work {
    const { encoding, cut } = work;
    if (text.length <= MAX_CACHED_CHARS) this.#cache?.set(owner, text, { vector: encoding.vector, cut });
    return work;
  }

  async #cutText(text: string, read: number): Promise<CutText> {
    const { tokens, atLeast } = await this.#tower.countTokens(text, this.#prompt);
    // What was cut has one more at least, however little of it was counted.
    return { read, whole: { tokens: Math.max(tokens, read + 1), atLeast } };
  }

  /** Records the stages. A caller that joined running work gets only what happened after it asked. */
  #recordStages(
    span: Span,
    { encoding, tokens, startedAt, tokenizedAt }: Work,
    asked: number,
    joined: boolean,
  ): void {
    const { queueMs, batch } = encoding;
    span.record('tokenize', Math.max(asked, startedAt), Math.max(asked, tokenizedAt));
    const model = this.#tower.manifest.name;
    // Written out, because spreading an object takes longer than the rest of the span.
    const part = span.child('encode', {
      startTime: Math.max(asked, tokenizedAt),
      attributes: {
        'gen_ai.operation.name': 'embeddings',
        'gen_ai.request.model': model,
        'gen_ai.usage.input_tokens': tokens,
        'scalingnote.encode.cached': false,
        'scalingnote.encode.queue_ms': queueMs,
      },
    });
    if (joined) part.setAttribute('scalingnote.encode.joined', true);
    const run = this.#telemetry?.tracer?.batch(batch, model);
    if (run) {
      run.join(part, {});
      part.addBatch(run);
    }
    part.end();
  }
}

/** What is measured of encoding queries. */
function measuresOf({ cacheLookups, queueWait }: Metrics) {
  return {
    hits: cacheLookups({ 'scalingnote.result': 'hit' }),
    misses: cacheLookups({ 'scalingnote.result': 'miss' }),
    joins: cacheLookups({ 'scalingnote.result': 'joined' }),
    waits: queueWait(ENCODE_QUEUE),
  };
}
