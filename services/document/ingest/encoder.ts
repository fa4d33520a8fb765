import { setImmediate as nextTurn } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import type { FullDocument } from '../../../store/document.ts';
import type { PassageWrite } from '../../../store/writes.ts';
import { TowerError } from '../../../towers/errors.ts';
import type { Lane } from '../../../towers/batching.ts';
import type { Analyser } from '../../../towers/lexical/analyser.ts';
import { passageTerms } from '../../../towers/terms.ts';
import type { Encoding, KeptPassage, Passage, Tokens, Tower } from '../../../towers/tower.ts';
import { ServiceError } from '../../runtime/errors.ts';
import type { EncodedDocument } from './operation.ts';
import { untilItWorks, type Backoff } from './retry.ts';

/**
 * Most passages of one document in the tower at once: several batches of a CPU. A document of thousands of passages thus
 * does not fill the tower's queue. (That other streams need not wait for it is the affair of the queue's lanes.)
 */
export const SLICE_PASSAGES = 32;

/** How long splitting blocks the event loop at the most, in milliseconds. */
const TURN_MS = 5;

/** How to encode a document. */
export interface EncodeOptions {
  omitText: boolean;
  /** Makes the terms; absent for a collection that was made before there was a choice. */
  analyser?: Analyser | undefined;
  /** Whose document it is; see {@link Lane}. */
  lane: Lane;
  /** The document as it is stored, with vectors: what has not changed is not encoded again. */
  before?: FullDocument | undefined;
  signal: AbortSignal;
  /** Told of tokens before they are encoded. */
  spend?: ((tokens: number) => void) | undefined;
  /** Watches the encoding. */
  watch?: EncodeWatch | undefined;
}

/** Watches the steps of an encoding. Times are as of `performance.now()`. */
export interface EncodeWatch {
  /** A slice has been split into passages of tokens. */
  tokenized(startTime: number, endTime: number): void;
  passage(tokens: number, encoding: Encoding): void;
  /** @param encoded how many of the passages; the others were known */
  encoded(passages: number, encoded: number): void;
}

/** Makes the terms of a document's passages. */
function termsIn(
  { title, text }: { title: string; text: string },
  analyser: Analyser | undefined,
): (passage: string) => Pick<PassageWrite, 'sparse' | 'words'> {
  if (!analyser) return (own) => ({ sparse: passageTerms(title === '' ? own : `${title}\n${own}`) });
  const analysed = analyser.document(title, text);
  return (own) => analysed.passage(own);
}

/** What ingest needs of a tower. */
export type IngestTower = Pick<Tower, 'manifest' | 'eachPassage' | 'recut' | 'encode'>;

/**
 * Turns documents into passages with vectors. All streams share it, so that a batch of the tower holds passages of
 * several. It splits texts on the event loop, a slice at a time and with breaks, so that neither a long document nor a
 * flood of short ones blocks everything else.
 */
export class DocumentEncoder {
  readonly #tower: IngestTower;
  readonly #backoff: Backoff;
  readonly #turnMs: number;
  #turnBegan = 0;
  #lastSlice: Promise<unknown> = Promise.resolve();

  /** @param turnMs how long splitting may block the event loop */
  constructor(tower: IngestTower, backoff: Backoff, turnMs = TURN_MS) {
    this.#turnMs = turnMs;
    this.#tower = tower;
    this.#backoff = backoff;
  }

  /**
   * Waits while the tower's queue is full, until the signal is aborted.
   *
   * @throws {TowerError} `ENCODER_CLOSED`
   * @throws {ServiceError} `VECTOR_DEGENERATE` where the model's vector for a passage has no direction
   * @throws the signal's reason
   */
  async encode(document: { title: string; text: string }, options: EncodeOptions): Promise<EncodedDocument> {
    const { omitText, before, signal, watch } = options;
    const termsOf = termsIn(document, options.analyser);
    const passages = this.#passagesOf(document, before);
    let encoded = 0;
    const writes: PassageWrite[] = [];
    let slice = await this.#take(passages, signal, watch);
    while (slice.length > 0) {
      const vectors = await Promise.all(
        slice.map(async (passage) => {
          if ('keeps' in passage) return before!.passages[passage.keeps]!.vector!;
          encoded++;
          return this.#vector(passage.tokens, options);
        }),
      );
      slice.forEach(({ text, span }, index) => {
        const write: PassageWrite = { vector: vectors[index]!, ...termsOf(text), span };
        if (!omitText) write.text = text;
        writes.push(write);
      });
      slice = slice.length < SLICE_PASSAGES ? [] : await this.#take(passages, signal, watch);
    }
    watch?.encoded(writes.length, encoded);
    return { passages: writes, encoded };
  }

  #passagesOf(
    document: { title: string; text: string },
    before: FullDocument | undefined,
  ): AsyncIterator<Passage | KeptPassage | undefined> {
    if (!before) return this.#tower.eachPassage(document);
    const passages = before.passages.map(({ text = '', vector }) => (vector ? text : ''));
    return this.#tower.recut(document, { title: before.title, passages });
  }

  /** The next slice of a document; callers take turns in the order of their calls. */
  async #take(
    passages: AsyncIterator<Passage | KeptPassage | undefined>,
    signal: AbortSignal,
    watch: EncodeWatch | undefined,
  ): Promise<(Passage | KeptPassage)[]> {
    const slice = this.#lastSlice.then(async () => {
      const startTime = performance.now();
      const taken: (Passage | KeptPassage)[] = [];
      while (taken.length < SLICE_PASSAGES) {
        signal.throwIfAborted();
        if (performance.now() - this.#turnBegan > this.#turnMs) {
          await nextTurn();
          this.#turnBegan = performance.now();
        }
        const { done, value } = await passages.next();
        if (done === true) break;
        if (value !== undefined) taken.push(value);
      }
      if (taken.length > 0) watch?.tokenized(startTime, performance.now());
      return taken;
    });
    this.#lastSlice = slice.catch(() => undefined);
    return slice;
  }

  async #vector(tokens: Tokens, { signal, lane, spend, watch }: EncodeOptions): Promise<Float32Array> {
    spend?.(tokens.ids.length);
    const encoding = await untilItWorks(() => this.#tower.encode(tokens, { signal, lane }), {
      backoff: this.#backoff,
      signal,
      waitFor: (error) =>
        error instanceof TowerError && error.reason === 'ENCODER_OVERLOADED'
          ? (error.retryDelayMs ?? 0)
          : undefined,
    });
    watch?.passage(tokens.ids.length, encoding);
    const { vector } = encoding;
    let squares = 0;
    for (let index = 0; index < vector.length; index++) squares += vector[index]! * vector[index]!;
    // The store would reject it too, but its error would blame the client.
    if (!(squares > 0 && squares < Infinity)) {
      throw new ServiceError(
        status.INTERNAL,
        'VECTOR_DEGENERATE',
        `the tower gave a passage a vector of length ${Math.sqrt(squares)}; it can't represent this text`,
      );
    }
    return vector;
  }
}
