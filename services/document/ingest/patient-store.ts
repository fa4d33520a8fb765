import type { Logger } from 'pino';
import { StoreError } from '../../../store/errors.ts';
import type {
  CallOptions,
  DocumentKey,
  DocumentWrite,
  DocumentWriteResult,
  Store,
  StoredDocument,
} from '../../../store/store.ts';
import { untilItWorks, type Backoff } from './retry.ts';

type WritableStore = Pick<Store, 'kind' | 'lookupDocuments' | 'writeDocuments'>;

/** What bounds a write, and which trace it belongs to. */
export type WriteBounds = Pick<CallOptions, 'trace'> & { signal: AbortSignal };

/** What a store made of one write: its answer, or why it will never take it. */
export type WriteAnswer = DocumentWriteResult | { outcome: 'refused'; cause: unknown };

/**
 * A store whose outages are waited out: nothing is lost while it is away, callers just get slower. Also finds the one
 * document in a batch that the store will not take, so that it does not take the others down with it.
 */
export class PatientStore {
  readonly #store: WritableStore;
  readonly #backoff: Backoff;
  readonly #log: Logger;
  readonly kind: Store['kind'];
  #awaySince: number | undefined;

  constructor(store: WritableStore, backoff: Backoff, log: Logger) {
    this.#store = store;
    this.kind = store.kind;
    this.#backoff = backoff;
    this.#log = log;
  }

  /** @throws {StoreError} that waiting does not mend */
  lookup(
    collection: string,
    keys: readonly DocumentKey[],
    signal: AbortSignal,
  ): Promise<(StoredDocument | undefined)[]> {
    return this.#patiently(() => this.#store.lookupDocuments(collection, keys, { signal }), signal);
  }

  /**
   * Writes in order and answers each write, when all are durable.
   *
   * @throws {StoreError} that waiting does not mend and no single document is to blame for
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
      // Repeating what did go through changes nothing, so halving finds the culprit in a few calls and keeps the order.
      const middle = writes.length >> 1;
      const first = await this.write(collection, writes.slice(0, middle), bounds);
      return [...first, ...(await this.write(collection, writes.slice(middle), bounds))];
    }
  }

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

/** Whether an error is about the collection or the store, not about a document in the batch. */
function concernsAll(error: unknown): boolean {
  return (
    error instanceof StoreError &&
    error.reason !== 'STORE_INVALID_ARGUMENT' &&
    error.reason !== 'STORE_INTERNAL'
  );
}
