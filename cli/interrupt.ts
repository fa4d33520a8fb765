import { CliError, note } from './output/print.ts';

/** A second signal within this time repeats the first: supervisors signal a process and also its group. */
const SAME_SIGNAL_MS = 1_000;

/**
 * Runs something long. Ctrl-C or SIGTERM aborts the signal, so that the run saves what it has and ends; a second one
 * kills the process.
 *
 * @param advice - how to continue later
 * @throws {CliError} `interrupted; <advice>`
 */
export async function interruptible<T>(advice: string, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const reason = new CliError(`interrupted; ${advice}`);
  let interruptedAt = 0;
  const interrupt = (): void => {
    if (controller.signal.aborted) {
      // A model that is running blocks an orderly exit.
      if (performance.now() - interruptedAt > SAME_SIGNAL_MS) process.kill(process.pid, 'SIGKILL');
      return;
    }
    interruptedAt = performance.now();
    note('stopping at the next checkpoint; press Ctrl-C again to stop at once, without one');
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
