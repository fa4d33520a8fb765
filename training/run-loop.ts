import { setImmediate as nextTurn } from 'node:timers/promises';
import type { TrainingError } from './errors.ts';
import type { StepReport } from './gradient/trainer.ts';

/** How much work a crash may cost, in milliseconds. */
const CHECKPOINT_INTERVAL_MS = 60_000;

/** What happens in a run. */
export interface RunLoop<End extends string> {
  /** Steps that were taken before. */
  from: number;
  /** Steps of the whole run. */
  steps: number;
  signal: AbortSignal | undefined;
  log: (message: string) => void;
  /** Takes the step after so many. It may throw once the signal has ended the run. */
  take: (step: number) => Promise<StepReport>;
  /** Looks at what a step has come to. @returns how the run ends, if it does before its last step */
  after: (report: StepReport) => Promise<End | undefined>;
  /** Writes a checkpoint. @throws {TrainingError} `CHECKPOINT_FAILED` */
  save: () => Promise<void>;
}

/**
 * Takes the steps of a run, with a checkpoint now and then.
 *
 * @returns `interrupted` when the signal ended it: then there is a checkpoint; `diverged` when loss or gradient is not finite
 * @throws {TrainingError} `CHECKPOINT_FAILED` when it is interrupted and can't leave a checkpoint; what `take` throws
 */
export async function runLoop<End extends string>(
  run: RunLoop<End>,
): Promise<End | 'done' | 'interrupted' | 'diverged'> {
  const { steps, signal, log, take, after, save } = run;
  let step = run.from;
  let savedAt = performance.now();
  while (step < steps) {
    let report: StepReport;
    try {
      signal?.throwIfAborted();
      report = await take(step);
    } catch (error) {
      // A failure that comes while the signal is aborted is a failure all the same.
      if (signal?.aborted !== true || error !== signal.reason) throw error;
      await save();
      return 'interrupted';
    }
    if (!Number.isFinite(report.loss) || !Number.isFinite(report.gradientNorm)) return 'diverged';
    step = report.step;
    const end = await after(report);
    if (end !== undefined) return end;
    if (step < steps && performance.now() - savedAt > CHECKPOINT_INTERVAL_MS) {
      await trySave(save, log);
      savedAt = performance.now();
    }
    // A run blocks the event loop: signals that came meanwhile are handled here.
    await nextTurn();
  }
  return 'done';
}

/** Writes a checkpoint if it can: the disk may be full now and have room when the run ends. */
export function trySave(save: () => Promise<void>, log: (message: string) => void): Promise<void> {
  return save().catch((error: TrainingError) => log(`${error.message}; training goes on without a new one`));
}
