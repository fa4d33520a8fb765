import { setImmediate as nextTurn } from 'node:timers/promises';
import { TrainingError } from '../errors.ts';
import { concatenate, type Tensor } from '../onnx/tensor.ts';
import { type Contrast, exclusions } from './contrast.ts';
import { mineNegatives, NONE } from './mining.ts';
import { keyOf, type Pair, type PairBatches, type PairTokens } from './pairs.ts';
import type { Replica, Side } from './replica.ts';
import { type Checkpoint, type Settings, writeCheckpoint } from './run-folder.ts';

/** How long a crash may throw a run back, in milliseconds. */
const CHECKPOINT_INTERVAL_MS = 60_000;

/** Steps that the loss is a mean of, as it is told. */
const SHOWN_STEPS = 20;

/** How far a run is. */
export interface RunProgress {
  phase: 'mining' | 'training';
  /** Steps, or texts while negatives are mined. */
  done: number;
  total: number;
  /** Mean of the last steps; absent before the first. */
  loss?: number;
}

/** How a run goes. */
export interface RunOptions {
  replica: Replica;
  contrast: Contrast;
  pairs: readonly Pair[];
  texts: PairTokens;
  batches: PairBatches;
  steps: number;
  /** Given negatives of each pair. */
  negatives: number;
  /** Mined negatives of each pair. */
  mined: number;
  margin: number;
  normalize: boolean;
  dimensions: number;
  threads: number | undefined;
  /** Where checkpoints go. */
  folder: string;
  settings: Settings;
  resumed: Checkpoint | undefined;
  signal: AbortSignal | undefined;
  log: (message: string) => void;
  onProgress: ((progress: RunProgress) => void) | undefined;
}

/** How a run ended. */
export type RunResult = Pick<Checkpoint, 'state' | 'elapsedMs' | 'lossSum'>;

/**
 * Takes all steps of a run.
 *
 * @throws {TrainingError} `DIVERGED` when the loss is no number, `CHECKPOINT_FAILED` when it is broken off and can't leave
 *   a checkpoint
 * @throws what the signal says, once there is a checkpoint
 */
export async function runSteps(options: RunOptions): Promise<RunResult> {
  const { replica, batches, steps, folder, settings, resumed, signal, log, onProgress } = options;
  const started = performance.now() - (resumed?.elapsedMs ?? 0);
  const negatives = new MinedNegatives(options);
  let step = resumed?.step ?? 0;
  let lossSum = resumed?.lossSum ?? 0;
  let savedAt = performance.now();
  const recent: number[] = [];
  const save = async (): Promise<void> => {
    const elapsedMs = performance.now() - started;
    const { mined, epoch: minedEpoch } = negatives;
    const state = await replica.state();
    await writeCheckpoint(folder, settings, { step, elapsedMs, lossSum, state, mined, minedEpoch });
    savedAt = performance.now();
  };
  // A run is not worth less for a disk that is full now: it may have room when the run ends.
  const trySave = (): Promise<void> =>
    save().catch((error: TrainingError) => {
      savedAt = performance.now();
      log(`${error.message}; training goes on without a new one`);
    });
  while (step < steps) {
    try {
      signal?.throwIfAborted();
      await negatives.prepare(batches.epochOf(step));
    } catch (error) {
      if (signal?.aborted === true) await save();
      throw error;
    }
    const loss = await takeStep(options, negatives, batches.at(step));
    const report = await replica.update();
    if (!Number.isFinite(loss) || !Number.isFinite(report.gradientNorm)) {
      throw new TrainingError(
        'DIVERGED',
        `the loss is no number at step ${step + 1}: train again with a smaller --rate, in another --out`,
      );
    }
    step = report.step;
    lossSum += loss;
    recent.push(loss);
    if (recent.length > SHOWN_STEPS) recent.shift();
    onProgress?.({
      phase: 'training',
      done: step,
      total: steps,
      loss: recent.reduce((sum, each) => sum + each, 0) / recent.length,
    });
    if (step < steps && performance.now() - savedAt > CHECKPOINT_INTERVAL_MS) {
      await trySave();
    }
    // A run holds the thread: what was signalled meanwhile is heard here.
    await nextTurn();
  }
  const elapsedMs = performance.now() - started;
  // What comes after the last step may be broken off as well.
  await trySave();
  return { state: copied(await replica.state()), elapsedMs, lossSum };
}

