import { isUtf8 } from 'node:buffer';
import { MAX_LINE_BYTES, NOT_UTF8, tooLong } from '../../clients/lines.ts';

/** One record of a delimited text: its fields, or why it has none. `line` is the line that it begins on. */
export type DelimitedRecord = { line: number } & (
  | { fields: string[]; raw: () => string }
  | { problem: string; raw?: string | Buffer }
);

const QUOTE = 0x22;
const NEWLINE = 0x0a;
const RETURN = 0x0d;

/**
 * Cuts delimited text into records (RFC 4180). "\n", "\r\n" and "\r" end a line, also mixed. A quote in the middle of a
 * field is a part of it. A field that begins with a quote may hold delimiters, line ends and doubled quotes. If its
 * closing quote is missing, which is seen where text follows a quote some lines below, or at the end, then only the line
 * where it opened is lost: reading goes on with the line after.
 *
 * (csv-parse names the line where it noticed, and what it took for the field is gone by then.)
 */
export class CsvScanner {
  readonly #delimiter: Buffer;
  #buffer = Buffer.alloc(0);
  /** Where the record begins, where the scan is, and where the bytes end. */
  #begin = 0;
  #at = 0;
  #end = 0;
  #final = false;
  /** Line of the record's beginning, and of its last quote that opened a field. */
  #line = 1;
  #mode: 'start' | 'plain' | 'quoted' | 'after' = 'start';
  #field = { begin: 0, quoteEnd: 0, escaped: false };
  #fields: { begin: number; end: number; quoted: boolean; escaped: boolean }[] = [];
  /** Bytes of the record that were let go because it is too long. */
  #dropped = 0;
  /** Line ends in them. */
  #droppedLines = 0;

  /** @param delimiter - one character or more */
  constructor(delimiter: string) {
    this.#delimiter = Buffer.from(delimiter);
  }

  /** The records that are complete now. */
  *push(chunk: Buffer): Generator<DelimitedRecord> {
    this.#append(chunk);
    yield* this.#scan();
  }

  /** The records at the end. */
  *finish(): Generator<DelimitedRecord> {
    this.#final = true;
    yield* this.#scan();
  }

  #append(chunk: Buffer): void {
    const kept = this.#end - this.#begin;
    if (this.#end + chunk.length > this.#buffer.length) {
      const size = kept + chunk.length;
      const target = size > this.#buffer.length / 2 ? Buffer.allocUnsafe(2 * size) : this.#buffer;
      this.#buffer.copy(target, 0, this.#begin, this.#end);
      this.#move(-this.#begin);
      this.#buffer = target;
    }
    chunk.copy(this.#buffer, this.#end);
    this.#end += chunk.length;
  }

