import { setImmediate as nextTurn } from 'node:timers/promises';
import { TrainingError } from '../errors.ts';
import type { Tensor } from '../onnx/tensor.ts';
import { writeCheckpoint, type Checkpoint, type CurvePoint, type Progress } from './checkpoint.ts';
import { batchOf, Batches, meanCosine, type TrainingData } from './data.ts';
import type { Student } from './student.ts';

/** Held-out texts that are encoded at a time. */
const ENCODE_BATCH = 64;

/**
 * Held-out cosines that differ by less are as good. Of those the last is taken: late in a schedule weights have settled,
 * which texts unlike those that are held out gain by.
 */
const AS_GOOD = 1e-3;

/** How long a crash may throw a run back, in milliseconds. */
const CHECKPOINT_INTERVAL_MS = 60_000;

/** How far a run is. */
export interface RunProgress {
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

/** How a run goes. */
export interface RunOptions {
  steps: number;
  batch: number;
  seed: number;
  /** Steps between two looks at held-out texts. */
  lookEvery: number;
  /** Looks in a row that find the student worse than it was after which the run ends. */
  patience: number;
  settings: Progress['settings'];
  /** File of the checkpoint. */
  checkpoint: string;
  /** Where to go on from. */
  resumed?: Checkpoint | undefined;
  signal?: AbortSignal | undefined;
  log: (message: string) => void;
  onProgress?: ((progress: RunProgress) => void) | undefined;
}

/** How a run ended. */
export interface RunResult {
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
export async function runTraining(
  student: Student,
  data: TrainingData,
  options: RunOptions,
): Promise<RunResult> {
  const { steps, batch, seed, lookEvery, patience, resumed, signal, log, onProgress } = options;
  const batches = new Batches(data, { size: batch, seed, sorted: student.padded });
  const started = performance.now() - (resumed?.elapsedMs ?? 0);
  const curve = [...(resumed?.curve ?? [])];
  let best = resumed?.best;
  let step = resumed?.step ?? 0;
  let savedAt = performance.now();
  let losses = { sum: 0, count: 0 };
  let tokens = 0;
  const begun = { step, at: performance.now() };

  /** @returns whether there is anything to see: weights may be too large for a vector while the loss is still a number. */
  const look = async (): Promise<boolean> => {
    const heldOutCosine = await measure(student, data);
    if (!Number.isFinite(heldOutCosine)) return false;
    curve.push({ step, ...(losses.count > 0 && { loss: losses.sum / losses.count }), heldOutCosine });
    losses = { sum: 0, count: 0 };
    if (best === undefined || bestOf(curve) === curve.at(-1)) best = student.weights();
    return true;
  };
  const save = (): Promise<void> =>
    writeCheckpoint(options.checkpoint, {
      settings: options.settings,
      step,
      elapsedMs: performance.now() - started,
      curve,
      state: student.state(),
      best: best!,
    });
  const finish = async (end: RunResult['end']): Promise<RunResult> => {
    if (end === 'interrupted') await save();
    return { best: best!, steps: step, curve, end };
  };

  if (curve.length === 0 && !(await look())) {
    throw new TrainingError(
      'DIVERGED',
      'vectors of the teacher, or of the student before its first step, are no numbers',
    );
  }
  while (step < steps) {
    if (signal?.aborted === true) return finish('interrupted');
    const rows = batches.at(step);
    const report = await student.step(batchOf(data, rows));
    if (!Number.isFinite(report.loss) || !Number.isFinite(report.gradientNorm)) return finish('diverged');
    step = report.step;
    losses.sum += report.loss;
    losses.count++;
    for (const row of rows) tokens += data.ids[row]!.length;
    const seconds = (performance.now() - begun.at) / 1000;
    onProgress?.({
      step,
      steps,
      loss: losses.sum / losses.count,
      heldOutCosine: curve.at(-1)!.heldOutCosine,
      tokensPerSecond: tokens / seconds,
      secondsLeft: (seconds / (step - begun.step)) * (steps - step),
    });
    if (step % lookEvery === 0 || step === steps) {
      if (!(await look())) return finish('diverged');
      if (step < steps && isStale(curve, patience)) return finish('early');
      if (step < steps && performance.now() - savedAt > CHECKPOINT_INTERVAL_MS) {
        // A run is not worth less for a disk that is full now: it may have room when the run ends.
        await save().catch((error: TrainingError) =>
          log(`${error.message}; training goes on without a new one`),
        );
        savedAt = performance.now();
      }
    }
    // A run holds the thread: what was signalled meanwhile is heard here.
    await nextTurn();
  }
  return finish('done');
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

/** The last look that found the student as good as it has ever been. */
export function bestOf(curve: readonly CurvePoint[]): CurvePoint {
  let best = curve[0]!;
  let highest = -Infinity;
  for (const point of curve) {
    if (point.heldOutCosine > highest - AS_GOOD) best = point;
    highest = Math.max(highest, point.heldOutCosine);
  }
  return best;
}

function isStale(curve: readonly CurvePoint[], patience: number): boolean {
  const cosines = curve.map(({ heldOutCosine }) => heldOutCosine);
  const highest = Math.max(...cosines);
  return cosines.length > patience && cosines.slice(-patience).every((cosine) => cosine <= highest - AS_GOOD);
}
