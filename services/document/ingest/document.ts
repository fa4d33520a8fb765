import type { Document__Output } from '../../../proto/generated/scalingnote/v1/Document.ts';
import type { DocumentDelete__Output } from '../../../proto/generated/scalingnote/v1/DocumentDelete.ts';
import { fromStruct, type JsonObject, type JsonValue, MAX_JSON_DEPTH } from '../../../proto/struct.ts';
import { invalidArgument } from '../../runtime/errors.ts';
import {
  checkDocumentId,
  checkFinite,
  checkText,
  MAX_METADATA_BYTES,
  MAX_TEXT_BYTES,
  MAX_TITLE_BYTES,
  parseVersion,
} from '../../runtime/validate.ts';
import { contentHash, encodingHash } from './content-hash.ts';

/** A document that has passed all checks. */
export interface ValidDocument {
  id: string;
  title: string;
  text: string;
  metadata: JsonObject;
  version: number;
  contentHash: string;
  encodingHash: string;
  /** Of title, text and metadata, in UTF-8. */
  bytes: number;
}

/** @throws {ServiceError} `INVALID_ARGUMENT`, naming the field and the fix */
export function validDocument(document: Document__Output, omitText: boolean): ValidDocument {
  const { id, title, text } = document;
  checkDocumentId(id, 'document.id');
  const version = parseVersion(document.version, 'document.version');
  checkText('document.title', title, MAX_TITLE_BYTES);
  checkText('document.text', text, MAX_TEXT_BYTES);
  if (title.trim() === '' && text.trim() === '') {
    throw invalidArgument(
      'document.text',
      'is empty or white space, and so is document.title; send at least one of them',
    );
  }
  const metadata = fromStruct(document.metadata);
  const metadataBytes = checkMetadata(metadata);
  return {
    id,
    title,
    text,
    metadata,
    version,
    contentHash: contentHash({ title, text, metadata, omitText }),
    encodingHash: encodingHash({ title, text }),
    bytes: Buffer.byteLength(title) + Buffer.byteLength(text) + metadataBytes,
  };
}

/** @throws {ServiceError} `INVALID_ARGUMENT`, as {@link validDocument} */
export function validDelete({ id, version }: DocumentDelete__Output): { id: string; version: number } {
  checkDocumentId(id, 'delete.id');
  return { id, version: parseVersion(version, 'delete.version') };
}

/** @returns length in bytes of JSON */
function checkMetadata(metadata: JsonObject): number {
  const bytes = Buffer.byteLength(JSON.stringify(metadata));
  if (bytes > MAX_METADATA_BYTES) {
    throw invalidArgument(
      'document.metadata',
      `is ${bytes} bytes long as JSON; send at most ${MAX_METADATA_BYTES}, what you filter by or show`,
    );
  }
  checkValue('document.metadata', metadata);
  return bytes;
}

function checkValue(path: string, value: JsonValue, depth = 1): void {
  if (typeof value === 'object' && value !== null && depth > MAX_JSON_DEPTH) {
    throw invalidArgument(path, `is nested deeper than ${MAX_JSON_DEPTH} levels; write it flatter`);
  }
  if (typeof value === 'string') {
    checkText(path, value, MAX_METADATA_BYTES);
  } else if (typeof value === 'number') {
    checkFinite(path, value);
  } else if (Array.isArray(value)) {
    value.forEach((item, index) => checkValue(`${path}[${index}]`, item, depth + 1));
  } else if (value !== null) {
    for (const [key, item] of Object.entries(value)) {
      checkText(`${path}: a key`, key, MAX_METADATA_BYTES);
      checkValue(`${path}.${key}`, item, depth + 1);
    }
  }
}
