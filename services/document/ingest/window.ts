import { setMaxListeners } from 'node:events';
import type { Logger } from 'pino';
import type { IngestOutcome } from '../../../proto/generated/scalingnote/v1/IngestOutcome.ts';
import type { StoredDocument } from '../../../store/store.ts';
import { TowerError } from '../../../towers/errors.ts';
import { reportError, type ServiceError } from '../../runtime/errors.ts';
import type { BatchSpan } from '../../runtime/telemetry/batch-span.ts';
import { traceOf } from '../../runtime/telemetry/span.ts';
import type { Budget, Share } from './budget.ts';
import type { DocumentEncoder } from './encoder.ts';
import {
  isReady,
  isSettled,
  outcomeOf,
  rejected,
  versionStale,
  writeBytes,
  type Operation,
  type ReadyOperation,
} from './operation.ts';
import type { PatientStore, WriteAnswer } from './patient-store.ts';
import type { StreamTrace } from './stream-trace.ts';

/** Most documents in one question to the store. */
export const LOOKUP_DOCUMENTS = 256;

/** Most operations in one write: enough to spread an fsync or a round trip over, few enough to repeat cheaply. */
export const WRITE_OPERATIONS = 256;

/**
 * Most writes of a stream under way at once, so that one is written out while the store makes another durable. Beside
 * another only a full one sets out: what is ready meanwhile goes together.
 */
export const WRITES_IN_FLIGHT = 3;

/** Most bytes of text and vectors in one write, where it has more than one operation: far below what Qdrant takes. */
export const WRITE_BYTES = 4 * 1024 * 1024;

/** What the streams of a process share. */
export interface Shared {
  store: PatientStore;
  encoder: DocumentEncoder;
  budget: Budget;
  log: Logger;
}

/** What a stream was opened with. */
export interface Target {
  /** Physical name, so that a switch of the alias can't lead vectors into another space. */
  collection: string;
  tenant: string;
  omitText: boolean;
}

/** What a {@link Window} tells its stream. */
export interface WindowListener {
  /** Operations were settled. */
  onSettled(): void;
  /** Nothing can go on: the store or the tower is of no use for this stream any more. */
  onFailure(error: unknown): void;
}

/**
 * The operations of one stream that are in flight, by sequence. Each is compared with what is stored, encoded where it
 * has to be, in any order. Writes set out in the order of the stream, and none while another one on the same document
 * is under way, so that of two operations on a document the later one wins.
 *
 * What to do is decided from what the store said a moment ago, or from the operation before on the same document that
 * is still under way. Either may be wrong by the time of the write, so the store checks again: a `confirm` is answered
 * with `changed` where the content is not there after all, and the document is then encoded and put.
 */
export class Window {
  readonly #shared: Shared;
  readonly #share: Share;
  readonly #target: Target;
  readonly #trace: StreamTrace | undefined;
  readonly #listener: WindowListener;
  readonly #abort = new AbortController();
  readonly #operations: Operation[] = [];
  /** Documents with operations that are not settled: how many, and which decides what the document will be. */
  readonly #documents = new Map<string, { unsettled: number; deciding: Operation }>();
  #toLookUp: Operation[] = [];
  #lookingUp = false;
  /** Documents that are in a write under way. */
  readonly #beingWritten = new Set<string>();
  #writes = 0;
  #writeIsDue = false;
  /** What is ready and not being written, whatever may have to wait before it. */
  #ready = { operations: 0, bytes: 0 };

