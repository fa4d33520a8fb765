import { CliError, note } from './output/print.ts';

/** What a shell says of a process that Ctrl-C ended. */
const EXIT_INTERRUPTED = 130;

/**
 * Runs something long that Ctrl-C or SIGTERM ends at the next place where it can leave what it has; a second one ends it
 * at once.
 *
 * @param advice - how to go on
 * @throws {CliError} `interrupted; <advice>`, with exit code 130
 */
export async function interruptible<T>(advice: string, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const reason = new CliError(`interrupted; ${advice}`);
  const interrupt = (): void => {
    if (controller.signal.aborted) process.exit(EXIT_INTERRUPTED);
    note('ending, with a checkpoint (Ctrl-C again: at once, without)');
    controller.abort(reason);
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  try {
    return await run(controller.signal);
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}
