import { parseExactly } from './exact-json.ts';
import { readLines } from './lines.ts';
import { type RecordOperation, toOperation } from './record-operation.ts';

export { RECORD_KEYS } from './record-operation.ts';

/**
 * One record of a file: a document or a change of one, or why it is neither. `line` is the line that it ends on, from 1.
 */
export type DocumentRecord = { line: number } & ({ document: RecordOperation } | { problem: string });

/**
 * Reads JSON Lines: one object a line; see {@link toOperation}. Empty lines are passed over; a line that is no operation
 * is a problem of its own, and the rest goes on.
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

/** What was read as a record: what `read` throws, and what is no operation, is the record's problem. */
export function toRecord(line: number, read: () => unknown): DocumentRecord {
  try {
    return { line, document: toOperation(read()) };
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
