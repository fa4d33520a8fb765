import { LRUCache } from 'lru-cache';
import type { Tower } from '../../towers/tower.ts';
import { Flights } from './flights.ts';

/** What encoding a query needs of a tower. */
export type QueryTower = Pick<Tower, 'manifest' | 'device' | 'tokenize' | 'encode'>;

/**
 * Longest query whose vector is kept, in UTF-16 units. What is longer was pasted, not typed, and hardly comes twice;
 * with this bound an entry takes 2 KB beside its vector, and the cache a known amount.
 */
export const MAX_CACHED_CHARS = 1024;

/** A query's vector and what it took. */
export interface EncodedQuery {
  /** Shared by all who ask for the same text: read only. */
  vector: Float32Array;
  tokenizeMs: number;
  queueMs: number;
  encodeMs: number;
  /** Whether it came from the cache. */
  cached: boolean;
}

/**
 * Encodes queries with one tower. Recent vectors come from a cache, equal texts that are asked for at the same time
 * are encoded once.
 *
 * The document tower of a symmetric model can stand in for a query tower: it then reads queries as the teacher does.
 * Texts are equal after {@link normalizeQuery}. The cache belongs to the tower: another tower has another encoder.
 */
export class QueryEncoder {
  readonly #tower: QueryTower;
  readonly #prompt: { prompt?: string };
  readonly #cache: LRUCache<string, Float32Array> | undefined;
  readonly #flights = new Flights<EncodedQuery>();

  /** @param options.cache how many vectors to keep; 0 for none */
  constructor(tower: QueryTower, options: { cache: number }) {
    const { role, queryPrompt } = tower.manifest;
    this.#tower = tower;
    this.#prompt = role === 'document' && queryPrompt !== undefined ? { prompt: queryPrompt } : {};
    this.#cache = options.cache > 0 ? new LRUCache({ max: options.cache }) : undefined;
  }

  /** @throws {TowerError} as the tower does; the signal's reason where the caller gives up */
  async encode(text: string, signal: AbortSignal): Promise<EncodedQuery> {
    const normalized = normalizeQuery(text);
    const vector = this.#cache?.get(normalized);
    if (vector) return { vector, tokenizeMs: 0, queueMs: 0, encodeMs: 0, cached: true };
    return this.#flights.join(normalized, signal, (shared) => this.#encode(normalized, shared));
  }

  async #encode(text: string, signal: AbortSignal): Promise<EncodedQuery> {
    const started = performance.now();
    const tokens = this.#tower.tokenize(text, this.#prompt);
    const tokenizeMs = performance.now() - started;
    const { vector, queueMs, encodeMs } = await this.#tower.encode(tokens, { signal });
    if (text.length <= MAX_CACHED_CHARS) this.#cache?.set(text, vector);
    return { vector, tokenizeMs, queueMs, encodeMs, cached: false };
  }
}

/**
 * Texts that mean the same to everybody become one: canonically equivalent characters are composed (NFC), and white
 * space around is cut. Nothing else is safe for every tower: case and compatibility forms mean something to some
 * tokenizers, and white space between words does. What is keyed is also what is encoded, so that the answer does not
 * depend on who asked first.
 */
export function normalizeQuery(text: string): string {
  return text.normalize('NFC').trim();
}
