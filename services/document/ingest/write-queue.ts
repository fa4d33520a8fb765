import type { DocumentWrite } from '../../../store/writes.ts';
import type { StorageQuotas } from '../../runtime/tenants/storage.ts';
import { traceOf } from '../../runtime/telemetry/span.ts';
import { type Operation, type Ready, startWriting, writeBytes, type Writing } from './operation.ts';
import type { PatientStore, WriteAnswer } from './patient-store.ts';
import type { StreamTrace } from './stream-trace.ts';

/** Most operations in one write: enough to spread an fsync or a round trip over, few enough to repeat cheaply. */
export const WRITE_OPERATIONS = 256;

/**
 * Most writes of a stream under way at once, so that one is written out while the store makes another durable. While one
 * is under way, only a full one begins: smaller ones wait and are joined.
 */
export const WRITES_IN_FLIGHT = 3;

/** Most bytes of text and vectors in one write of several operations: far below what Qdrant takes. */
export const WRITE_BYTES = 4 * 1024 * 1024;

/** Listens to a {@link WriteQueue}. */
export interface WriteListener {
  /** The store has answered a write: one answer for each operation. */
  onAnswers(operations: readonly Writing[], answers: readonly WriteAnswer[]): void;
  /** The store can't be written to any more. */
  onFailure(error: unknown): void;
}

/**
 * Writes what is ready of one stream. Writes begin in the order of the stream, and a document is in one write at a time,
 * so the later of two operations on a document wins.
 */
export class WriteQueue {
  /** All operations of the stream, by sequence, in order. The queue replaces those that become ready, or are written. */
  readonly #operations: Map<number, Operation>;
  readonly #store: PatientStore;
  readonly #collection: string;
  readonly #tenant: string;
  readonly #storage: StorageQuotas | undefined;
  readonly #signal: AbortSignal;
  readonly #trace: StreamTrace | undefined;
  readonly #listener: WriteListener;
  /** Documents in the writes that are under way. */
  readonly #beingWritten = new Set<string>();
  #writes = 0;
  #isScheduled = false;
  /** All operations that are ready, even where one before them is not. */
  #ready = { operations: 0, bytes: 0 };

  constructor(
    operations: Map<number, Operation>,
    parts: {
      store: PatientStore;
      collection: string;
      tenant: string;
      /** Says which documents its tenant has room for. @default all */
      storage: StorageQuotas | undefined;
      signal: AbortSignal;
    },
    trace: StreamTrace | undefined,
    listener: WriteListener,
  ) {
    this.#operations = operations;
    this.#store = parts.store;
    this.#collection = parts.collection;
    this.#tenant = parts.tenant;
    this.#storage = parts.storage;
    this.#signal = parts.signal;
    this.#trace = trace;
    this.#listener = listener;
  }

  /** Takes in an operation that can be written. */
  add(operation: Ready): void {
    this.#operations.set(operation.sequence, operation);
    this.#ready.operations++;
    this.#ready.bytes += writeBytes(operation);
    this.schedule();
  }

  /** Writes after this turn of the event loop: all that one batch of the tower has encoded becomes ready in one turn. */
  schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      while (this.#writes < WRITES_IN_FLIGHT && !this.#signal.aborted) {
        const next = this.#next();
        if (next.length === 0) break;
        void this.#write(next.map((operation) => this.#begin(operation)));
      }
    });
  }

  #begin(operation: Ready): Writing {
    this.#ready.operations--;
    this.#ready.bytes -= writeBytes(operation);
    this.#beingWritten.add(operation.documentId);
    const writing = startWriting(operation);
    this.#operations.set(operation.sequence, writing);
    return writing;
  }

  async #write(operations: readonly Writing[]): Promise<void> {
    const store = this.#store;
    const collection = this.#collection;
    const signal = this.#signal;
    this.#writes++;
    try {
      const steps = operations.map((operation) => withOrigin(operation, this.#trace?.traceId));
      const span = this.#trace?.writing(operations, { store: store.kind, collection });
      const write = (some: typeof steps): Promise<WriteAnswer[]> =>
        store.write(collection, some, { signal, ...traceOf(span) });
      const target = { collection, tenant: this.#tenant, signal, patiently: store.patiently };
      const answers = await (this.#storage?.write(target, steps, write) ?? write(steps)).finally(() =>
        this.#trace?.written(span, operations),
      );
      signal.throwIfAborted();
      for (const { documentId } of operations) this.#beingWritten.delete(documentId);
      this.#listener.onAnswers(operations, answers);
    } catch (error) {
      this.#listener.onFailure(error);
    } finally {
      this.#writes--;
      this.schedule();
    }
  }

  /** What the next write takes: all that is ready, up to the first operation that has to wait. Empty where it is too little. */
  #next(): Ready[] {
    const { operations, bytes: readyBytes } = this.#ready;
    if (this.#writes > 0 && operations < WRITE_OPERATIONS && readyBytes <= WRITE_BYTES) return [];
    const taken: Ready[] = [];
    // What comes after a patch waits for its answer: a patch whose document has changed is computed anew from what is
    // stored, and must not find what came after it.
    const patched = new Set<string>();
    let bytes = 0;
    for (const operation of this.#operations.values()) {
      if (operation.state === 'settled' || operation.state === 'writing') continue;
      if (operation.state !== 'ready' || this.#beingWritten.has(operation.documentId)) break;
      if (patched.has(operation.documentId)) break;
      if (isPatch(operation)) patched.add(operation.documentId);
      bytes += writeBytes(operation);
      if (taken.length > 0 && bytes > WRITE_BYTES) return taken;
      taken.push(operation);
      if (taken.length === WRITE_OPERATIONS) return taken;
    }
    return this.#writes === 0 ? taken : [];
  }
}

/** The write of an operation, with when and how the document came in. */
function withOrigin({ step, sequence }: Writing, trace: string | undefined): DocumentWrite {
  if (step.kind !== 'put' && step.kind !== 'update') return step.write;
  // A clock of a simulation counts parts of milliseconds.
  const at = Math.floor(Date.now());
  return { ...step.write, ingested: { at, sequence, ...(trace !== undefined && { trace }) } };
}

/** Whether an operation changes what it has read, and so is computed anew where that is not stored any more. */
function isPatch({ step }: Ready): boolean {
  return step.kind === 'update' && 'contentHash' in step.write.expected;
}
