import { CliError, note } from './output/print.ts';

/** A second signal that comes sooner is the first one again: supervisors signal a process and its group. */
const SAME_SIGNAL_MS = 1_000;

/**
 * Runs something long that Ctrl-C or SIGTERM ends at the next place where it can leave what it has; a second one ends it
 * at once.
 *
 * @param advice - how to go on
 * @throws {CliError} `interrupted; <advice>`
 */
export async function interruptible<T>(advice: string, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const reason = new CliError(`interrupted; ${advice}`);
  let interruptedAt = 0;
  const interrupt = (): void => {
    if (controller.signal.aborted) {
      // No handler runs any more: a model that is running can't be left by an orderly exit.
      if (performance.now() - interruptedAt > SAME_SIGNAL_MS) process.kill(process.pid, 'SIGKILL');
      return;
    }
    interruptedAt = performance.now();
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
