import { type Command, Option } from 'commander';
import { type Filter, FILTER_SYNTAX, parseFilter, ScalingnoteError } from '../../clients/index.ts';
import { UsageError } from '../output/print.ts';

/** Adds `--filter`, which may be repeated. */
export function withFilter(command: Command): Command {
  return command.addOption(
    new Option(
      '-f, --filter <condition>',
      `only documents that match: ${FILTER_SYNTAX}; repeat to add conditions`,
    )
      .argParser(collect)
      .default([], 'none'),
  );
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

/** Collects the values of a flag that may be repeated. A required flag has no default and starts without values. */
export function collect(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}
