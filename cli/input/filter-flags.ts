import type { Command } from 'commander';
import { type Filter, FILTER_SYNTAX, parseFilter, ScalingnoteError } from '../../clients/index.ts';
import { UsageError } from '../output/print.ts';

/** Adds `--filter`, which may be repeated. */
export function withFilter(command: Command): Command {
  return command.option(
    '-f, --filter <condition>',
    `${FILTER_SYNTAX}; repeat for more, all have to hold`,
    collect,
    [],
  );
}

/** What `--filter` flags stand for; `undefined` where there is none. @throws {UsageError} naming the flag */
export function filterOf(flags: readonly string[]): Filter | undefined {
  try {
    return parseFilter(flags);
  } catch (error) {
    if (error instanceof ScalingnoteError) throw new UsageError(`--${error.message}`, { cause: error });
    throw error;
  }
}

/** Collects a flag that may be repeated. One that has to be given has no default, and so nothing before it. */
export function collect(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}
