import { status } from '@grpc/grpc-js';
import type { IngestOutcome } from '../../../proto/generated/scalingnote/v1/IngestOutcome.ts';
import type { OutcomeKind } from '../../../proto/generated/scalingnote/v1/OutcomeKind.ts';
import type { IngestRequest__Output } from '../../../proto/generated/scalingnote/v1/IngestRequest.ts';
import type { DocumentWrite } from '../../../store/store.ts';
import { invalidArgument, ServiceError, toRichStatus, toServiceError } from '../../runtime/errors.ts';
import { MAX_ID_BYTES, quoted } from '../../runtime/validate.ts';
import type { BatchSpan } from '../../runtime/telemetry/batch-span.ts';
import type { Span } from '../../runtime/telemetry/span.ts';
import { flawOf } from '../../runtime/wire.ts';
import { validDelete, validDocument, type ValidDocument } from './document.ts';

/**
 * What an operation costs of the budget besides its text, in tokens: the objects that carry it take about as much
 * memory as this many tokens of text and their vectors, so that a flood of deletes is bounded too.
 */
export const OPERATION_TOKENS = 64;

/**
 * Bytes of English text to a token, over the vocabularies of BERT and its kin. The budget bounds memory, not batches:
 * an estimate before tokenisation will do, and text that is denser in tokens is no denser in bytes.
 */
export const BYTES_PER_TOKEN = 4;

/** A document's own trace: it began with whoever produced the document, and ends where the document can be found. */
export interface DocumentTrace {
  readonly span: Span;
  /** When its outcome was decided, as of `performance.now()`. */
  settledAt?: number;
}

/** One document or delete of a stream, on its way. */
export interface Operation {
  readonly sequence: number;
  readonly documentId: string;
  readonly version: number;
  /** What it takes of the budget until it is settled. */
  readonly tokens: number;
  /** The content of a document, kept until it is settled. */
  document?: ValidDocument;
  /** What to do to the store, once that is known. */
  write?: DocumentWrite;
  /** Whether that is under way. */
  isBeingWritten?: boolean;
  /** What became of it: the operation is settled. */
  outcome?: IngestOutcome;
  /** Why it was rejected, in a stable word, where that was told at once. */
  readonly reason?: string;
  /** When it came in, as of `performance.now()`. */
  readonly arrivedAt: number;
  /** The document's own trace, where it brought one. */
  trace?: DocumentTrace;
  /** The runs of the model that made its vectors. */
  batches?: Set<BatchSpan>;
}

/** Reads a document or a delete. What is wrong with it is its outcome, and nobody else's business. */
export function readOperation(
  request: IngestRequest__Output,
  sequence: number,
  { tenant, omitText }: { tenant: string; omitText: boolean },
): Operation {
  const arrivedAt = performance.now();
  const id = request.document?.id ?? request.delete?.id ?? '';
  try {
    const flaw = flawOf(request);
    if (flaw) throw flaw;
    if (request.document) {
      const document = validDocument(request.document, omitText);
      return {
        sequence,
        documentId: id,
        version: document.version,
        tokens: OPERATION_TOKENS + Math.ceil(document.bytes / BYTES_PER_TOKEN),
        document,
        arrivedAt,
      };
    }
    if (request.delete) {
      const { version } = validDelete(request.delete);
      const write: DocumentWrite = { kind: 'delete', tenant, documentId: id, version };
      return { sequence, documentId: id, version, tokens: OPERATION_TOKENS, write, arrivedAt };
    }
    throw invalidArgument('operation', 'is not set; send begin, document or delete');
  } catch (error) {
    const flaw = toServiceError(error);
    // An identifier may be what is wrong: one of any length would travel back.
    const documentId = Buffer.byteLength(id) <= MAX_ID_BYTES ? id.toWellFormed() : '';
    return {
      sequence,
      documentId,
      version: 0,
      tokens: 0,
      arrivedAt,
      reason: flaw.reason,
      outcome: rejected(sequence, documentId, flaw),
    };
  }
}

/** The outcome of an operation that is refused. */
export function rejected(sequence: number, documentId: string, error: ServiceError): IngestOutcome {
  return {
    sequence,
    documentId,
    kind: 'OUTCOME_KIND_REJECTED',
    error: toRichStatus(error),
  };
}

/** The store has a newer version of a document. */
export function versionStale(documentId: string, version: number, storedVersion: number): ServiceError {
  return new ServiceError(
    status.ABORTED,
    'VERSION_STALE',
    `version ${version} is older than the stored version ${storedVersion} of document ${quoted(documentId)}; drop it, or ` +
      `send it with version ${storedVersion} or higher`,
    { metadata: { version: String(version), stored_version: String(storedVersion) } },
  );
}

/** An operation of which it is known what to do to the store. */
export type ReadyOperation = Operation & { write: DocumentWrite };

/** Whether an operation can be written. */
export function isReady(operation: Operation): operation is ReadyOperation {
  return operation.write !== undefined;
}

/** An operation whose outcome is known. */
export type SettledOperation = Operation & { outcome: IngestOutcome };

/** Whether it is known what became of an operation. */
export function isSettled(operation: Operation): operation is SettledOperation {
  return operation.outcome !== undefined;
}

/** About how many bytes its write takes. */
export function writeBytes({ tokens, write }: ReadyOperation): number {
  const vectors = write.kind === 'put' ? write.passages.length * write.passages[0]!.vector.byteLength : 0;
  return tokens * BYTES_PER_TOKEN + vectors;
}

/** The outcome of an operation that went well. */
export function outcomeOf({ sequence, documentId }: Operation, kind: OutcomeKind): IngestOutcome {
  return { sequence, documentId, kind };
}
