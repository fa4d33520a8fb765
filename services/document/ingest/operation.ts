import { status } from '@grpc/grpc-js';
import type { IngestOutcome } from '../../../proto/generated/scalingnote/v1/IngestOutcome.ts';
import type { IngestRequest__Output } from '../../../proto/generated/scalingnote/v1/IngestRequest.ts';
import type { DocumentWrite, PassageWrite } from '../../../store/store.ts';
import { invalidArgument, ServiceError, toRichStatus, toServiceError } from '../../runtime/errors.ts';
import { MAX_ID_BYTES, quoted } from '../../runtime/validate.ts';
import type { BatchSpan } from '../../runtime/telemetry/batch-span.ts';
import type { Span } from '../../runtime/telemetry/span.ts';
import { flawOf } from '../../runtime/request-guard.ts';
import { validDelete, validDocument, type ValidDocument } from './document.ts';

/**
 * What an operation costs of the budget besides its text, in tokens: its objects take about as much memory as this many
 * tokens of text with their vectors. A flood of deletes is bounded by it too.
 */
export const OPERATION_TOKENS = 64;

/**
 * Bytes of English text per token, for the vocabularies of BERT and its kin. The budget bounds memory, so an estimate
 * before tokenisation is good enough: text with more tokens per byte takes no more bytes.
 */
export const BYTES_PER_TOKEN = 4;

/** A document's own trace. Its producer began it; it ends when searches can find the document. */
export interface DocumentTrace {
  readonly span: Span;
  /** When the operation was settled, as of `performance.now()`. */
  settledAt?: number;
}

interface AnyState {
  readonly sequence: number;
  readonly documentId: string;
  readonly version: number;
  /** What it takes of the budget until it is settled. */
  readonly tokens: number;
  /** When it came in, as of `performance.now()`. */
  readonly arrivedAt: number;
  /** The document's own trace, where it brought one. */
  readonly trace?: DocumentTrace;
}

/** A document that has not been compared with what is stored. */
export interface Received extends AnyState {
  readonly state: 'received';
  readonly document: ValidDocument;
}

/** A document whose vectors are being made. */
export interface Encoding extends AnyState {
  readonly state: 'encoding';
  readonly document: ValidDocument;
}

/** A document or a delete that waits for its write. */
export interface Ready extends AnyState {
  readonly state: 'ready';
  readonly step: WriteStep;
}

/** A document or a delete whose write is under way. */
export interface Writing extends AnyState {
  readonly state: 'writing';
  readonly step: WriteStep;
}

/** A document or a delete that has its outcome. */
export interface Settled extends AnyState {
  readonly state: 'settled';
  readonly outcome: IngestOutcome;
  /** Why it was rejected, in a stable word; empty where it was not. */
  readonly reason: string;
}

/** An operation without an outcome. */
export type Unsettled = Received | Encoding | Ready | Writing;

/** One document or delete of a stream. The functions of this file take it from one state to the next. */
export type Operation = Unsettled | Settled;

type Write<Kind extends DocumentWrite['kind']> = Extract<DocumentWrite, { kind: Kind }>;

/** A step of a write to the store, with what belongs to it. */
export type WriteStep =
  | {
      readonly kind: 'put';
      readonly write: Write<'put'>;
      /** The runs of the model that made its vectors. */
      readonly batches: ReadonlySet<BatchSpan>;
    }
  | {
      readonly kind: 'confirm';
      readonly write: Write<'confirm'>;
      /** Is encoded where the store has other content after all. */
      readonly document: ValidDocument;
    }
  | { readonly kind: 'delete'; readonly write: Write<'delete'> };

/** Reads a document or a delete. A flaw in it is its outcome; other operations go on. */
export function readOperation(
  request: IngestRequest__Output,
  sequence: number,
  { tenant, omitText }: { tenant: string; omitText: boolean },
): Received | Ready | Settled {
  const arrivedAt = performance.now();
  const id = request.document?.id ?? request.delete?.id ?? '';
  try {
    const flaw = flawOf(request);
    if (flaw) throw flaw;
    if (request.document) {
      const document = validDocument(request.document, omitText);
      const { version, bytes } = document;
      const tokens = OPERATION_TOKENS + Math.ceil(bytes / BYTES_PER_TOKEN);
      return { state: 'received', sequence, documentId: id, version, tokens, arrivedAt, document };
    }
    if (request.delete) {
      const { version } = validDelete(request.delete);
      const step: WriteStep = { kind: 'delete', write: { kind: 'delete', tenant, documentId: id, version } };
      const tokens = OPERATION_TOKENS;
      return { state: 'ready', sequence, documentId: id, version, tokens, arrivedAt, step };
    }
    throw invalidArgument('operation', 'is not set; send begin, document or delete');
  } catch (error) {
    // The outcome must not carry an id of any length back.
    const documentId = Buffer.byteLength(id) <= MAX_ID_BYTES ? id.toWellFormed() : '';
    const flawed = { sequence, documentId, version: 0, tokens: 0, arrivedAt };
    return rejected(flawed, toServiceError(error));
  }
}

