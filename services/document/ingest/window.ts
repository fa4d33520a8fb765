import { setMaxListeners } from 'node:events';
import type { StoredDocument } from '../../../store/document.ts';
import { TowerError } from '../../../towers/errors.ts';
import { reportError } from '../../runtime/errors.ts';
import type { Share } from './budget.ts';
import { type Content, contentOf, patchedContent, storedContent } from './content.ts';
import { DocumentInFlight } from './in-flight.ts';
import { LookupQueue } from './lookup-queue.ts';
import {
  beginAgain,
  confirmLater,
  documentNotFound,
  patchContended,
  patchLater,
  rejected,
  startEncoding,
  unchanged,
  updateLater,
  versionStale,
  writeAgain,
  written,
  type Arrived,
  type Encoding,
  type Operation,
  type Patching,
  type Received,
  type Settled,
  type Unsettled,
  type Writing,
} from './operation.ts';
import { concernsAll, type WriteAnswer } from './patient-store.ts';
import { DocumentReader } from './reader.ts';
import type { Shared, Target } from './stream-context.ts';
import type { StreamTrace } from './stream-trace.ts';
import { VectorMaker } from './vector-maker.ts';
import { WriteQueue } from './write-queue.ts';

/** How often a patch reads its document again because others changed it meanwhile. */
export const PATCH_ATTEMPTS = 8;

/** Listens to a {@link Window}. */
export interface WindowListener {
  /** Operations were settled. */
  onSettled(): void;
  /** The stream has to end: the store or the tower can't be used by it any more. */
  onFailure(error: unknown): void;
}

/**
 * The operations of one stream that are in flight, by sequence. Documents are compared with what is stored, and encoded
 * where they have to be, in any order. The {@link WriteQueue} writes them in the order of the stream.
 *
 * Whether a document has to be encoded follows from what the store said a moment ago, or from an operation on the same
 * document that is still in flight. Either may be wrong by the time of the write. The store therefore checks again: it
 * answers `changed` to a confirm or an update of content that it does not have. A document is then encoded and put, and
 * a patch reads what it patches once more.
 */
