import { parseExactly } from './exact-json.ts';
import { readLines } from './lines.ts';
import type { DocumentInput } from './operation.ts';

/** One record of a file: a document, or why it is none. `line` is the line that it ends on, from 1. */
export type DocumentRecord = { line: number } & ({ document: DocumentInput } | { problem: string });

/** What a record may hold; `_id` is how BEIR's files call the identifier. */
export const RECORD_KEYS: ReadonlySet<string> = new Set('_id id title text metadata version'.split(' '));

/**
 * Reads JSON Lines: one object a line with `id` (or `_id`), `title`, `text`, `metadata`, `version`. Empty lines are
 * passed over; a line that is no document is a problem of its own, and the rest goes on.
 *
 * @param bytes - UTF-8, in chunks cut anywhere
 * @param after - lines up to this one are passed over
 */
export async function* readJsonLines(
  bytes: AsyncIterable<Buffer>,
  after = 0,
): AsyncGenerator<DocumentRecord> {
  for await (const read of readLines(bytes, after)) {
    if ('problem' in read) yield read;
    else if (read.text.trim() !== '') yield toRecord(read.line, () => parseJson(read.text));
  }
}

/** What was read as a record: what `read` throws, and what is no document, is the record's problem. */
export function toRecord(line: number, read: () => unknown): DocumentRecord {
  try {
    return { line, document: toDocument(read()) };
  } catch (error) {
    return { line, problem: (error as Error).message };
  }
}

/** One JSON value, kept exactly. @throws {Error} where it is none, or would be changed by reading it */
export function parseJson(text: string): unknown {
  try {
    return parseExactly(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    if (error instanceof RangeError) throw new Error('is nested too deep', { cause: error });
    if (!(error instanceof SyntaxError)) throw error;
    throw new Error(`is not JSON: ${error.message}`, { cause: error });
  }
}

/** @throws {Error} naming the key and the fix */
function toDocument(value: unknown): DocumentInput {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Error('is not a JSON object; write {"id": ..., "title": ..., "text": ...}');
  }
  const object = value as Record<string, unknown>;
  const unknown = Object.keys(object).find((key) => !RECORD_KEYS.has(key));
  if (unknown !== undefined) {
    throw new Error(`key "${unknown}" is not known; put it under "metadata" to keep it`);
  }
  if (object['_id'] !== undefined && object['id'] !== undefined) {
    throw new Error('"_id" and "id" are the same thing; keep one of them');
  }
  const { _id, id = _id, title = '', text = '', metadata = {}, version = 0 } = object;
  if (typeof id !== 'string' || id === '') throw new Error('"id" must be a text that is not empty');
  if (typeof title !== 'string') throw new Error('"title" must be a text');
  if (typeof text !== 'string') throw new Error('"text" must be a text');
  if (typeof version !== 'number') throw new Error('"version" must be a number');
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) {
    throw new Error('"metadata" must be an object');
  }
  return { id, title, text, version, metadata: metadata as Record<string, unknown> };
}
