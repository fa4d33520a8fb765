import type { JsonObject } from '../../../proto/struct.ts';
import type { FullDocument } from '../../../store/document.ts';
import { contentHash } from './content-hash.ts';
import type { ValidDocument, ValidPatch } from './document.ts';
import { checkMetadataBytes, patchedMetadata } from './metadata.ts';

/** What is stored of a document, or will be once its operations are written: all that a patch needs. */
export interface Content {
  contentHash: string;
  encodingHash: string;
  metadata: JsonObject;
  expiresAt?: number;
  omitText: boolean;
}

/** The content of a document that came in. */
export function contentOf(document: ValidDocument, omitText: boolean): Content {
  const { encodingHash, metadata, expiresAt, contentHash: own } = document;
  return {
    contentHash: own,
    encodingHash,
    metadata,
    omitText,
    ...(expiresAt !== undefined && { expiresAt }),
  };
}

/** The content of a document that is stored. */
export function storedContent(document: FullDocument): Content {
  const { contentHash: own, expiresAt } = document;
  return {
    contentHash: own,
    // Before layout 2 nobody kept it. What stands in for it equals no document's, so the next whole one is encoded.
    encodingHash: document.encodingHash ?? `before layout 2: ${own}`,
    metadata: document.metadata as JsonObject,
    omitText: document.textOmitted,
    ...(expiresAt !== undefined && { expiresAt }),
  };
}

/**
 * The content after a patch; `undefined` where it changes nothing.
 *
 * @throws {ServiceError} `INVALID_ARGUMENT` where the metadata become too long
 */
export function patchedContent(content: Content, patch: ValidPatch): Content | undefined {
  const metadata = patchedMetadata(content.metadata, patch);
  if (metadata === undefined) return undefined;
  checkMetadataBytes('patch.set, with what the document has', metadata);
  return { ...content, metadata, contentHash: contentHash({ ...content, metadata }) };
}