/** What the runtime gives is gone when its session is. */
function copied(state: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  return new Map([...state].map(([name, value]) => [name, { ...value, data: value.data.slice() }]));
}

/** Gradient caching: vectors first, then the loss's gradient by them, then that by the weights, in runs that fit. */
async function takeStep(
  { replica, contrast, pairs, texts, dimensions, negatives: given }: RunOptions,
  mined: MinedNegatives,
  rows: readonly number[],
): Promise<number> {
  const queries = rows.map((row) => texts.queries[row]!);
  const candidates = new Map<string, readonly number[]>();
  for (const row of rows) {
    for (const text of pairs[row]!.negatives.slice(0, given)) {
      candidates.set(keyOf(text), texts.document(text));
    }
    for (const other of mined.of(row)) {
      candidates.set(keyOf(pairs[other]!.document), texts.documents[other]!);
    }
  }
  const own = rows.map((row) => keyOf(pairs[row]!.document));
  for (const key of own) candidates.delete(key);
  const documents = [...rows.map((row) => texts.documents[row]!), ...candidates.values()];
  const excluded = exclusions(
    rows.map((row) => keyOf(pairs[row]!.query)),
    [...own, ...candidates.keys()],
  );
  // One encoder reads both sides at once: among more texts more are alike in length.
  const sides: [side: Side, texts: readonly (readonly number[])[]][] = replica.shared
    ? [['query', [...queries, ...documents]]]
    : [
        ['query', queries],
        ['document', documents],
      ];
  const encoded: Float32Array[] = [];
  for (const [side, texts] of sides) encoded.push(await replica.encode(side, texts));
  const vectors = concatenate(encoded);
  const end = queries.length * dimensions;
  const gradient = await contrast.run(vectors.subarray(0, end), vectors.subarray(end), excluded);
  const upstream = concatenate([gradient.queries, gradient.documents]);
  let at = 0;
  for (const [side, texts] of sides) {
    const size = texts.length * dimensions;
    await replica.accumulate(side, texts, upstream.subarray(at, at + size));
    at += size;
  }
  return gradient.loss;
}

/** The mined negatives of the epoch that a run is in. */
class MinedNegatives {
  readonly #options: RunOptions;
  mined: Int32Array;
  epoch: number;

  constructor(options: RunOptions) {
    this.#options = options;
    this.mined = options.resumed?.mined ?? new Int32Array();
    this.epoch = options.resumed?.minedEpoch ?? NONE;
  }

  /** Mines with the weights as they are, once an epoch. */
  async prepare(epoch: number): Promise<void> {
    const { replica, pairs, texts, mined: count, log, onProgress } = this.#options;
    const { margin, normalize, dimensions, threads, signal } = this.#options;
    if (count === 0 || epoch === this.epoch) return;
    log(`mining negatives for epoch ${epoch + 1}`);
    this.mined = await mineNegatives({
      replica,
      queries: texts.queries,
      documents: texts.documents,
      texts: pairs,
      dimensions,
      normalize,
      count,
      margin,
      threads,
      signal,
      onProgress: (done, total) => onProgress?.({ phase: 'mining', done, total }),
    });
    this.epoch = epoch;
  }

  /** Pairs whose documents are negatives of a pair. */
  of(row: number): number[] {
    const { mined: count } = this.#options;
    return [...this.mined.subarray(row * count, (row + 1) * count)].filter((pair) => pair !== NONE);
  }
}
