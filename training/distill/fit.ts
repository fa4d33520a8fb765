import * as z from 'zod';
import { Batches } from '../batches.ts';
import { TrainingError } from '../errors.ts';
import type { Tensor } from '../onnx/tensor.ts';
import { readCheckpoint, type Settings, writeCheckpoint } from '../run-folder.ts';
import { runLoop } from '../run-loop.ts';
import { batchOf, meanCosine, type TrainingData } from './data.ts';
import type { Student } from './student.ts';

/** Held-out texts that are encoded at a time. */
const ENCODE_BATCH = 64;

/**
 * Held-out cosines that differ by less count as equal. The last of equals is taken: late in a schedule the weights have
 * settled, which helps texts that are unlike the held-out ones.
 */
const AS_GOOD = 1e-3;

/** One look at held-out texts. */
export interface CurvePoint {
  step: number;
  /** Mean since the last point; absent before the first step. */
  loss?: number | undefined;
  heldOutCosine: number;
}

const Progress = z.object({
  step: z.int().nonnegative(),
  /** Milliseconds of training so far. */
  elapsedMs: z.number(),
  curve: z.array(z.object({ step: z.number(), loss: z.number().optional(), heldOutCosine: z.number() })),
});

/** What a fit resumes from: how far it was, the trainer's state, and the weights of the best look. */
export type FitCheckpoint = Awaited<ReturnType<typeof readFitCheckpoint>>;

/** @throws {TrainingError} `CHECKPOINT_INVALID` where there is none, or it is of another run */
export function readFitCheckpoint(folder: string, settings: Settings) {
  return readCheckpoint(folder, settings, Progress, ['state', 'best']);
}

/** How far a fit is. */
export interface FitProgress {
  step: number;
  steps: number;
  /** Mean since the last look at held-out texts. */
  loss: number;
  /** At the last look. */
  heldOutCosine: number;
  /** Tokens of the texts, special ones included. */
  tokensPerSecond: number;
  /** Until the last step. */
  secondsLeft: number;
}

/** How to fit. */
export interface FitOptions {
  steps: number;
  batch: number;
  seed: number;
  /** Steps between two looks at held-out texts. */
  lookEvery: number;
  /** Looks in a row that find the student worse than it was after which the run ends. */
  patience: number;
  settings: Settings;
  /** Folder of the checkpoint. */
  folder: string;
  /** Where to go on from. */
  resumed?: FitCheckpoint | undefined;
  signal?: AbortSignal | undefined;
  log: (message: string) => void;
  onProgress?: ((progress: FitProgress) => void) | undefined;
}

/** How a fit ended. */
export interface FitResult {
  /** The last weights with a held-out cosine as good as the highest. */
  best: ReadonlyMap<string, Tensor>;
  /** Steps taken. */
  steps: number;
  curve: CurvePoint[];
  /** `interrupted` by the signal, which leaves a checkpoint; `diverged` when the loss became no number. */
  end: 'done' | 'early' | 'interrupted' | 'diverged';
}

/**
 * Trains a student until its steps are done, held-out texts find it worse than it was, the signal says so or the loss
 * is no number.
 *
 * @throws {TrainingError} `CHECKPOINT_FAILED` when it ends before its time and can't leave a checkpoint
 */
export async function fit(student: Student, data: TrainingData, options: FitOptions): Promise<FitResult> {
  const { steps, batch, seed, lookEvery, patience, folder, settings, resumed, signal, log, onProgress } =
    options;
  const lengthOf = (text: number): number => data.ids[text]!.length;
  const batches = new Batches(data.fitted, {
    size: batch,
    seed,
    lengthOf: student.padded ? lengthOf : undefined,
  });
  const from = resumed?.progress.step ?? 0;
  const begun = performance.now();
  const curve: CurvePoint[] = [...(resumed?.progress.curve ?? [])];
  let best: ReadonlyMap<string, Tensor> | undefined = resumed?.tensors.best;
  let losses = { sum: 0, count: 0 };
  let tokens = 0;
  let step = from;

  /** @returns whether the cosine is a number: weights may be too large for a vector while the loss is still finite. */
  const look = async (): Promise<boolean> => {
    const heldOutCosine = await measure(student, data);
    if (!Number.isFinite(heldOutCosine)) return false;
    curve.push({ step, ...(losses.count > 0 && { loss: losses.sum / losses.count }), heldOutCosine });
    losses = { sum: 0, count: 0 };
    if (best === undefined || bestOf(curve) === curve.at(-1)) best = student.weights();
    return true;
  };

  if (curve.length === 0 && !(await look())) {
    throw new TrainingError(
      'DIVERGED',
      'vectors of the teacher, or of the student before its first step, are not finite numbers',
    );
  }
  const end = await runLoop<'early' | 'diverged'>({
    from,
    steps,
    signal,
    log,
    take: (at) => student.step(batchOf(data, batches.at(at))),
    after: async (report) => {
      for (const row of batches.at(step)) tokens += data.ids[row]!.length;
      step = report.step;
      losses.sum += report.loss;
      losses.count++;
      const seconds = (performance.now() - begun) / 1000;
      onProgress?.({
        step,
        steps,
        loss: losses.sum / losses.count,
        heldOutCosine: curve.at(-1)!.heldOutCosine,
        tokensPerSecond: tokens / seconds,
        secondsLeft: (seconds / (step - from)) * (steps - step),
      });
      if (step % lookEvery !== 0 && step !== steps) return undefined;
      if (!(await look())) return 'diverged';
      return step < steps && isStale(curve, patience) ? 'early' : undefined;
    },
    save: () => {
      const elapsedMs = performance.now() - begun + (resumed?.progress.elapsedMs ?? 0);
      const tensors = { state: student.state(), best: best! };
      return writeCheckpoint(folder, settings, { progress: { step, elapsedMs, curve }, tensors });
    },
  });
  return { best: best!, steps: step, curve, end };
}

/** Mean cosine on the held-out texts. */
export async function measure(student: Pick<Student, 'encode'>, data: TrainingData): Promise<number> {
  const { heldOut, vectors, ids } = data;
  const order = [...heldOut].sort((a, b) => ids[a]!.length - ids[b]!.length);
  const { dimensions } = vectors;
  const found = new Float32Array(order.length * dimensions);
  for (let at = 0; at < order.length; at += ENCODE_BATCH) {
    const rows = order.slice(at, at + ENCODE_BATCH);
    found.set(await student.encode(rows.map((row) => ids[row]!)), at * dimensions);
  }
  return meanCosine(found, vectors.read(order), dimensions);
}

/** The last look with a cosine as good as the highest. */
export function bestOf(curve: readonly CurvePoint[]): CurvePoint {
  let best = curve[0]!;
  let highest = -Infinity;
  for (const point of curve) {
    if (point.heldOutCosine > highest - AS_GOOD) best = point;
    highest = Math.max(highest, point.heldOutCosine);
  }
  return best;
}

/**
 * The look before the first step does not count: what starts from another student loses at first, as the rate rises, and gets
 * it back as the rate falls.
 */
function isStale(curve: readonly CurvePoint[], patience: number): boolean {
  const cosines = curve.filter(({ step }) => step > 0).map(({ heldOutCosine }) => heldOutCosine);
  const highest = Math.max(...cosines);
  return cosines.length > patience && cosines.slice(-patience).every((cosine) => cosine <= highest - AS_GOOD);
}
