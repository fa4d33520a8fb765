import type { IngestRequest } from '../proto/generated/scalingnote/v1/IngestRequest.ts';
import { invalidArgument } from './errors.ts';
import { wireInteger, wireStruct, wireText, wireTimestamp } from './values.ts';

/** A document to add or to replace. */
export interface DocumentInput {
  /** 1 to 512 bytes. */
  id: string;
  /** @default '' */
  title?: string;
  /** @default '' */
  text?: string;
  metadata?: Readonly<Record<string, unknown>>;
  /** A lower version than the stored one is rejected. @default 0 */
  version?: number;
  /** From then on nothing finds the document, and it is deleted. @default never */
  expiresAt?: Date;
  /** W3C trace context of the document's producer. */
  traceparent?: string;
}

/** A document to delete. */
export interface DeleteInput {
  delete: string;
  /** @default 0 */
  version?: number;
}

/** A change of a stored document's metadata alone: nothing is encoded. */
export interface PatchInput {
  /** The document's id. */
  patch: string;
  /** Keys of the metadata with their new values. @default {} */
  set?: Readonly<Record<string, unknown>>;
  /** Keys of the metadata to remove. @default [] */
  remove?: readonly string[];
  /** @default 0 */
  version?: number;
}

/** One operation of an ingest. `sequence` has to increase; it is counted up where it is not given. */
export type IngestOperation = (DocumentInput | DeleteInput | PatchInput) & { sequence?: number };

/** Which document an operation is about, as its caller wrote it. */
export function idOf(operation: IngestOperation): string {
  if ('delete' in operation) return operation.delete;
  return 'patch' in operation ? operation.patch : operation.id;
}

/** The document service takes messages of up to 64 MiB, and a larger one would end the stream for all others. */
export const MAX_OPERATION_BYTES = 32 * 1024 * 1024;

/** An operation as a message, and the memory in bytes that it takes until it is durable. */
export interface WireOperation {
  message: IngestRequest;
  bytes: number;
}

/** @throws {ScalingnoteError} `INVALID_ARGUMENT` for what can't be sent */
export function toWireOperation(sequence: number, operation: IngestOperation): WireOperation {
  const version = wireInteger(operation.version ?? 0, 'version');
  if ('delete' in operation) {
    const id = wireText(operation.delete, 'id');
    return { message: { sequence, delete: { id, version } }, bytes: Buffer.byteLength(id) };
  }
  if ('patch' in operation) return toWirePatch(sequence, operation, version);
  const { metadata, expiresAt } = operation;
  const document = {
    id: wireText(operation.id, 'id'),
    title: wireText(operation.title ?? '', 'title'),
    text: wireText(operation.text ?? '', 'text'),
    version,
    traceparent: wireText(operation.traceparent ?? '', 'traceparent'),
    ...(metadata === undefined ? {} : { metadata: wireStruct(metadata, 'metadata') }),
    ...(expiresAt === undefined ? {} : { expiresAt: wireTimestamp(expiresAt, 'expires_at') }),
  };
  const bytes =
    Buffer.byteLength(document.id) +
    Buffer.byteLength(document.title) +
    Buffer.byteLength(document.text) +
    (metadata === undefined ? 0 : Buffer.byteLength(JSON.stringify(metadata)));
  checkBytes(bytes, 'document', 'split it into several documents');
  return { message: { sequence, document }, bytes };
}

function toWirePatch(sequence: number, operation: PatchInput, version: number): WireOperation {
  const { set = {}, remove = [] } = operation;
  const patch = {
    id: wireText(operation.patch, 'id'),
    set: wireStruct(set, 'set'),
    remove: remove.map((key, index) => wireText(key, `remove[${index}]`)),
    version,
  };
  const bytes = [patch.id, JSON.stringify(set), ...remove].reduce(
    (sum, text) => sum + Buffer.byteLength(text),
    0,
  );
  checkBytes(bytes, 'patch', 'metadata take far less');
  return { message: { sequence, patch }, bytes };
}

function checkBytes(bytes: number, field: string, fix: string): void {
  if (bytes <= MAX_OPERATION_BYTES) return;
  throw invalidArgument(field, `has ${bytes} bytes, and a message takes ${MAX_OPERATION_BYTES}; ${fix}`);
}
