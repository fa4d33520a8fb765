import type { StoredDocument } from '../../../store/document.ts';
import type { Patching, Received } from './operation.ts';
import type { PatientStore } from './patient-store.ts';

/** Most documents in one question to the store. */
export const LOOKUP_DOCUMENTS = 256;

/** Listens to a {@link LookupQueue}. */
export interface LookupListener {
  /** The store has said what it has of each operation's document; `undefined` for one that is not there. */
  onAnswers(
    operations: readonly (Received | Patching)[],
    stored: readonly (StoredDocument | undefined)[],
  ): void;
  /** The store can't be asked any more. */
  onFailure(error: unknown): void;
}

/** Asks the store, for one stream, what it has of documents: many in a question, one question at a time. */
export class LookupQueue {
  readonly #store: PatientStore;
  readonly #target: { collection: string; tenant: string };
  readonly #signal: AbortSignal;
  readonly #listener: LookupListener;
  #waiting: (Received | Patching)[] = [];
  #isAsking = false;

  constructor(
    store: PatientStore,
    target: { collection: string; tenant: string },
    signal: AbortSignal,
    listener: LookupListener,
  ) {
    this.#store = store;
    this.#target = target;
    this.#signal = signal;
    this.#listener = listener;
  }

  /** Takes in an operation on a document that only the store knows. */
  add(operation: Received | Patching): void {
    this.#waiting.push(operation);
    if (this.#isAsking) return;
    this.#isAsking = true;
    setImmediate(() => void this.#askAll());
  }

  async #askAll(): Promise<void> {
    const { collection, tenant } = this.#target;
    try {
      while (this.#waiting.length > 0) {
        const asked = this.#waiting.splice(0, LOOKUP_DOCUMENTS);
        const keys = asked.map(({ documentId }) => ({ tenant, documentId }));
        const stored = await this.#store.lookup(collection, keys, this.#signal);
        this.#signal.throwIfAborted();
        this.#listener.onAnswers(asked, stored);
      }
    } catch (error) {
      this.#listener.onFailure(error);
    } finally {
      this.#isAsking = false;
    }
  }
}
