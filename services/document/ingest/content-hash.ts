import { hash } from 'node:crypto';
import type { JsonValue } from '../../../proto/struct.ts';
import { canonicalJson } from '../../../towers/space.ts';

/**
 * Raise this when the same document would be stored differently than before (other sparse terms, another payload):
 * every document then counts as changed once, and is written anew when its owner sends it.
 */
const STORED_FORM = 1;

/** What makes a stored document what it is, as far as its owner and the stream's options decide. */
export interface HashedContent {
  title: string;
  text: string;
  metadata: JsonValue;
  /** Option of the stream: passages are stored without their text. */
  omitText: boolean;
}

/**
 * Identity of a document's content: sha256 in base64url over canonical JSON. The space is not part of it, for a
 * collection has only one; neither is the version, which orders contents and is none.
 */
export function contentHash({ title, text, metadata, omitText }: HashedContent): string {
  return hash('sha256', canonicalJson([STORED_FORM, title, text, metadata, omitText]), 'base64url');
}
