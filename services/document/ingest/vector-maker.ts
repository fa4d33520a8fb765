import type { FullDocument } from '../../../store/document.ts';
import type { BatchSpan } from '../../runtime/telemetry/batch-span.ts';
import type { DocumentInFlight } from './in-flight.ts';
import { putLater, type Encoding, type Ready } from './operation.ts';
import { concernsAll } from './patient-store.ts';
import { type DocumentReader, isWorthReading } from './reader.ts';
import type { Shared, Target } from './stream-context.ts';
import type { StreamTrace } from './stream-trace.ts';

/** Makes the vectors of the documents of one stream, or takes those that are stored of passages that stay. */
export class VectorMaker {
  readonly #shared: Shared;
  readonly #target: Target;
  readonly #reader: DocumentReader;
  readonly #trace: StreamTrace | undefined;
  readonly #signal: AbortSignal;

  constructor(
    shared: Shared,
    target: Target,
    reader: DocumentReader,
    trace: StreamTrace | undefined,
    signal: AbortSignal,
  ) {
    this.#shared = shared;
    this.#target = target;
    this.#reader = reader;
    this.#trace = trace;
    this.#signal = signal;
  }

  /**
   * The operation with its vectors, ready to be written.
   *
   * @param options.stored what the store said of the document
   * @param options.mustFit the work is not begun where the tenant has no room for a new document
   * @throws {ServiceError} where there is none
   * @throws {TowerError}
   * @throws {StoreError} where waiting does not help
   */
  async make(
    operation: Encoding,
    { stored, mustFit }: { stored: DocumentInFlight['stored']; mustFit: boolean },
  ): Promise<Ready> {
    const { analyses, encoder, quotas, store } = this.#shared;
    const { collection, omitText, tenant, lane } = this.#target;
    if (mustFit) await this.#checkRoom(operation);
    const batches = new Set<BatchSpan>();
    const watch = this.#trace?.encoding(operation, batches);
    const before = await this.#read(operation, stored);
    const spend = quotas && ((tokens: number): void => quotas.spendTokens(tenant, tokens));
    const analyser = await store.patiently(() => analyses.of(collection), this.#signal);
    const options = { omitText, analyser, lane, before, signal: this.#signal, spend, watch };
    const encoded = await encoder.encode(operation.document, options);
    return putLater(operation, this.#target, encoded, batches);
  }

  /** Throws where the tenant has no room for a new document, however its vectors will be. */
  async #checkRoom({ document }: Encoding): Promise<void> {
    const { store, storage } = this.#shared;
    const { omitText, tenant } = this.#target;
    if (!storage?.concerns(tenant)) return;
    const bytes = document.bytes - (omitText ? Buffer.byteLength(document.text) : 0);
    const refusal = await store.patiently(() => storage.refusal(tenant, bytes), this.#signal);
    this.#signal.throwIfAborted();
    if (refusal) throw refusal;
  }

  /** What is stored of the document, where passages of it may still stand in the new text. */
  async #read(
    { documentId, document }: Encoding,
    stored: DocumentInFlight['stored'],
  ): Promise<FullDocument | undefined> {
    if (!stored || !isWorthReading(stored, document.text)) return undefined;
    try {
      const before = await this.#reader.read(documentId, { passages: stored.passages, withVectors: true });
      // Of a copy of what others encoded nobody knows from which texts its vectors are.
      return before?.encodingHash === '' ? undefined : before;
    } catch (error) {
      if (this.#signal.aborted || concernsAll(error)) throw error;
      const { collection, tenant } = this.#target;
      this.#shared.log.warn(
        { err: error, collection, tenant, documentId },
        'a stored document can not be read; all of its new text is encoded',
      );
      return undefined;
    }
  }
}
