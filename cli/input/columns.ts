import { numberProblem } from '../../clients/exact-json.ts';
import { UsageError } from '../output/print.ts';

/** What a column of a text file holds. A date stays the text that it is, and is one for certain. */
export const COLUMN_TYPES = ['number', 'boolean', 'date', 'text'] as const;
export type ColumnType = (typeof COLUMN_TYPES)[number];

/** A number of JSON: "007" and "+5" are texts. */
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const BOOLEAN = /^(?:true|false)$/i;
const DATE = /^(?<day>\d{4}-\d{2}-\d{2})(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?$/;

/** Finds out what a column holds, value by value. An empty value says nothing. */
export class TypeGuess {
  readonly #possible = new Set<ColumnType>(['number', 'boolean', 'date']);
  #values = 0;

  add(value: string): void {
    if (value === '') return;
    this.#values++;
    for (const type of this.#possible) if (problemOf(type, value) !== undefined) this.#possible.delete(type);
  }

  /** The type that fits all of them; text where several do, or there were none. */
  get type(): ColumnType {
    const [type = 'text'] = this.#possible;
    return this.#values === 0 ? 'text' : type;
  }
}

/** A value as its column's type has it; `undefined` where it is empty and no text. @throws {Error} where it does not fit */
export function typed(value: string, type: ColumnType, column: string): unknown {
  if (type === 'text') return value;
  if (value === '') return undefined;
  const problem = problemOf(type, value);
  if (problem !== undefined) {
    throw new Error(
      `column "${column}" holds ${type}s, and here ${problem}; mend it, or load the column with --columns ${column}=text`,
    );
  }
  if (type === 'number') return Number(value);
  if (type === 'boolean') return value.toLowerCase() === 'true';
  return value;
}

function problemOf(type: ColumnType, value: string): string | undefined {
  const shown = JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (type === 'number') return NUMBER.test(value) ? numberProblem(value) : shown;
  if (type === 'boolean') return BOOLEAN.test(value) ? undefined : shown;
  if (type === 'date') return isDate(value) ? undefined : shown;
  return undefined;
}

function isDate(value: string): boolean {
  const day = DATE.exec(value)?.groups?.['day'];
  if (day === undefined) return false;
  const date = new Date(`${day}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(day);
}

/** The types that `--columns price=text,stock=number` states. @throws {UsageError} */
export function parseColumnTypes(flags: readonly string[]): Map<string, ColumnType> {
  const types = new Map<string, ColumnType>();
  for (const part of flags.flatMap((flag) => flag.split(','))) {
    const at = part.lastIndexOf('=');
    const column = part.slice(0, at).trim();
    const type = part.slice(at + 1).trim() as ColumnType;
    if (at < 1 || !COLUMN_TYPES.includes(type)) {
      throw new UsageError(
        `--columns ${part}: write NAME=TYPE, and TYPE is one of ${COLUMN_TYPES.join(', ')}`,
      );
    }
    if (types.has(column)) throw new UsageError(`--columns names "${column}" twice`);
    types.set(column, type);
  }
  return types;
}
