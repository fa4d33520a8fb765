import { isUtf8 } from 'node:buffer';

/**
 * One line of a file, without its end. `text` is absent where it can't be read, and `problem` says why; `bytes` are what
 * it holds, unless that is too much.
 */
export type Line = { line: number } & ({ text: string } | { problem: string; bytes?: Buffer });

/** Past this a line is no document: the document service takes 8 MiB of text, and JSON may write a byte as six. */
export const MAX_LINE_BYTES = 64 * 1024 * 1024;

const NEWLINE = 0x0a;

/** What is wrong with a record that holds other bytes. */
export const NOT_UTF8 = 'holds bytes that are not UTF-8; convert the file to UTF-8';

/**
 * Lines of JSON Lines, numbered from 1: "\n" or "\r\n" ends one and nothing else does. (Node's readline also splits at
 * U+2028 and U+2029, which JSON allows inside a string, and replaces what is not UTF-8 without a word.)
 *
 * @param after - lines up to this one are passed over
 */
export async function* readLines(bytes: AsyncIterable<Buffer>, after = 0): AsyncGenerator<Line> {
  let line = 0;
  let parts: Buffer[] = [];
  let length = 0;
  const add = (part: Buffer): void => {
    length += part.length;
    if (length <= MAX_LINE_BYTES) parts.push(part);
    else parts = [];
  };
  const take = (): Line | undefined => {
    line++;
    const taken = line > after ? decode(line, parts, length) : undefined;
    parts = [];
    length = 0;
    return taken;
  };
  for await (const chunk of bytes) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      add(chunk.subarray(start, end));
      start = end + 1;
      const taken = take();
      if (taken !== undefined) yield taken;
    }
    add(chunk.subarray(start));
  }
  if (length === 0) return;
  const taken = take();
  if (taken !== undefined) yield taken;
}

/** What is wrong with a record of more than {@link MAX_LINE_BYTES}. */
export function tooLong(bytes: number): string {
  return `has ${bytes} bytes; at most ${MAX_LINE_BYTES} are read, so split the document`;
}

function decode(line: number, parts: readonly Buffer[], length: number): Line {
  if (length > MAX_LINE_BYTES) {
    return {
      line,
      problem: tooLong(length),
    };
  }
  const whole = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  if (!isUtf8(whole)) return { line, problem: NOT_UTF8, bytes: whole };
  const text = whole.toString('utf8');
  return { line, text: text.endsWith('\r') ? text.slice(0, -1) : text };
}
