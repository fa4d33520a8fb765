import * as z from 'zod';
import type { Batches } from '../batches.ts';
import { TrainingError } from '../errors.ts';
import { concatenate, type Tensor, toNumbers } from '../onnx/tensor.ts';
import { readCheckpoint, type Settings, writeCheckpoint } from '../run-folder.ts';
import { runLoop, trySave } from '../run-loop.ts';
import { type Contrast, exclusions } from './contrast.ts';
import { mineNegatives, NONE } from './mining.ts';
import { keyOf, type Pair, type PairTokens } from './pairs.ts';
import type { Replica, Side } from './replica.ts';

/** Steps that the reported loss is a mean of. */
const SHOWN_STEPS = 20;

const Progress = z.object({
  step: z.int().nonnegative(),
  /** Milliseconds of training so far. */
  elapsedMs: z.number(),
  /** Of all steps so far. */
  lossSum: z.number(),
  /** The epoch that negatives were mined for; −1 where there are none. */
  minedEpoch: z.int(),
});

/** What a run resumes from: how far it was, the replica's state, and mined negatives. */
export type RunCheckpoint = Awaited<ReturnType<typeof readRunCheckpoint>>;

/** @throws {TrainingError} `CHECKPOINT_INVALID` where there is none, or it is of another run */
export function readRunCheckpoint(folder: string, settings: Settings) {
  return readCheckpoint(folder, settings, Progress, ['state', 'mined']);
}

/** How far a run is. */
export interface TrainProgress {
  phase: 'mining' | 'reading' | 'training';
  /** Steps, or texts while negatives are mined or a teacher reads. */
  done: number;
  total: number;
  /** Mean of the last steps; absent before the first. */
  loss?: number;
}

/** What a run works with. */
export interface RunOptions {
  replica: Replica;
  contrast: Contrast;
  pairs: readonly Pair[];
  texts: PairTokens;
  batches: Batches;
  steps: number;
  /** Given negatives of each pair. */
  negatives: number;
  /** Mined negatives of each pair. */
  mined: number;
  margin: number;
  normalize: boolean;
  dimensions: number;
  threads?: number | undefined;
  /** Where checkpoints go. */
  folder: string;
  settings: Settings;
  resumed: RunCheckpoint | undefined;
  signal?: AbortSignal | undefined;
  log: (message: string) => void;
  onProgress?: ((progress: TrainProgress) => void) | undefined;
}

/** How a run ended. */
export interface RunResult {
  /** Weights, moments, count of steps. */
  state: ReadonlyMap<string, Tensor>;
  elapsedMs: number;
  /** Of all steps. */
  lossSum: number;
}

/**
 * Takes all steps of a run.
 *
 * @throws {TrainingError} `DIVERGED` when the loss is no number, `CHECKPOINT_FAILED` when it is broken off and can't leave
 *   a checkpoint
 * @throws what the signal says, once there is a checkpoint
 */
export async function runSteps(options: RunOptions): Promise<RunResult> {
  const { replica, batches, steps, folder, settings, resumed, signal, log, onProgress } = options;
  const started = performance.now() - (resumed?.progress.elapsedMs ?? 0);
  const negatives = new MinedNegatives(options);
  const from = resumed?.progress.step ?? 0;
  let step = from;
  let lossSum = resumed?.progress.lossSum ?? 0;
  const recent: number[] = [];
  const save = async (): Promise<void> => {
    const progress = { step, elapsedMs: performance.now() - started, lossSum, minedEpoch: negatives.epoch };
    const tensors = { state: await replica.state(), mined: negatives.tensors() };
    await writeCheckpoint(folder, settings, { progress, tensors });
  };
  const end = await runLoop({
    from,
    steps,
    signal,
    log,
    take: async (at) => {
      await negatives.prepare(batches.epochOf(at));
      const loss = await takeStep(options, negatives, batches.at(at));
      return { loss, ...(await replica.update()) };
    },
    after: async (report) => {
      step = report.step;
      lossSum += report.loss;
      recent.push(report.loss);
      if (recent.length > SHOWN_STEPS) recent.shift();
      const loss = recent.reduce((sum, each) => sum + each, 0) / recent.length;
      onProgress?.({ phase: 'training', done: step, total: steps, loss });
      return undefined;
    },
    save,
  });
  if (end === 'interrupted') throw signal!.reason;
  if (end === 'diverged') {
    throw new TrainingError(
      'DIVERGED',
      `the loss is not finite at step ${step + 1}: train again with a smaller --rate, in another --out`,
    );
  }
  const elapsedMs = performance.now() - started;
  // Exporting and measuring come after the last step and may be interrupted as well.
  await trySave(save, log);
  return { state: copied(await replica.state()), elapsedMs, lossSum };
}

/** Tensors of the runtime become invalid when their session closes. */
function copied(state: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  return new Map([...state].map(([name, value]) => [name, { ...value, data: value.data.slice() }]));
}

/** Gradient caching: first vectors, then the loss's gradient by them, then the gradient by the weights, in runs that fit. */
async function takeStep(
  { replica, contrast, pairs, texts, dimensions, negatives: given }: RunOptions,
  mined: MinedNegatives,
  rows: readonly number[],
): Promise<number> {
  const queries = rows.map((row) => texts.queries[row]!);
  const candidates = new Map<string, readonly number[]>();
  for (const row of rows) {
    for (const text of pairs[row]!.negatives.slice(0, given)) {
      candidates.set(keyOf(text), await texts.document(text));
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
  // A shared encoder reads both sides at once: among more texts, more are alike in length.
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

/** Name of the mined negatives in a checkpoint. */
const MINED = 'negatives';

/** The mined negatives of the epoch that a run is in. */
class MinedNegatives {
  readonly #options: RunOptions;
  mined: Int32Array;
  epoch: number;

  constructor(options: RunOptions) {
    this.#options = options;
    const saved = options.resumed?.tensors.mined.get(MINED);
    if (saved === undefined && (options.resumed?.progress.minedEpoch ?? NONE) !== NONE) {
      throw new TrainingError(
        'CHECKPOINT_INVALID',
        'the checkpoint lacks its mined negatives; start anew without --resume',
      );
    }
    this.mined = Int32Array.from(saved === undefined ? [] : toNumbers(saved));
    this.epoch = options.resumed?.progress.minedEpoch ?? NONE;
  }

  /** What a checkpoint keeps. */
  tensors(): Map<string, Tensor> {
    return new Map([[MINED, { type: 'int32', dims: [this.mined.length], data: this.mined }]]);
  }

  /** Mines with the current weights, once an epoch. */
  async prepare(epoch: number): Promise<void> {
    const { mined: count, log } = this.#options;
    if (count === 0 || epoch === this.epoch) return;
    log(`mining negatives for epoch ${epoch + 1}`);
    this.mined = await mineNegatives(this.#options);
    this.epoch = epoch;
  }

  /** Pairs whose documents are negatives of a pair. */
  of(row: number): number[] {
    const { mined: count } = this.#options;
    return [...this.mined.subarray(row * count, (row + 1) * count)].filter((pair) => pair !== NONE);
  }
}
