import { isUtf8 } from 'node:buffer';
import { MAX_LINE_BYTES, NOT_UTF8, readLines, tooLong } from '../../clients/lines.ts';
import { parseJson } from '../../clients/records.ts';
import { BrokenSource } from './broken-source.ts';
import { RecordCount, type Row, toRow } from './rows.ts';

/** Records of JSON Lines: a value on each line that is not empty. */
export async function* jsonLineRows(
  bytes: AsyncIterable<Buffer>,
  count = new RecordCount(),
): AsyncGenerator<Row> {
  for await (const read of readLines(bytes)) {
    const { line } = read;
    if ('problem' in read) {
      if (count.next()) yield { record: count.record, line, problem: read.problem, raw: read.bytes };
    } else if (read.text.trim() !== '' && count.next()) {
      yield toRow(count.record, line, read.text, () => parseJson(read.text));
    }
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const NEWLINE = 0x0a;
const OPEN = new Set([0x5b, 0x7b]);
const CLOSE = new Set([0x5d, 0x7d]);
const CLOSE_ARRAY = 0x5d;
/** White space of JSON, and the byte order mark. */
const BLANK = new Set([0x20, 0x09, NEWLINE, 0x0d, 0xef, 0xbb, 0xbf]);

/**
 * Records of one JSON array: its elements, one after the other, so that memory holds one of them. An element that is no
 * JSON is a problem of its own, up to the next comma outside all brackets.
 *
 * @throws {BrokenSource} where the array is not closed, or something comes after it
 */
export async function* jsonArrayRows(
  bytes: AsyncIterable<Buffer>,
  count = new RecordCount(),
): AsyncGenerator<Row> {
  let state: 'before' | 'inside' | 'behind' = 'before';
  let line = 1;
  let element: Element | undefined;
  /** Whether a comma came last: then an element has to come. */
  let owed = false;
  for await (const chunk of bytes) {
    /** Where the element goes on in this chunk. */
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (byte === NEWLINE) line++;
      if (element === undefined) {
        if (BLANK.has(byte)) continue;
        if (state === 'behind')
          throw new BrokenSource(`has something after its array, in line ${line}; remove it`);
        if (state === 'before') {
          state = 'inside';
          continue;
        }
        if (byte === CLOSE_ARRAY && !owed) {
          state = 'behind';
          continue;
        }
        element = new Element(line);
        start = at;
      }
      if (element.take(byte)) continue;
      element.add(chunk.subarray(start, at));
      if (count.next()) yield element.row(count.record);
      element = undefined;
      owed = byte === COMMA;
      if (byte === CLOSE_ARRAY) state = 'behind';
    }
    element?.add(chunk.subarray(start));
  }
  if (state === 'behind') return;
  const where =
    element === undefined ? `in line ${line}` : `in the element that begins in line ${element.line}`;
  throw new BrokenSource(
    `unexpected end of file: its array ends ${where}, without "]"; fetch the file again`,
  );
}

/** An element of an array, byte by byte. */
class Element {
  readonly line: number;
  #parts: Buffer[] = [];
  #length = 0;
  #depth = 0;
  #quoted = false;
  #escaped = false;

  constructor(line: number) {
    this.line = line;
  }

  /** Looks at a byte. @returns whether it belongs to the element */
  take(byte: number): boolean {
    if (this.#quoted) {
      if (this.#escaped) this.#escaped = false;
      else if (byte === BACKSLASH) this.#escaped = true;
      else if (byte === QUOTE) this.#quoted = false;
      return true;
    }
    if (byte === QUOTE) this.#quoted = true;
    else if (OPEN.has(byte)) this.#depth++;
    else if (this.#depth === 0) return byte !== COMMA && byte !== CLOSE_ARRAY;
    else if (CLOSE.has(byte)) this.#depth--;
    return true;
  }

  add(part: Buffer): void {
    this.#length += part.length;
    if (this.#length <= MAX_LINE_BYTES) this.#parts.push(part);
    else this.#parts = [];
  }

  row(record: number): Row {
    const { line } = this;
    if (this.#length > MAX_LINE_BYTES) return { record, line, problem: tooLong(this.#length) };
    const whole = Buffer.concat(this.#parts);
    if (!isUtf8(whole)) return { record, line, problem: NOT_UTF8, raw: whole };
    const text = whole.toString('utf8').trim();
    if (text === '') return { record, line, problem: 'is empty: a comma too many', raw: '' };
    return toRow(record, line, text, () => parseJson(text));
  }
}
