import type { FullDocument } from '../../../store/document.ts';
import type { PatientStore } from './patient-store.ts';

/**
 * Most passages of the documents in one call, unless one document has more: about two megabytes with texts and vectors, so
 * that a call of many documents takes no more memory than one batch of writes.
 */
export const READ_PASSAGES = 512;

/** Most documents in one call. */
export const READ_DOCUMENTS = 64;

/**
 * A stored document is read before it is encoded anew if it has at most so many passages, and one more for so many
 * characters of its new text. What is read then takes about as much memory as the new document; of a longer one only a
 * small part could still be in the new text.
 */
const READABLE_PASSAGES = 64;
const READABLE_CHARACTERS = 64;

interface Wanted {
  documentId: string;
  passages: number;
  withVectors: boolean;
  resolve: (document: FullDocument | undefined) => void;
  reject: (error: unknown) => void;
}

/** Reads stored documents for one stream: many in a call, one call at a time. */
export class DocumentReader {
  readonly #store: PatientStore;
  readonly #target: { collection: string; tenant: string };
  readonly #signal: AbortSignal;
  #wanted: Wanted[] = [];
  #reading = false;

  constructor(store: PatientStore, target: { collection: string; tenant: string }, signal: AbortSignal) {
    this.#store = store;
    this.#target = target;
    this.#signal = signal;
  }

  /**
   * A document as it is stored now; `undefined` where it is not there.
   *
   * @param passages about how many it has
   * @throws what the store throws, where waiting does not help
   */
  read(
    documentId: string,
    { passages, withVectors }: { passages: number; withVectors: boolean },
  ): Promise<FullDocument | undefined> {
    return new Promise((resolve, reject) => {
      this.#wanted.push({ documentId, passages, withVectors, resolve, reject });
      if (this.#reading) return;
      this.#reading = true;
      setImmediate(() => void this.#readAll());
    });
  }

  async #readAll(): Promise<void> {
    const { collection, tenant } = this.#target;
    while (this.#wanted.length > 0) {
      const asked = this.#next();
      const keys = asked.map(({ documentId }) => ({ tenant, documentId }));
      const { withVectors } = asked[0]!;
      try {
        const documents = await this.#store.read(collection, keys, { withVectors }, this.#signal);
        asked.forEach(({ resolve }, index) => resolve(documents[index]));
      } catch (error) {
        for (const { reject } of asked) reject(error);
      }
    }
    this.#reading = false;
  }

  /** The oldest, and more of its kind as far as they fit. */
  #next(): Wanted[] {
    const { withVectors } = this.#wanted[0]!;
    const taken: Wanted[] = [];
    const left: Wanted[] = [];
    let passages = 0;
    for (const each of this.#wanted) {
      const fits = passages + each.passages <= READ_PASSAGES && taken.length < READ_DOCUMENTS;
      if (taken.length > 0 && (!fits || each.withVectors !== withVectors)) {
        left.push(each);
        continue;
      }
      passages += each.passages;
      taken.push(each);
    }
    this.#wanted = left;
    return taken;
  }
}

/** Whether passages of a stored document may still stand in its new text, so that it is worth reading. */
export function isWorthReading(
  { passages, textOmitted }: { passages: number; textOmitted: boolean },
  newText: string,
): boolean {
  return !textOmitted && passages <= READABLE_PASSAGES + newText.length / READABLE_CHARACTERS;
}
