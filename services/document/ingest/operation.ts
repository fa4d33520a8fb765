import { status } from '@grpc/grpc-js';
import type { IngestOutcome } from '../../../proto/generated/scalingnote/v1/IngestOutcome.ts';
import type { IngestRequest__Output } from '../../../proto/generated/scalingnote/v1/IngestRequest.ts';
import type { DocumentWrite, Expected, PassageWrite } from '../../../store/writes.ts';
import { invalidArgument, ServiceError, toRichStatus, toServiceError } from '../../runtime/errors.ts';
import { MAX_ID_BYTES, quoted } from '../../runtime/validate.ts';
import type { BatchSpan } from '../../runtime/telemetry/batch-span.ts';
import type { Span } from '../../runtime/telemetry/span.ts';
import { flawOf } from '../../runtime/request-guard.ts';
import type { Content } from './content.ts';
import { validDelete, validDocument, validPatch, type ValidDocument, type ValidPatch } from './document.ts';

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

/** A patch of a document that has not been read. */
export interface Patching extends AnyState {
  readonly state: 'patching';
  readonly patch: ValidPatch;
  /** How often the document was read already, and was another one when the patch was written. */
  readonly attempts: number;
}

/** A document whose vectors are being made. */
export interface Encoding extends AnyState {
  readonly state: 'encoding';
  readonly document: ValidDocument;
}

/** An operation that waits for its write. */
export interface Ready extends AnyState {
  readonly state: 'ready';
  readonly step: WriteStep;
}

/** An operation whose write is under way. */
export interface Writing extends AnyState {
  readonly state: 'writing';
  readonly step: WriteStep;
}

/** An operation that has its outcome. */
export interface Settled extends AnyState {
  readonly state: 'settled';
  readonly outcome: IngestOutcome;
  /** Why it was rejected, in a stable word; empty where it was not. */
  readonly reason: string;
}

/** An operation as it comes in. */
export type Arrived = Received | Patching | Ready;

/** An operation without an outcome. */
export type Unsettled = Received | Patching | Encoding | Ready | Writing;

/** One document, patch or delete of a stream. The functions of this file take it from one state to the next. */
export type Operation = Unsettled | Settled;

type Write<Kind extends DocumentWrite['kind']> = Extract<DocumentWrite, { kind: Kind }>;

/** What a write was made of, to begin again where the store holds other content than was believed. */
type Source = Pick<Received, 'document'> | Pick<Patching, 'patch' | 'attempts'>;

/** A step of a write to the store, with what belongs to it. */
export type WriteStep =
  | {
      readonly kind: 'put';
      readonly write: Write<'put'>;
      /** Passages that were encoded for it; the others were stored already. */
      readonly encoded: number;
      /** The runs of the model that made its vectors. */
      readonly batches: ReadonlySet<BatchSpan>;
    }
  | { readonly kind: 'confirm'; readonly write: Write<'confirm'>; readonly source: Source }
  | { readonly kind: 'update'; readonly write: Write<'update'>; readonly source: Source }
  | { readonly kind: 'delete'; readonly write: Write<'delete'> };

/** What an encoder made of a document. */
export interface EncodedDocument {
  readonly passages: readonly PassageWrite[];
  /** How many of them it encoded. */
  readonly encoded: number;
}

/** What holds for all operations of a stream. */
export interface StreamOptions {
  tenant: string;
  omitText: boolean;
}

/** Reads an operation. A flaw in it is its outcome; other operations go on. */
export function readOperation(
  request: IngestRequest__Output,
  sequence: number,
  options: StreamOptions,
): Arrived | Settled {
  const arrivedAt = performance.now();
  const id = request.document?.id ?? request.patch?.id ?? request.delete?.id ?? '';
  try {
    const flaw = flawOf(request);
    if (flaw) throw flaw;
    return { ...readValid(request, options), sequence, documentId: id, arrivedAt };
  } catch (error) {
    // The outcome must not carry an id of any length back.
    const documentId = Buffer.byteLength(id) <= MAX_ID_BYTES ? id.toWellFormed() : '';
    const flawed = { sequence, documentId, version: 0, tokens: 0, arrivedAt };
    return rejected(flawed, toServiceError(error));
  }
}

type ReadPart<State> = State extends unknown ? Omit<State, 'sequence' | 'documentId' | 'arrivedAt'> : never;

/** @throws {ServiceError} `INVALID_ARGUMENT`, naming the field */
function readValid(request: IngestRequest__Output, { tenant, omitText }: StreamOptions): ReadPart<Arrived> {
  if (request.document) {
    const document = validDocument(request.document, omitText);
    const { version, bytes } = document;
    return { state: 'received', version, tokens: tokensOf(bytes), document };
  }
  if (request.patch) {
    const patch = validPatch(request.patch);
    const { version, bytes } = patch;
    return { state: 'patching', version, tokens: tokensOf(bytes), patch, attempts: 0 };
  }
  if (request.delete) {
    const { id, version } = validDelete(request.delete);
    const step: WriteStep = { kind: 'delete', write: { kind: 'delete', tenant, documentId: id, version } };
    return { state: 'ready', version, tokens: OPERATION_TOKENS, step };
  }
  throw invalidArgument('operation', 'is not set; send begin, document, patch or delete');
}

function tokensOf(bytes: number): number {
  return OPERATION_TOKENS + Math.ceil(bytes / BYTES_PER_TOKEN);
}

/** The document is to be encoded. */
export function startEncoding(operation: Received): Encoding {
  return { ...common(operation), state: 'encoding', document: operation.document };
}

