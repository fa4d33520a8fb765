import type { Tower } from '../../towers/tower.ts';
import type { Batches } from '../batches.ts';
import { STUDENT_DEFAULTS } from '../distill/request.ts';
import type { Model } from '../onnx/model.ts';
import { trainablePooling } from '../trainable.ts';
import { type Encoder, readEncoder } from './encoder.ts';
import type { EncoderName } from './replica.ts';

/** What a pass through a model costs for each token: two operations for each number of its matrices. */
export function flopsPerToken({ graph }: Model, weights: readonly string[]): number {
  let numbers = 0;
  for (const name of weights) {
    const { dims, data } = graph.initializers.get(name)!;
    if (dims.length === 2) numbers += data.length;
  }
  return 2 * numbers;
}

/** Passes of a training step, in units of one forward: with gradient caching forward runs twice, backward costs two. */
const CACHED_STEP_PASSES = 4;

/**
 * Operations of a stage 1 run, without negatives from outside the batch: what `steps` steps over these pairs cost.
 */
export function trainingFlops(
  encoders: ReadonlyMap<EncoderName, Encoder>,
  texts: { queries: readonly (readonly number[])[]; documents: readonly (readonly number[])[] },
  batches: Batches,
  steps: number,
): number {
  const tokens = (side: readonly (readonly number[])[]): number =>
    side.reduce((sum, ids) => sum + ids.length, 0) / side.length;
  const cost = (name: EncoderName): number => {
    const { model, matrices } = encoders.get(encoders.has('shared') ? 'shared' : name)!;
    return flopsPerToken(model, matrices);
  };
  const pair = tokens(texts.queries) * cost('query') + tokens(texts.documents) * cost('document');
  return pair * CACHED_STEP_PASSES * batches.size * steps;
}

/** Passes of a step of stage 2, in units of the student's forward: forward once, backward costs two. */
const STEP_PASSES = 3;

/**
 * Operations of a stage 2 run: the teacher reads every text once, the student learns from batches of the queries.
 *
 * @param run.documents - of a contrastive term
 */
export async function distillationFlops(
  teacher: Tower,
  layers: number,
  run: {
    queries: readonly string[];
    documents: readonly string[];
    steps: number;
    batch?: number | undefined;
  },
): Promise<number> {
  const { dimensions } = teacher.manifest;
  const pooling = trainablePooling(teacher.manifest);
  const options = { pooling, dimensions, trainTables: false };
  const full = await readEncoder(teacher.directory, options);
  const student = await readEncoder(teacher.directory, { ...options, layers });
  const count = async (texts: readonly string[]): Promise<number> =>
    (await teacher.tokenizeAll(texts)).reduce((sum, { ids }) => sum + ids.length, 0);
  const tokens = await count(run.queries);
  const batch = Math.min(run.batch ?? STUDENT_DEFAULTS.transformer.batch, run.queries.length);
  const seen = (tokens / run.queries.length) * batch * run.steps;
  return (
    (tokens + (await count(run.documents))) * flopsPerToken(full.model, full.matrices) +
    seen * STEP_PASSES * flopsPerToken(student.model, student.matrices)
  );
}
