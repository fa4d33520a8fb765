import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Filter, FILTER_SYNTAX, parseFilter, ScalingnoteError } from '../../clients/index.ts';
import { UsageError } from '../output/print.ts';

/** A flag's whole number. The service checks its bounds. */
export function wholeNumber(value: string): number {
  return exact(value, /^\d+$/, 'It must be a whole number, at least 0.');
}

/** A flag's text that would mean nothing if it were empty: an empty variable of a shell, most often. */
export function notEmpty(value: string): string {
  if (value === '') throw new InvalidArgumentError('It is empty; give a value, or leave the flag out.');
  return value;
}

/** The parser of a flag's whole number within bounds. */
export function within(least: number, most: number): (value: string) => number {
  return (value) => {
    const number = /^\d+$/.test(value) ? Number(value) : Number.NaN;
    if (number >= least && number <= most) return number;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}

function exact(value: string, pattern: RegExp, otherwise: string): number {
  if (!pattern.test(value)) throw new InvalidArgumentError(otherwise);
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new InvalidArgumentError('It is beyond 2^53 - 1, where numbers are not exact.');
}

/** A decimal number, as JSON writes it and a little more loosely: neither hexadecimal nor blank. */
const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;

/** A flag's whole number above 0. */
export function positive(value: string): number {
  return exact(value, /^0*[1-9]\d*$/, 'It must be a whole number, at least 1.');
}

/** A flag's number above 0. */
export function positiveNumber(value: string): number {
  const number = Number(value);
  if (!(DECIMAL.test(value) && number > 0 && Number.isFinite(number)))
    throw new InvalidArgumentError('It must be a number above 0.');
  return number;
}

/** A flag's numbers above 0, with commas between them. */
export function positiveNumbers(value: string): number[] {
  const numbers = value.split(',').map(positiveNumber);
  if (new Set(numbers).size < numbers.length) {
    throw new InvalidArgumentError('A number is given twice; give it once.');
  }
  return numbers;
}

/** A flag's number. */
export function decimal(value: string): number {
  const number = Number(value);
  if (!DECIMAL.test(value) || !Number.isFinite(number))
    throw new InvalidArgumentError('It must be a number.');
  return number;
}

/** Collects the values of a flag that may be repeated. A required flag has no default and starts without values. */
export function collect(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}

/** Adds `--filter`, which may be repeated. */
export function withFilter(command: Command): Command {
  const help = `only documents that match: ${FILTER_SYNTAX}; repeat to add conditions`;
  const option = new Option('-f, --filter <condition>', help);
  return command.addOption(option.argParser(collect).default([], 'none'));
}

/** The filter that `--filter` flags describe; `undefined` if there are none. @throws {UsageError} naming the flag */
export function filterOf(flags: readonly string[]): Filter | undefined {
  try {
    return parseFilter(flags);
  } catch (error) {
    if (error instanceof ScalingnoteError) throw new UsageError(`--${error.message}`, { cause: error });
    throw error;
  }
}