  constructor(
    shared: Shared,
    share: Share,
    target: Target,
    trace: StreamTrace | undefined,
    listener: WindowListener,
  ) {
    this.#shared = shared;
    this.#share = share;
    this.#target = target;
    this.#trace = trace;
    this.#listener = listener;
    // Every encoding that waits listens, and there may be a thousand.
    setMaxListeners(0, this.#abort.signal);
  }

  /** Operations that nobody has taken out yet, settled or not. */
  get size(): number {
    return this.#operations.length;
  }

  /** When the first of them came in, as of `performance.now()`. */
  get oldestArrival(): number | undefined {
    return this.#operations[0]?.arrivedAt;
  }

  /** Brings an operation in, whose tokens are already taken from the budget. */
  add(operation: Operation): void {
    this.#operations.push(operation);
    if (isSettled(operation)) {
      this.#trace?.settled(operation, operation.reason);
      this.#listener.onSettled();
      return;
    }
    const { documentId, version, document } = operation;
    const known = this.#documents.get(documentId);
    const before = known?.deciding;
    if (known) {
      known.unsettled++;
      // One with a lower version will not be stored: what comes next has to do with the one before.
      if (version >= known.deciding.version) known.deciding = operation;
    } else {
      this.#documents.set(documentId, { unsettled: 1, deciding: operation });
    }
    if (!document) {
      this.#isReady(operation as ReadyOperation);
    } else if (!before) {
      this.#toLookUp.push(operation);
      this.#lookUpSoon();
    } else if (before.document?.contentHash === document.contentHash || version < before.version) {
      this.#confirm(operation);
    } else {
      void this.#encode(operation);
    }
  }

  /** Takes out the first operation, if it is settled. */
  takeSettled(): Operation | undefined {
    return this.#operations[0]?.outcome ? this.#operations.shift() : undefined;
  }

  /** Gives up what is not written. */
  abandon(): void {
    this.#abort.abort();
    for (const { trace } of this.#operations) if (trace) this.#trace?.abandoned(trace);
  }

  #lookUpSoon(): void {
    if (this.#lookingUp) return;
    this.#lookingUp = true;
    setImmediate(() => void this.#lookUp());
  }

  async #lookUp(): Promise<void> {
    const { signal } = this.#abort;
    const { collection, tenant } = this.#target;
    try {
      while (this.#toLookUp.length > 0) {
        const asked = this.#toLookUp.splice(0, LOOKUP_DOCUMENTS);
        const keys = asked.map(({ documentId }) => ({ tenant, documentId }));
        const stored = await this.#shared.store.lookup(collection, keys, signal);
        signal.throwIfAborted();
        asked.forEach((operation, index) => this.#decide(operation, stored[index]));
        this.#listener.onSettled();
        this.#writeSoon();
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#lookingUp = false;
    }
  }

  #decide(operation: Operation, stored: StoredDocument | undefined): void {
    const { version, document } = operation;
    if (stored && stored.version > version) {
      this.#reject(operation, versionStale(operation.documentId, version, stored.version));
    } else if (stored && stored.contentHash === document?.contentHash) {
      if (stored.version < version) this.#confirm(operation);
      else this.#settle(operation, outcomeOf(operation, 'OUTCOME_KIND_UNCHANGED'));
    } else {
      void this.#encode(operation);
    }
  }

  #confirm(operation: Operation): void {
    const { documentId, version, document } = operation;
    const { tenant } = this.#target;
    const contentHash = document!.contentHash;
    operation.write = { kind: 'confirm', tenant, documentId, version, contentHash };
    this.#isReady(operation as ReadyOperation);
  }

  async #encode(operation: Operation): Promise<void> {
    const { signal } = this.#abort;
    const { documentId, version } = operation;
    const { tenant, omitText } = this.#target;
    const { title, text, metadata, contentHash } = operation.document!;
    try {
      const batches = new Set<BatchSpan>();
      const watch = this.#trace?.encoding({ ...operation, batches });
      const passages = await this.#shared.encoder.encode({ title, text }, { omitText, signal, watch });
      operation.batches = batches;
      const content = { contentHash, title, metadata, passages };
      operation.write = { kind: 'put', tenant, documentId, version, ...content };
      this.#isReady(operation as ReadyOperation);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof TowerError && error.reason === 'ENCODER_CLOSED') {
        this.#fail(error);
        return;
      }
      this.#reject(operation, error);
      this.#listener.onSettled();
      this.#writeSoon();
    }
  }