/** The content is believed to be stored already: only the version has to be raised. */
export function confirmLater(operation: Received | Patching, tenant: string, contentHash: string): Ready {
  const { documentId, version } = operation;
  const write = { kind: 'confirm', tenant, documentId, version, contentHash } as const;
  return {
    ...common(operation),
    state: 'ready',
    step: { kind: 'confirm', write, source: sourceOf(operation) },
  };
}

/** Title and text are believed to be stored already: only what stands beside them is written. */
export function updateLater(operation: Received, tenant: string): Ready {
  const { document } = operation;
  return toUpdate(operation, tenant, document, { encodingHash: document.encodingHash });
}

/** The patch was applied to some content: it is written if the store still holds that. */
export function patchLater(operation: Patching, tenant: string, from: Content, to: Content): Ready {
  return toUpdate(operation, tenant, to, { contentHash: from.contentHash });
}

function toUpdate(
  operation: Received | Patching,
  tenant: string,
  { contentHash, metadata, expiresAt }: Pick<Content, 'contentHash' | 'metadata' | 'expiresAt'>,
  expected: Expected,
): Ready {
  const { documentId, version } = operation;
  const write: Write<'update'> = {
    kind: 'update',
    tenant,
    documentId,
    version,
    contentHash,
    metadata,
    ...(expiresAt !== undefined && { expiresAt }),
    expected,
  };
  return {
    ...common(operation),
    state: 'ready',
    step: { kind: 'update', write, source: sourceOf(operation) },
  };
}

/** The vectors are there. */
export function putLater(
  operation: Encoding,
  { tenant, omitText }: StreamOptions,
  { passages, encoded }: EncodedDocument,
  batches: ReadonlySet<BatchSpan>,
): Ready {
  const { documentId, version } = operation;
  const { contentHash, encodingHash, title, text, metadata, expiresAt } = operation.document;
  const write: Write<'put'> = {
    kind: 'put',
    tenant,
    documentId,
    version,
    contentHash,
    encodingHash,
    title,
    ...(!omitText && { text }),
    metadata,
    ...(expiresAt !== undefined && { expiresAt }),
    passages,
  };
  return { ...common(operation), state: 'ready', step: { kind: 'put', write, encoded, batches } };
}

/** The write begins. */
export function startWriting(operation: Ready): Writing {
  return { ...common(operation), state: 'writing', step: operation.step };
}

/** The write has to be repeated, after one on the same document that came before it. */
export function writeAgain(operation: Writing): Ready {
  return { ...common(operation), state: 'ready', step: operation.step };
}

/** The store holds other content than was believed: a document is encoded after all, a patch reads again. */
export function beginAgain(operation: Writing): Encoding | Patching {
  const { step } = operation;
  if (!('source' in step)) throw new Error(`the store answers "changed" to a ${step.kind}`);
  const { source } = step;
  return 'document' in source
    ? { ...common(operation), state: 'encoding', document: source.document }
    : { ...common(operation), state: 'patching', patch: source.patch, attempts: source.attempts + 1 };
}

/** The store already has the content, in this version. */
export function unchanged(operation: Received | Patching): Settled {
  return settled(operation, 'OUTCOME_KIND_UNCHANGED');
}

/**
 * The store has taken the write.
 *
 * @param passages that the document had before
 */
export function written(
  operation: Writing,
  outcome: 'indexed' | 'updated' | 'unchanged' | 'deleted',
  passages: number,
): Settled {
  const { step } = operation;
  if (step.kind === 'put') {
    const counts = { passages: step.write.passages.length, encodedPassages: step.encoded };
    return settled(operation, 'OUTCOME_KIND_INDEXED', counts);
  }
  if (outcome === 'updated')
    return settled(operation, 'OUTCOME_KIND_INDEXED', { passages, encodedPassages: 0 });
  const kind = outcome.toUpperCase() as Uppercase<typeof outcome>;
  return settled(operation, `OUTCOME_KIND_${kind}`);
}

/** The operation is refused. */
export function rejected(operation: AnyState & { state?: Unsettled['state'] }, error: ServiceError): Settled {
  const outcome = settled(operation, 'OUTCOME_KIND_REJECTED', { error: toRichStatus(error) });
  return { ...outcome, reason: error.reason };
}

function settled(
  operation: AnyState,
  kind: NonNullable<IngestOutcome['kind']>,
  rest: Pick<IngestOutcome, 'passages' | 'encodedPassages' | 'error'> = {},
): Settled {
  const { sequence, documentId } = operation;
  const outcome = { sequence, documentId, kind, ...rest };
  return { ...common(operation), state: 'settled', outcome, reason: '' };
}

/** What every state has, and nothing that belongs to one state alone. */
function common({ sequence, documentId, version, tokens, arrivedAt, trace }: AnyState): AnyState {
  return { sequence, documentId, version, tokens, arrivedAt, ...(trace && { trace }) };
}

function sourceOf(operation: Received | Patching): Source {
  if (operation.state === 'received') return { document: operation.document };
  return { patch: operation.patch, attempts: operation.attempts };
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

/** There is no document to patch. */
export function documentNotFound({ documentId }: AnyState): ServiceError {
  return new ServiceError(
    status.NOT_FOUND,
    'DOCUMENT_NOT_FOUND',
    `there is no document ${quoted(documentId)} to patch; send the whole document`,
  );
}

/** Others changed the document each time between reading and writing it. */
export function patchContended({ documentId, attempts }: Patching): ServiceError {
  return new ServiceError(
    status.ABORTED,
    'PATCH_CONTENDED',
    `document ${quoted(documentId)} was changed by others ${attempts} times while the patch was applied; send it again`,
  );
}

/** About how many bytes its write takes. */
export function writeBytes({ tokens, step }: Ready): number {
  const vectors =
    step.kind === 'put' ? step.write.passages.length * step.write.passages[0]!.vector.byteLength : 0;
  return tokens * BYTES_PER_TOKEN + vectors;
}