/** The document is to be encoded. */
export function startEncoding(operation: Received): Encoding {
  return { ...common(operation), state: 'encoding', document: operation.document };
}

/** The content is believed to be stored already: only the version has to be raised. */
export function confirmLater(operation: Received, tenant: string): Ready {
  const { documentId, version, document } = operation;
  const { contentHash } = document;
  const write = { kind: 'confirm', tenant, documentId, version, contentHash } as const;
  return { ...common(operation), state: 'ready', step: { kind: 'confirm', write, document } };
}

/** The vectors are made. */
export function putLater(
  operation: Encoding,
  tenant: string,
  passages: readonly PassageWrite[],
  batches: ReadonlySet<BatchSpan>,
): Ready {
  const { documentId, version } = operation;
  const { contentHash, encodingHash, title, metadata } = operation.document;
  const content = { contentHash, encodingHash, title, metadata, passages };
  const write = { kind: 'put', tenant, documentId, version, ...content } as const;
  return { ...common(operation), state: 'ready', step: { kind: 'put', write, batches } };
}

/** The write begins. */
export function startWriting(operation: Ready): Writing {
  return { ...common(operation), state: 'writing', step: operation.step };
}

/** The write has to be repeated, after one on the same document that came before it. */
export function writeAgain(operation: Writing): Ready {
  return { ...common(operation), state: 'ready', step: operation.step };
}

/** The store has other content than a confirm named. */
export function encodeAfterAll(operation: Writing): Encoding {
  const { step } = operation;
  if (step.kind !== 'confirm') throw new Error(`the store answers "changed" to a ${step.kind}`);
  return { ...common(operation), state: 'encoding', document: step.document };
}

/** The store already has the content, in this version. */
export function unchanged(operation: Received): Settled {
  return settled(operation, 'OUTCOME_KIND_UNCHANGED');
}

/** The store has taken the write. */
export function written(
  operation: Writing,
  outcome: 'indexed' | 'updated' | 'unchanged' | 'deleted',
): Settled {
  const { step } = operation;
  if (outcome === 'updated') throw new Error('the ingest has no updates yet');
  const passages = step.kind === 'put' ? { passages: step.write.passages.length } : {};
  const kind = outcome.toUpperCase() as Uppercase<typeof outcome>;
  return settled(operation, `OUTCOME_KIND_${kind}`, passages);
}

/** The operation is refused. */
export function rejected(operation: AnyState & { state?: Unsettled['state'] }, error: ServiceError): Settled {
  const outcome = settled(operation, 'OUTCOME_KIND_REJECTED', { error: toRichStatus(error) });
  return { ...outcome, reason: error.reason };
}

function settled(
  operation: AnyState,
  kind: NonNullable<IngestOutcome['kind']>,
  rest: Pick<IngestOutcome, 'passages' | 'error'> = {},
): Settled {
  const { sequence, documentId } = operation;
  const outcome = { sequence, documentId, kind, ...rest };
  return { ...common(operation), state: 'settled', outcome, reason: '' };
}

/** What every state has, and nothing that belongs to one state alone. */
function common({ sequence, documentId, version, tokens, arrivedAt, trace }: AnyState): AnyState {
  return { sequence, documentId, version, tokens, arrivedAt, ...(trace && { trace }) };
}

/** The store has a newer version of a document. */
export function versionStale({ documentId, version }: AnyState, storedVersion: number): ServiceError {
  return new ServiceError(
    status.ABORTED,
    'VERSION_STALE',
    `version ${version} is older than the stored version ${storedVersion} of document ${quoted(documentId)}; drop it, or ` +
      `send it with version ${storedVersion} or higher`,
    { metadata: { version: String(version), stored_version: String(storedVersion) } },
  );
}

/** About how many bytes its write takes. */
export function writeBytes({ tokens, step }: Ready): number {
  const vectors =
    step.kind === 'put' ? step.write.passages.length * step.write.passages[0]!.vector.byteLength : 0;
  return tokens * BYTES_PER_TOKEN + vectors;
}