  #isReady(operation: ReadyOperation): void {
    this.#ready.operations++;
    this.#ready.bytes += writeBytes(operation);
    this.#writeSoon();
  }

  /** After this turn of the event loop, for what one batch of the tower encoded becomes ready all at once. */
  #writeSoon(): void {
    if (this.#writeIsDue) return;
    this.#writeIsDue = true;
    setImmediate(() => {
      this.#writeIsDue = false;
      while (this.#writes < WRITES_IN_FLIGHT && !this.#abort.signal.aborted) {
        const batch = this.#nextBatch();
        if (batch.length === 0) break;
        void this.#write(batch);
      }
    });
  }

  async #write(batch: readonly ReadyOperation[]): Promise<void> {
    const { signal } = this.#abort;
    const { collection } = this.#target;
    this.#writes++;
    for (const operation of batch) {
      this.#ready.operations--;
      this.#ready.bytes -= writeBytes(operation);
      operation.isBeingWritten = true;
      this.#beingWritten.add(operation.documentId);
    }
    try {
      const writes = batch.map(({ write }) => write);
      const span = this.#trace?.writing(batch, { store: this.#shared.store.kind, collection });
      const answers = await this.#shared.store
        .write(collection, writes, { signal, ...traceOf(span) })
        .finally(() => this.#trace?.written(span, batch));
      signal.throwIfAborted();
      for (const operation of batch) {
        operation.isBeingWritten = false;
        this.#beingWritten.delete(operation.documentId);
      }
      this.#apply(batch, answers);
      this.#listener.onSettled();
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#writes--;
      this.#writeSoon();
    }
  }

  /** The operations that are ready, up to the first that has to wait; none where more of them should come together. */
  #nextBatch(): ReadyOperation[] {
    const { operations, bytes: size } = this.#ready;
    if (this.#writes > 0 && operations < WRITE_OPERATIONS && size <= WRITE_BYTES) return [];
    const batch: ReadyOperation[] = [];
    let bytes = 0;
    for (const operation of this.#operations) {
      if (operation.outcome || operation.isBeingWritten) continue;
      if (!isReady(operation) || this.#beingWritten.has(operation.documentId)) break;
      bytes += writeBytes(operation);
      if (batch.length > 0 && bytes > WRITE_BYTES) return batch;
      batch.push(operation);
      if (batch.length === WRITE_OPERATIONS) return batch;
    }
    return this.#writes === 0 ? batch : [];
  }

  #apply(batch: readonly ReadyOperation[], answers: readonly WriteAnswer[]): void {
    /** Documents whose `confirm` did not hold: what came after on the same document is written again, after it. */
    const again = new Set<string>();
    batch.forEach((operation, index) => {
      const answer = answers[index]!;
      if (again.has(operation.documentId)) {
        this.#isReady(operation);
        return;
      }
      if (answer.outcome === 'changed') again.add(operation.documentId);
      this.#conclude(operation, answer);
    });
  }

  #conclude(operation: ReadyOperation, answer: WriteAnswer): void {
    const { documentId, version, write } = operation;
    if (answer.outcome === 'stale') {
      this.#reject(operation, versionStale(documentId, version, answer.storedVersion));
    } else if (answer.outcome === 'refused') {
      this.#reject(operation, answer.cause);
    } else if (answer.outcome === 'changed') {
      delete (operation as Operation).write;
      void this.#encode(operation);
    } else {
      const outcome = outcomeOf(operation, KINDS[answer.outcome]);
      if (write.kind === 'put') outcome.passages = write.passages.length;
      this.#settle(operation, outcome);
    }
  }

  #reject(operation: Operation, cause: unknown): void {
    const { sequence, documentId } = operation;
    const { collection, tenant } = this.#target;
    const ids = operation.trace?.span.logFields;
    const error = reportError(cause, this.#shared.log, { collection, tenant, documentId, ...ids });
    this.#settle(operation, rejected(sequence, documentId, error), error);
  }

  #settle(operation: Operation, outcome: IngestOutcome, error?: ServiceError): void {
    operation.outcome = outcome;
    if (isSettled(operation)) this.#trace?.settled(operation, error?.reason);
    delete operation.batches;
    delete operation.document;
    delete operation.write;
    const known = this.#documents.get(operation.documentId)!;
    known.unsettled--;
    if (known.unsettled === 0) this.#documents.delete(operation.documentId);
    this.#shared.budget.release(this.#share, operation.tokens);
  }

  #fail(error: unknown): void {
    if (this.#abort.signal.aborted) return;
    this.#abort.abort();
    this.#listener.onFailure(error);
  }
}

const KINDS = {
  indexed: 'OUTCOME_KIND_INDEXED',
  unchanged: 'OUTCOME_KIND_UNCHANGED',
  deleted: 'OUTCOME_KIND_DELETED',
} as const;