  #move(by: number): void {
    if (by === 0) return;
    this.#begin += by;
    this.#at += by;
    this.#end += by;
    this.#field.begin += by;
    this.#field.quoteEnd += by;
    for (const field of this.#fields) {
      field.begin += by;
      field.end += by;
    }
  }

  *#scan(): Generator<DelimitedRecord> {
    for (;;) {
      const step = this.#step();
      if (step === 'more') {
        if (this.#end - this.#begin > MAX_LINE_BYTES) this.#drop();
        return;
      }
      if (step === undefined) continue;
      if (step === 'end') return;
      yield step;
    }
  }

  /** One step of the scan: a record, or `more` where bytes are missing. */
  #step(): DelimitedRecord | 'more' | 'end' | undefined {
    switch (this.#mode) {
      case 'start':
        return this.#start();
      case 'plain':
        return this.#plain();
      case 'quoted':
        return this.#quoted();
      case 'after':
        return this.#after();
    }
  }

  #start(): DelimitedRecord | 'more' | 'end' | undefined {
    if (this.#at === this.#end && !this.#final) return 'more';
    if (this.#at === this.#end && this.#begin === this.#end && this.#dropped === 0) return 'end';
    this.#field = { begin: this.#at, quoteEnd: 0, escaped: false };
    if (this.#buffer[this.#at] === QUOTE && this.#at < this.#end) {
      this.#mode = 'quoted';
      this.#at++;
    } else {
      this.#mode = 'plain';
    }
    return undefined;
  }

  #plain(): DelimitedRecord | 'more' | undefined {
    const buffer = this.#buffer;
    const first = this.#delimiter[0]!;
    for (; this.#at < this.#end; this.#at++) {
      const byte = buffer[this.#at];
      if (byte === first || byte === NEWLINE || byte === RETURN) {
        const ended = this.#ending(false);
        if (ended !== false) return ended;
      }
    }
    return this.#final ? this.#closeRecord(0) : 'more';
  }

  #quoted(): 'more' | DelimitedRecord | undefined {
    const found = this.#buffer.subarray(0, this.#end).indexOf(QUOTE, this.#at);
    if (found === -1) {
      this.#at = this.#end;
      return this.#final ? this.#unclosed() : 'more';
    }
    if (found + 1 === this.#end && !this.#final) {
      this.#at = found;
      return 'more';
    }
    if (found + 1 < this.#end && this.#buffer[found + 1] === QUOTE) {
      this.#field.escaped = true;
      this.#at = found + 2;
      return undefined;
    }
    this.#field.quoteEnd = found;
    this.#at = found + 1;
    this.#mode = 'after';
    return undefined;
  }

  #after(): DelimitedRecord | 'more' | undefined {
    if (this.#at === this.#end) return this.#final ? this.#closeRecord(0) : 'more';
    const ended = this.#ending(true);
    if (ended !== false) return ended;
    if (this.#dropped === 0 && !this.#hasLineEnd(this.#field.begin, this.#at)) {
      // A quotation at the beginning of a field that is not quoted.
      this.#field.quoteEnd = 0;
      this.#mode = 'plain';
      return undefined;
    }
    return this.#unclosed();
  }

  /** Closes field or record where the scan is at an end of one; false where it is not. */
  #ending(quoted: boolean): DelimitedRecord | 'more' | undefined | false {
    const byte = this.#buffer[this.#at];
    if (byte === NEWLINE) return this.#closeRecord(1);
    if (byte === RETURN) {
      if (this.#at + 1 === this.#end && !this.#final) return 'more';
      return this.#closeRecord(this.#at + 1 < this.#end && this.#buffer[this.#at + 1] === NEWLINE ? 2 : 1);
    }
    const { length } = this.#delimiter;
    const here = this.#buffer.subarray(this.#at, Math.min(this.#at + length, this.#end));
    if (here.length < length && !this.#final && this.#delimiter.subarray(0, here.length).equals(here))
      return 'more';
    if (!here.equals(this.#delimiter)) return false;
    this.#closeField(quoted);
    this.#at += length;
    this.#mode = 'start';
    return undefined;
  }

  #closeField(quoted: boolean): void {
    const { begin, quoteEnd, escaped } = this.#field;
    this.#fields.push(
      quoted
        ? { begin: begin + 1, end: quoteEnd, quoted, escaped }
        : { begin, end: this.#at, quoted, escaped: false },
    );
  }

  /** @param ending - length of the line end; 0 at the end of the file */
  #closeRecord(ending: number): DelimitedRecord | undefined {
    const end = this.#at;
    this.#closeField(this.#mode === 'after');
    const fields = this.#fields;
    const begin = this.#begin;
    const line = this.#line;
    const dropped = this.#dropped;
    // A line end inside a record stands in a quoted field.
    const inside = fields.some(({ quoted }) => quoted) ? this.#countLines(begin, end) : 0;
    this.#restart(end + ending, line + this.#droppedLines + inside + (ending > 0 ? 1 : 0));
    if (dropped > 0) return { line, problem: tooLong(dropped + end - begin) };
    const [only] = fields;
    if (fields.length === 1 && !only!.quoted && only!.begin === only!.end) return undefined;
    const bytes = this.#buffer.subarray(begin, end);
    if (!isUtf8(bytes)) return { line, problem: NOT_UTF8, raw: Buffer.from(bytes) };
    const texts = fields.map((field) => {
      const text = this.#buffer.toString('utf8', field.begin, field.end);
      return field.escaped ? text.replaceAll('""', '"') : text;
    });
    return { line, fields: texts, raw: () => joinFields(texts, this.#delimiter.toString()) };
  }

  /** The field that the scan is in began with a quote that nothing closes. */
  #unclosed(): DelimitedRecord {
    const opened = this.#line + this.#droppedLines + this.#countLines(this.#begin, this.#field.begin);
    if (this.#dropped > 0) {
      const last = this.#line + this.#droppedLines + this.#countLines(this.#begin, this.#at);
      const line = this.#line;
      this.#restart(this.#lineAfter(this.#at), last + 1);
      return {
        line,
        problem: `opens a quote that is not closed within ${MAX_LINE_BYTES} bytes, so lines ${line} to ${last} were not read; close it and load the file again`,
      };
    }
    const next = this.#lineAfter(this.#field.begin);
    const bytes = Buffer.from(this.#buffer.subarray(this.#begin, next));
    this.#restart(next, opened + 1);
    return {
      line: opened,
      problem: 'opens a quote that nothing closes; close it, or write "" for a quote inside a quoted field',
      raw: isUtf8(bytes) ? bytes.toString('utf8').replace(/[\r\n]+$/, '') : bytes,
    };
  }

  #restart(at: number, line: number): void {
    this.#begin = at;
    this.#at = at;
    this.#line = line;
    this.#mode = 'start';
    this.#fields = [];
    this.#dropped = 0;
    this.#droppedLines = 0;
  }

  /** Lets go of a record that is too long, but for the last byte, which may be half a line end. */
  #drop(): void {
    const keep = Math.max(this.#begin, this.#at - 1);
    this.#droppedLines += this.#countLines(this.#begin, keep);
    this.#dropped += keep - this.#begin;
    this.#begin = keep;
    this.#fields = [];
    this.#field.begin = keep;
  }

  /** Where the line after a place begins, or the bytes end. */
  #lineAfter(place: number): number {
    for (let at = place; at < this.#end; at++) {
      const byte = this.#buffer[at];
      if (byte === NEWLINE) return at + 1;
      if (byte === RETURN) return this.#buffer[at + 1] === NEWLINE && at + 1 < this.#end ? at + 2 : at + 1;
    }
    return this.#end;
  }

  #hasLineEnd(from: number, to: number): boolean {
    return this.#lineAfter(from) < to;
  }

  #countLines(from: number, to: number): number {
    let lines = 0;
    for (let at = from; at < to; at++) {
      const byte = this.#buffer[at];
      if (byte === NEWLINE || (byte === RETURN && this.#buffer[at + 1] !== NEWLINE)) lines++;
    }
    return lines;
  }
}

/** Writes a record as delimited text. */
export function joinFields(fields: readonly string[], delimiter: string): string {
  return fields
    .map((field) =>
      /["\r\n]/.test(field) || field.includes(delimiter) ? `"${field.replaceAll('"', '""')}"` : field,
    )
    .join(delimiter);
}
