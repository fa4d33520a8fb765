import { hash } from 'node:crypto';
import type { JsonValue } from '../../../proto/struct.ts';
import { canonicalJson } from '../../../towers/json.ts';

/**
 * Raise this when the same document would be stored differently than before (other sparse terms, another payload). Every
 * document then counts as changed, and is written anew when its owner next sends it.
 */
const STORED_FORM = 2;

/** Raise this when the same title and text would be encoded differently than before, other than by the space. */
const ENCODED_FORM = 1;

/** Everything that decides what is stored of a document. */
export interface HashedContent {
  /** See {@link encodingHash}: title and text, so that a patch need not read them. */
  encodingHash: string;
  metadata: JsonValue;
  /** Option of the stream: texts are kept out of the store. */
  omitText: boolean;
  /** When it expires, in milliseconds since the epoch. */
  expiresAt?: number | undefined;
}

/**
 * Identity of a document's content: sha256 in base64url over canonical JSON. The version is not part of the content. The
 * space need not be, because a collection has only one.
 */
export function contentHash({
  encodingHash: encoded,
  metadata,
  omitText,
  expiresAt = -1,
}: HashedContent): string {
  return hash('sha256', canonicalJson([STORED_FORM, encoded, metadata, omitText, expiresAt]), 'base64url');
}

/** Identity of what is encoded of a document: sha256 in base64url over title and text. */
export function encodingHash({ title, text }: { title: string; text: string }): string {
  return hash('sha256', canonicalJson([ENCODED_FORM, title, text]), 'base64url');
}
