import { styleText } from 'node:util';

/** A failure that one line explains fully. */
export class CliError extends Error {
  override readonly name: string = 'CliError';
}

/** Flags or arguments that contradict each other: wrong usage, exit 2. */
export class UsageError extends CliError {}

/** Writes one JSON document to standard output. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** Prints the result of a command: one JSON document with `--json`, otherwise text for people. */
export function printResult({ json }: { json?: boolean }, value: unknown, text: () => string): void {
  if (json === true) printJson(value);
  else process.stdout.write(`${text()}\n`);
}

/** Moves to the beginning of a terminal's line and clears it. */
export const CLEAR_LINE = '\r\u001B[K';

/** Writes a line for people to standard error, so that it never mixes with results. It replaces a progress bar. */
export function note(line: string): void {
  process.stderr.write(`${process.stderr.isTTY ? CLEAR_LINE : ''}${line}\n`);
}

/** Styles text where standard output is a terminal that wants colour (https://no-color.org). */
export function style(format: 'bold' | 'dim' | 'green' | 'red' | 'yellow', text: string): string {
  const wanted = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
  return wanted ? styleText(format, text) : text;
}

/** Rows under a head, in columns as wide as their widest cell; numbers to the right. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = [head, ...rows.map((row) => row.map(String))];
  const widths = head.map((_, column) => Math.max(...cells.map((row) => (row[column] ?? '').length)));
  return cells
    .map((row, index) => {
      const line = row
        .map((cell, column) => {
          const width = widths[column] ?? 0;
          return typeof rows[0]?.[column] === 'number' ? cell.padStart(width) : cell.padEnd(width);
        })
        .join('  ')
        .trimEnd();
      return index === 0 ? style('bold', line) : line;
    })
    .join('\n');
}

/** Without control characters but line breaks and tabs: the text is somebody else's and could steer the terminal. */
export function printable(text: string): string {
  return text.replaceAll(/[^\P{Cc}\n\t]/gu, '');
}

/**
 * A text in one line, cut to a width, with an ellipsis if it was longer. White space becomes a space. Control characters are
 * removed, because the text is somebody else's and could steer the terminal.
 */
export function clip(text: string, width: number): string {
  const line = text.replaceAll(/\s+/g, ' ').replaceAll(/\p{Cc}/gu, '');
  const characters = Array.from(line.slice(0, 2 * width + 2));
  return characters.length <= width ? characters.join('') : `${characters.slice(0, width - 1).join('')}…`;
}
