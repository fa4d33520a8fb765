import type { IngestRequest } from '../proto/generated/scalingnote/v1/IngestRequest.ts';
import { invalidArgument } from './errors.ts';
import { wireInteger, wireStruct, wireText } from './values.ts';

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
  /** W3C trace context of the document's producer. */
  traceparent?: string;
}

/** A document to delete. */
export interface DeleteInput {
  delete: string;
  /** @default 0 */
  version?: number;
}

/** One operation of an ingest. `sequence` has to increase; it is counted up where it is not given. */
export type IngestOperation = (DocumentInput | DeleteInput) & { sequence?: number };

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
  const { metadata } = operation;
  const document = {
    id: wireText(operation.id, 'id'),
    title: wireText(operation.title ?? '', 'title'),
    text: wireText(operation.text ?? '', 'text'),
    version,
    traceparent: wireText(operation.traceparent ?? '', 'traceparent'),
    ...(metadata === undefined ? {} : { metadata: wireStruct(metadata, 'metadata') }),
  };
  const bytes =
    Buffer.byteLength(document.id) +
    Buffer.byteLength(document.title) +
    Buffer.byteLength(document.text) +
    (metadata === undefined ? 0 : Buffer.byteLength(JSON.stringify(metadata)));
  if (bytes > MAX_OPERATION_BYTES) {
    throw invalidArgument(
      'document',
      `has ${bytes} bytes, and a message takes ${MAX_OPERATION_BYTES}; split it into several documents`,
    );
  }
  return { message: { sequence, document }, bytes };
}