export class Window {
  readonly #shared: Shared;
  readonly #share: Share;
  readonly #target: Target;
  readonly #trace: StreamTrace | undefined;
  readonly #listener: WindowListener;
  readonly #abort = new AbortController();
  /** By sequence, in order. */
  readonly #operations = new Map<number, Operation>();
  /** By document id. */
  readonly #documents = new Map<string, DocumentInFlight>();
  readonly #reader: DocumentReader;
  readonly #vectors: VectorMaker;
  readonly #lookups: LookupQueue;
  readonly #writes: WriteQueue;
  #unsettled = 0;
  /** Unsettled operations that may make room in a quota: nothing is refused early while there are any. */
  readonly #freeing = new Set<number>();

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
    // Every document that waits for its vectors listens, and there may be a thousand.
    setMaxListeners(0, this.#abort.signal);
    const { signal } = this.#abort;
    this.#reader = new DocumentReader(shared.store, target, signal);
    this.#vectors = new VectorMaker(shared, target, this.#reader, trace, signal);
    this.#lookups = new LookupQueue(shared.store, target, signal, {
      onAnswers: (operations, stored) => {
        operations.forEach((operation, index) => this.#compare(operation, stored[index]));
        this.#listener.onSettled();
        this.#writes.schedule();
      },
      onFailure: (error) => this.#fail(error),
    });
    const { collection, tenant } = target;
    const { store, storage } = shared;
    this.#writes = new WriteQueue(this.#operations, { store, collection, tenant, storage, signal }, trace, {
      onAnswers: (operations, answers) => {
        this.#apply(operations, answers);
        this.#listener.onSettled();
      },
      onFailure: (error) => this.#fail(error),
    });
  }

  /** Operations in the window, settled or not. */
  get size(): number {
    return this.#operations.size;
  }

  /** Those that have no outcome yet. */
  get unsettled(): number {
    return this.#unsettled;
  }

  /** When the first of them came in, as of `performance.now()`. */
  get oldestArrival(): number | undefined {
    return this.#first()?.arrivedAt;
  }

  /** Takes an operation in; the budget has admitted its tokens already. */
  add(operation: Arrived | Settled): void {
    this.#operations.set(operation.sequence, operation);
    if (operation.state === 'settled') {
      this.#trace?.settled(operation);
      this.#listener.onSettled();
      return;
    }
    const { documentId } = operation;
    if (operation.state !== 'received') this.#freeing.add(operation.sequence);
    const document = this.#documents.get(documentId) ?? new DocumentInFlight();
    this.#documents.set(documentId, document);
    document.unsettled++;
    this.#unsettled++;
    document.waiting.push(operation);
    this.#advance(document);
  }

  /** Begins those operations on a document that need not wait. */
  #advance(document: DocumentInFlight): void {
    for (;;) {
      const { isIdle } = document;
      const next = document.takeNext();
      if (!next) return;
      if (isIdle) this.#beginFirst(document, next);
      else this.#beginAfter(document, next);
    }
  }

  /** Begins an operation on a document of which no other one is under way. */
  #beginFirst(document: DocumentInFlight, operation: Arrived): void {
    document.reset();
    if (operation.state === 'ready') {
      document.expect(operation.version, { kind: 'deleted' });
      this.#writes.add(operation);
      return;
    }
    if (operation.state === 'received') {
      const content = contentOf(operation.document, this.#target.omitText);
      document.expect(operation.version, { kind: 'content', content });
    }
    this.#lookups.add(operation);
  }

  /** Begins an operation on a document that others before it will have changed by the time of its write. */
  #beginAfter(document: DocumentInFlight, operation: Arrived): void {
    const { tenant, omitText } = this.#target;
    const { version } = operation;
    const isStale = version < document.version;
    const before = document.expected.kind === 'content' ? document.expected.content : undefined;
    if (operation.state === 'ready') {
      document.expect(version, { kind: 'deleted' });
      this.#writes.add(operation);
    } else if (operation.state === 'patching') {
      this.#patch(document, operation, before!);
    } else {
      const content = contentOf(operation.document, omitText);
      document.expect(version, { kind: 'content', content });
      if (before?.contentHash === content.contentHash || isStale) {
        this.#writes.add(confirmLater(operation, tenant, content.contentHash));
      } else if (before?.encodingHash === content.encodingHash && before.omitText === omitText) {
        this.#writes.add(updateLater(operation, tenant));
      } else {
        void this.#encode(startEncoding(operation));
      }
    }
  }

  /** Takes out the first operation, if it is settled. */
  takeSettled(): Settled | undefined {
    const first = this.#first();
    if (first?.state !== 'settled') return undefined;
    this.#operations.delete(first.sequence);
    return first;
  }

  /** Gives up what is not written. */
  abandon(): void {
    this.#abort.abort();
    for (const { trace } of this.#operations.values()) if (trace) this.#trace?.abandoned(trace);
  }

  #first(): Operation | undefined {
    return this.#operations.values().next().value;
  }

  /** Finds out what has to be done, from what is stored of a document. */
  #compare(operation: Received | Patching, stored: StoredDocument | undefined): void {
    const { tenant, omitText } = this.#target;
    const { version, documentId } = operation;
    this.#documents.get(documentId)!.stored = stored;
    if (stored) this.#freeing.add(operation.sequence);
    if (stored && stored.version > version) {
      this.#reject(operation, versionStale(operation, stored.version));
    } else if (operation.state === 'patching') {
      if (stored) void this.#readToPatch(operation, stored.passages);
      else this.#reject(operation, documentNotFound(operation));
    } else if (stored?.contentHash === operation.document.contentHash) {
      if (stored.version === version) this.#settle(unchanged(operation));
      else this.#writes.add(confirmLater(operation, tenant, stored.contentHash));
    } else if (stored?.encodingHash === operation.document.encodingHash && stored.textOmitted === omitText) {
      this.#writes.add(updateLater(operation, tenant));
    } else {
      void this.#encode(startEncoding(operation), { isNew: stored === undefined });
    }
  }

  async #readToPatch(operation: Patching, passages: number): Promise<void> {
    const { documentId, version } = operation;
    const { signal } = this.#abort;
    try {
      const stored = await this.#reader.read(documentId, { passages, withVectors: false });
      signal.throwIfAborted();
      const document = this.#documents.get(documentId)!;
      if (!stored) {
        this.#reject(operation, documentNotFound(operation));
      } else if (stored.version > version) {
        this.#reject(operation, versionStale(operation, stored.version));
      } else {
        this.#patch(document, operation, storedContent(stored), stored.version);
        this.#advance(document);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (concernsAll(error)) this.#fail(error);
      else this.#reject(operation, error);
    }
    this.#listener.onSettled();
    this.#writes.schedule();
  }

  /** @param storedVersion where the content is stored; absent where operations before will make it */
  #patch(document: DocumentInFlight, operation: Patching, from: Content, storedVersion?: number): void {
    const { tenant } = this.#target;
    const { version, patch, attempts } = operation;
    let to: Content | undefined;
    try {
      to = patchedContent(from, patch);
    } catch (error) {
      this.#reject(operation, error);
      return;
    }
    // Where it was read again, others may have begun after it, and more is expected than this.
    if (attempts === 0) document.expect(version, { kind: 'content', content: to ?? from });
    if (to) this.#writes.add(patchLater(operation, tenant, from, to));
    else if (storedVersion === version) this.#settle(unchanged(operation));
    else this.#writes.add(confirmLater(operation, tenant, from.contentHash));
  }

  /** @param isNew the store has nothing of it */
  async #encode(operation: Encoding, { isNew = false } = {}): Promise<void> {
    this.#operations.set(operation.sequence, operation);
    const { stored } = this.#documents.get(operation.documentId)!;
    try {
      const mustFit = isNew && this.#freeing.size === 0;
      this.#writes.add(await this.#vectors.make(operation, { stored, mustFit }));
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      if ((error instanceof TowerError && error.concernsAll) || concernsAll(error)) {
        this.#fail(error);
        return;
      }
      this.#reject(operation, error);
      this.#listener.onSettled();
      this.#writes.schedule();
    }
  }

  #apply(operations: readonly Writing[], answers: readonly WriteAnswer[]): void {
    /** Documents of which an operation begins again: later operations on them are written again, after that. */
    const again = new Set<string>();
    operations.forEach((operation, index) => {
      const answer = answers[index]!;
      if (again.has(operation.documentId)) {
        this.#writes.add(writeAgain(operation));
      } else if (answer.outcome === 'changed') {
        again.add(operation.documentId);
        this.#beginAgain(operation);
      } else if (answer.outcome === 'stale') {
        this.#reject(operation, versionStale(operation, answer.storedVersion));
      } else if (answer.outcome === 'refused') {
        this.#reject(operation, answer.cause);
      } else {
        const { step, documentId } = operation;
        const document = this.#documents.get(documentId)!;
        if (step.kind === 'put') {
          const { passages, text } = step.write;
          document.stored = { passages: passages.length, textOmitted: text === undefined };
        }
        this.#settle(written(operation, answer.outcome, document.stored?.passages ?? 0));
      }
    });
  }

  #beginAgain(operation: Writing): void {
    const next = beginAgain(operation);
    this.#operations.set(next.sequence, next);
    if (next.state === 'encoding') void this.#encode(next);
    else if (next.attempts > PATCH_ATTEMPTS) this.#reject(next, patchContended(next));
    else this.#lookups.add(next);
  }

  #reject(operation: Unsettled, cause: unknown): void {
    const { documentId, trace } = operation;
    const { collection, tenant } = this.#target;
    const ids = trace?.span.logFields;
    const error = reportError(cause, this.#shared.log, { collection, tenant, documentId, ...ids });
    this.#settle(rejected(operation, error));
  }

  #settle(operation: Settled): void {
    const { sequence, documentId, tokens } = operation;
    this.#operations.set(sequence, operation);
    this.#freeing.delete(sequence);
    this.#trace?.settled(operation);
    const document = this.#documents.get(documentId)!;
    document.unsettled--;
    this.#unsettled--;
    this.#shared.budget.release(this.#share, tokens);
    if (document.unsettled === 0) this.#documents.delete(documentId);
    else this.#advance(document);
  }

  #fail(error: unknown): void {
    if (this.#abort.signal.aborted) return;
    this.#abort.abort();
    this.#listener.onFailure(error);
  }
}
