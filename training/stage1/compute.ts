import type { Model } from '../onnx/model.ts';
import type { Encoder } from './encoder.ts';
import type { PairBatches } from './pairs.ts';
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
  batches: PairBatches,
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
