import type { Logger } from 'pino';
import { StoreError } from '../../../store/errors.ts';
import type { Freshness } from '../../../store/freshness.ts';
import type { CallOptions, Store } from '../../../store/store.ts';
import type { DocumentKey, FullDocument, StoredDocument } from '../../../store/document.ts';
import type { DocumentWrite, DocumentWriteResult } from '../../../store/writes.ts';
import { untilItWorks, type Backoff } from './retry.ts';

type WritableStore = Pick<
  Store,
  'kind' | 'lookupDocuments' | 'readDocuments' | 'writeDocuments' | 'freshness'
>;

/** Most reads of whole documents at once, over all streams: each may hold megabytes. */
export const READS_AT_ONCE = 4;

/** What ends a write early, and the trace it belongs to. */
export type WriteBounds = Pick<CallOptions, 'trace'> & { signal: AbortSignal };

/** The store's answer to a step, or why it will never take the step. */
export type WriteAnswer = DocumentWriteResult | { outcome: 'refused'; cause: unknown };

/**
 * Waits until an outage of the store is over: nothing is lost meanwhile, callers only get slower. Where the store rejects
 * a write because of one document, it finds that document and writes the others.
 */
export class PatientStore {
  readonly #store: WritableStore;
  readonly #backoff: Backoff;
  readonly #log: Logger;
  readonly kind: Store['kind'];
  #awaySince: number | undefined;
  #reads = 0;
  readonly #readers: (() => void)[] = [];

  constructor(store: WritableStore, backoff: Backoff, log: Logger) {
    this.#store = store;
    this.kind = store.kind;
    this.#backoff = backoff;
    this.#log = log;
  }

  /** @throws {StoreError} where waiting does not help */
  lookup(
    collection: string,
    keys: readonly DocumentKey[],
    signal: AbortSignal,
  ): Promise<(StoredDocument | undefined)[]> {
    return this.#patiently(() => this.#store.lookupDocuments(collection, keys, { signal }), signal);
  }

  /** Documents with all that is stored of them. @throws {StoreError} where waiting does not help */
  async read(
    collection: string,
    keys: readonly DocumentKey[],
    what: { withVectors: boolean },
    signal: AbortSignal,
  ): Promise<(FullDocument | undefined)[]> {
    while (this.#reads >= READS_AT_ONCE) await new Promise<void>((resolve) => this.#readers.push(resolve));
    this.#reads++;
    try {
      return await this.#patiently(
        () => this.#store.readDocuments(collection, keys, what, { signal }),
        signal,
      );
    } finally {
      this.#reads--;
      this.#readers.shift()?.();
    }
  }

  /** What is durable now. @throws {StoreError} where waiting does not help */
  freshness(collection: string, signal: AbortSignal, tenant = ''): Promise<Freshness> {
    return this.#patiently(() => this.#store.freshness(collection, { signal, tenant }), signal);
  }

  /**
   * Applies steps in order, and answers each of them when all are durable.
   *
   * @throws {StoreError} where waiting does not help and no single document is to blame
   */
  async write(
    collection: string,
    writes: readonly DocumentWrite[],
    bounds: WriteBounds,
  ): Promise<WriteAnswer[]> {
    const { signal } = bounds;
    try {
      return await this.#patiently(() => this.#store.writeDocuments(collection, writes, bounds), signal);
    } catch (error) {
      if (signal.aborted || concernsAll(error)) throw error;
      if (writes.length === 1) return [{ outcome: 'refused', cause: error }];
      // Repeating steps that were applied changes nothing, so halving finds the culprit in a few calls and keeps the order.
      const middle = writes.length >> 1;
      const first = await this.write(collection, writes.slice(0, middle), bounds);
      return [...first, ...(await this.write(collection, writes.slice(middle), bounds))];
    }
  }

  /** Repeats a call of the store while that helps. */
  readonly patiently = <T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> =>
    this.#patiently(call, signal);

  async #patiently<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const answer = await untilItWorks(call, {
      backoff: this.#backoff,
      signal,
      waitFor: (error) =>
        error instanceof StoreError && error.retryable ? (error.retryDelayMs ?? 0) : undefined,
      onWait: (error, waitMs) => {
        if (this.#awaySince !== undefined) return;
        this.#awaySince = performance.now();
        this.#log.warn({ err: error, waitMs }, 'the store does not answer; ingest waits for it');
      },
    });
    if (this.#awaySince !== undefined) {
      const outageMs = Math.round(performance.now() - this.#awaySince);
      this.#log.info({ outageMs }, 'the store answers again');
      this.#awaySince = undefined;
    }
    return answer;
  }
}

/** Whether an error of the store concerns the collection or the store as a whole, and not a document. */
export function concernsAll(error: unknown): boolean {
  return (
    error instanceof StoreError &&
    error.reason !== 'STORE_INVALID_ARGUMENT' &&
    error.reason !== 'STORE_INTERNAL'
  );
}
