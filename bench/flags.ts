import { BenchUsageError } from './report.ts';

/** A count that a flag gives. @throws {BenchUsageError} where it is no whole number from 1 on */
export function readCount(name: string, given: string | undefined, standard: number): number {
  if (given === undefined) return standard;
  const count = Number(given);
  if (Number.isSafeInteger(count) && count > 0) return count;
  throw new BenchUsageError(`--${name} is "${given}"; give a whole number from 1 on`);
}
