import type { Document__Output } from '../../../proto/generated/scalingnote/v1/Document.ts';
import type { DocumentDelete__Output } from '../../../proto/generated/scalingnote/v1/DocumentDelete.ts';
import type { DocumentPatch__Output } from '../../../proto/generated/scalingnote/v1/DocumentPatch.ts';
import { fromStruct, type JsonObject } from '../../../proto/struct.ts';
import { invalidArgument } from '../../runtime/errors.ts';
import {
  checkDocumentId,
  checkText,
  isBlank,
  MAX_METADATA_BYTES,
  MAX_TEXT_BYTES,
  MAX_TITLE_BYTES,
  parseTimestamp,
  parseVersion,
  quoted,
} from '../../runtime/validate.ts';
import { contentHash, encodingHash } from './content-hash.ts';
import { checkMetadata } from './metadata.ts';

/** A document that has passed all checks. */
export interface ValidDocument {
  id: string;
  title: string;
  text: string;
  metadata: JsonObject;
  version: number;
  /** When it expires, in milliseconds since the epoch. */
  expiresAt?: number;
  contentHash: string;
  encodingHash: string;
  /** Of title, text and metadata, in UTF-8. */
  bytes: number;
}

/** A change of metadata that has passed all checks which need no stored document. */
export interface ValidPatch {
  id: string;
  set: JsonObject;
  remove: readonly string[];
  version: number;
  /** Of keys and values, in UTF-8. */
  bytes: number;
}

/** @throws {ServiceError} `INVALID_ARGUMENT`, naming the field and the fix */
export function validDocument(document: Document__Output, omitText: boolean): ValidDocument {
  const { id, title, text } = document;
  checkDocumentId(id, 'document.id');
  const version = parseVersion(document.version, 'document.version');
  checkText('document.title', title, MAX_TITLE_BYTES);
  checkText('document.text', text, MAX_TEXT_BYTES);
  if (isBlank(title) && isBlank(text)) {
    throw invalidArgument(
      'document.text',
      'has no visible character, and neither has document.title; send at least one of them',
    );
  }
  const metadata = fromStruct(document.metadata);
  const metadataBytes = checkMetadata('document.metadata', metadata);
  const expiresAt =
    document.expiresAt === null ? undefined : parseTimestamp(document.expiresAt, 'document.expires_at');
  const encoded = encodingHash({ title, text });
  return {
    id,
    title,
    text,
    metadata,
    version,
    ...(expiresAt !== undefined && { expiresAt }),
    contentHash: contentHash({ encodingHash: encoded, metadata, omitText, expiresAt }),
    encodingHash: encoded,
    bytes: Buffer.byteLength(title) + Buffer.byteLength(text) + metadataBytes,
  };
}

/** @throws {ServiceError} `INVALID_ARGUMENT`, as {@link validDocument} */
export function validPatch(patch: DocumentPatch__Output): ValidPatch {
  const { id, remove } = patch;
  checkDocumentId(id, 'patch.id');
  const version = parseVersion(patch.version, 'patch.version');
  const set = fromStruct(patch.set);
  let bytes = checkMetadata('patch.set', set);
  remove.forEach((key, index) => {
    const field = `patch.remove[${index}]`;
    checkText(field, key, MAX_METADATA_BYTES);
    if (Object.hasOwn(set, key)) {
      throw invalidArgument(field, `is ${quoted(key)}, which patch.set sets; do one of the two`);
    }
    bytes += Buffer.byteLength(key);
  });
  if (bytes > 2 * MAX_METADATA_BYTES) {
    throw invalidArgument(
      'patch.remove',
      'names more keys than metadata can have; remove those that are there',
    );
  }
  return { id, set, remove, version, bytes };
}

/** @throws {ServiceError} `INVALID_ARGUMENT`, as {@link validDocument} */
export function validDelete({ id, version }: DocumentDelete__Output): { id: string; version: number } {
  checkDocumentId(id, 'delete.id');
  return { id, version: parseVersion(version, 'delete.version') };
}
