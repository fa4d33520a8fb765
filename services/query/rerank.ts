import type { Reranking } from '../../proto/generated/scalingnote/v1/Reranking.ts';
import { status } from '@grpc/grpc-js';
import type { SearchHit, SearchQuery } from '../../store/queries.ts';
import { TowerError, type TowerErrorReason } from '../../towers/errors.ts';
import { rerankedText, type Reranker } from '../../towers/reranker/reranker.ts';
import { invalidArgument, ServiceError } from '../runtime/errors.ts';
import type { Call } from '../runtime/handler.ts';
import { MAX_RERANKED } from '../runtime/validate.ts';
import { isAway } from './ladder.ts';
import type { Besides } from './search-plan.ts';

/** The best documents of a search, read again by a model that sees query and text together. */

/** What is kept of the caller's time for the answer, in milliseconds, and at most this share of it. */
const ANSWER_MS = 100;
const ANSWER_SHARE = 0.25;

/** How much the newest time per text counts in the mean. */
const NEWEST = 0.3;

/** @returns how many documents are read again; 0 for none */
export function parseRerank(rerank: number, besides: Besides, others: { sort: boolean }): number {
  if (rerank > MAX_RERANKED)
    throw invalidArgument('rerank', `is ${rerank}; send 1 to ${MAX_RERANKED}, or 0 for none`);
  if (rerank === 0) return 0;
  if (others.sort)
    throw invalidArgument('rerank', 'is for an order by score; leave it out, or leave out sort');
  const { explain, explainDocumentId } = besides;
  if (explain || explainDocumentId !== undefined) {
    const field = explain ? 'explain' : 'explain_document_id';
    throw invalidArgument(field, 'explains the order before the reranker; leave it out, or leave out rerank');
  }
  return rerank;
}

/** A search asks for a reranker where there is none. */
function missing(): ServiceError {
  return new ServiceError(
    status.FAILED_PRECONDITION,
    'RERANKER_MISSING',
    'rerank: this query service has no reranker; start it with --reranker, or leave rerank out',
  );
}

/** The hits of a page, and what a reranker did with them. */
export interface Page {
  hits: SearchHit[];
  reranking?: Reranking;
  /** What it says of each hit that it has read. */
  rerankScores?: Map<SearchHit, number>;
}

/** Reads the best documents of searches again, as far as their callers wait. */
export class Reranks {
  readonly #reranker: Reranker | undefined;
  /** Milliseconds that a text took of late. */
  #perText = 0;

  constructor(reranker: Reranker | undefined) {
    this.#reranker = reranker;
  }

  /**
   * A page of a search whose best documents are in the reranker's order; the others follow as they were.
   *
   * @throws {ServiceError} `RERANKER_MISSING`
   */
  async search(
    { most, text, call }: { most: number; text: string; call: Call },
    query: SearchQuery,
    ask: (query: SearchQuery) => Promise<SearchHit[]>,
  ): Promise<Page> {
    const reranker = this.#reranker;
    if (!reranker) throw missing();
    const { offset = 0, limit } = query;
    const found = await ask({ ...query, offset: 0, limit: Math.max(most, offset + limit), withText: true });
    const best = found.slice(0, most);
    const texts = best.map(({ title, text: passage }) => rerankedText(title, passage));
    const said = { reranker: reranker.name, documents: 0 };
    const scores = best.length === 0 ? [] : await this.#score(reranker, text, texts, call);
    if (typeof scores === 'string') {
      return {
        hits: found.slice(offset, offset + limit),
        reranking: { ...said, skipped: scores },
      };
    }
    const rerankScores = new Map(best.map((hit, index) => [hit, scores[index]!]));
    const ordered = best.toSorted((a, b) => rerankScores.get(b)! - rerankScores.get(a)!);
    const hits = [...ordered, ...found.slice(most)].slice(offset, offset + limit);
    return { hits, reranking: { ...said, documents: best.length }, rerankScores };
  }

  async #score(
    reranker: Reranker,
    query: string,
    texts: readonly string[],
    call: Call,
  ): Promise<number[] | Skipped> {
    const left = call.deadline === undefined ? Infinity : call.deadline - Date.now();
    const own = left - Math.min(ANSWER_MS, ANSWER_SHARE * left);
    if (this.#perText * texts.length > own) {
      // The time of a text is forgotten a little each time, or one slow answer would end reranking for good.
      this.#perText *= 1 - NEWEST / 10;
      return 'RERANK_SKIPPED_DEADLINE';
    }
    const over = new AbortController();
    const timer = own === Infinity ? undefined : setTimeout(() => over.abort(), Math.max(0, own));
    const started = performance.now();
    try {
      const signal = AbortSignal.any([call.signal, over.signal]);
      const scores = await orAborted(reranker.score(query, texts, signal), signal);
      this.#learn((performance.now() - started) / texts.length);
      return scores;
    } catch (error) {
      if (over.signal.aborted && !call.signal.aborted) {
        this.#learn((performance.now() - started) / texts.length);
        return 'RERANK_SKIPPED_DEADLINE';
      }
      if (error instanceof TowerError && (isAway(error) || FAILED.has(error.reason)))
        return 'RERANK_SKIPPED_AWAY';
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #learn(ms: number): void {
    this.#perText = this.#perText === 0 ? ms : (1 - NEWEST) * this.#perText + NEWEST * ms;
  }
}

/** Why the order is that of before. */
type Skipped = Exclude<Reranking['skipped'], number | undefined>;

const FAILED: ReadonlySet<TowerErrorReason> = new Set(['ENCODER_FAILED', 'ENDPOINT_INPUT_REFUSED']);

/** A run of a model can't be broken off: it goes on, and nobody waits for it. */
function orAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
