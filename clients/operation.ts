import type { Struct } from '../proto/generated/google/protobuf/Struct.ts';
import type { Value } from '../proto/generated/google/protobuf/Value.ts';
import type { IngestRequest } from '../proto/generated/scalingnote/v1/IngestRequest.ts';
import { invalidArgument } from './errors.ts';
import { toWire } from './strict/message.ts';

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

/** Which document an operation is about, as its caller wrote it; empty where that is no text. */
export function idOf(operation: IngestOperation): string {
  const { delete: deleted, patch, id } = partsOf(operation);
  const found = deleted ?? patch ?? id;
  return typeof found === 'string' ? found : '';
}

/** The sequence that a caller gives an operation. */
export function sequenceOf(operation: IngestOperation): number | undefined {
  return partsOf(operation).sequence as number | undefined;
}

/** What tells operations apart, however damaged they are. */
function partsOf(operation: unknown): Partial<Record<'id' | 'delete' | 'patch' | 'sequence', unknown>> {
  try {
    if (typeof operation !== 'object' || operation === null) return {};
    const { id, delete: deleted, patch, sequence } = operation as Record<string, unknown>;
    return { id, delete: deleted, patch, sequence };
  } catch {
    return {};
  }
}

/** The document service takes messages of up to 64 MiB, and a larger one would end the stream for all others. */
export const MAX_OPERATION_BYTES = 32 * 1024 * 1024;

/** An operation as a message, and the memory in bytes that it takes until it is durable. */
export interface WireOperation {
  message: IngestRequest;
  bytes: number;
}

/** How each operation is written. Of its keys, the one that names it is the document's id. */
const FORMS = {
  document: { typeName: 'scalingnote.v1.Document', form: { required: ['id'], beside: ['sequence'] } },
  delete: {
    typeName: 'scalingnote.v1.DocumentDelete',
    form: { required: ['id'], renamed: { delete: 'id' }, hidden: ['id'], beside: ['sequence'] },
  },
  patch: {
    typeName: 'scalingnote.v1.DocumentPatch',
    form: { required: ['id'], renamed: { patch: 'id' }, hidden: ['id'], beside: ['sequence'] },
  },
} as const;

/** @throws {ScalingnoteError} `INVALID_ARGUMENT` for what can't be sent */
export function toWireOperation(sequence: number, operation: IngestOperation): WireOperation {
  const parts = partsOf(operation);
  const kind = parts.delete !== undefined ? 'delete' : parts.patch !== undefined ? 'patch' : 'document';
  const { typeName, form } = FORMS[kind];
  const wire = toWire<WireParts>(typeName, operation, form);
  const bytes = bytesOf(wire);
  if (bytes > MAX_OPERATION_BYTES) {
    const fix = kind === 'document' ? 'split it into several documents' : 'metadata take far less';
    throw invalidArgument(kind, `has ${bytes} bytes, and a message takes ${MAX_OPERATION_BYTES}; ${fix}`);
  }
  return { message: { sequence, [kind]: wire }, bytes };
}

/** What has a size in the messages of operations. */
interface WireParts {
  id: string;
  title?: string;
  text?: string;
  metadata?: Struct;
  set?: Struct;
  remove?: readonly string[];
}

function bytesOf({ id, title = '', text = '', metadata, set, remove = [] }: WireParts): number {
  const texts = [id, title, text, ...remove].reduce((sum, each) => sum + Buffer.byteLength(each), 0);
  return texts + [metadata, set].reduce((sum, each) => sum + structBytes(each), 0);
}

/** About as many bytes as a struct takes on the wire: its names and texts, and a few for each value. */
function structBytes(struct: Struct | undefined): number {
  return Object.entries(struct?.fields ?? {}).reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + valueBytes(value),
    0,
  );
}

function valueBytes({ stringValue, structValue, listValue }: Value): number {
  const own = 8;
  if (stringValue !== undefined) return own + Buffer.byteLength(stringValue);
  if (structValue) return own + structBytes(structValue);
  return (listValue?.values ?? []).reduce((sum, value) => sum + valueBytes(value), own);
}
