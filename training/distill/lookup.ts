import { normalizeRows } from '../../towers/session/pooling.ts';
import type { Tower } from '../../towers/tower.ts';
import type { LossWeights } from '../gradient/losses.ts';
import type { OptimizerOptions } from '../gradient/optimizer.ts';
import { lookupModel, lookupStages, PROJECTION, TOKEN_VECTORS } from '../lookup/model.ts';
import { PairDictionary } from '../lookup/pair-dictionary.ts';
import { ontoDirections, principalDirections } from '../lookup/principal.ts';
import { singleTokenVectors } from '../lookup/single-tokens.ts';
import type { LookupStart } from '../lookup/start.ts';
import { LookupTrainer, type LookupText } from '../lookup/trainer.ts';
import { quantizeWeights } from '../onnx/quantize.ts';
import { elementCount, type Tensor } from '../onnx/tensor.ts';
import { seededRandom } from '../random.ts';
import type { CacheSettings } from '../vectors.ts';
import { countTokens, type TrainingData } from './data.ts';
import type { Student } from './student.ts';
import type { StudentTokenizer } from './tokenizer.ts';

/**
 * Share of the pairs that a step leaves out, drawn anew for each text: otherwise the vector of a rare pair learns its few
 * texts by heart.
 */
const PAIR_DROPOUT = 0.5;

/** Texts that the length of the teacher's vectors is measured on. */
const LENGTH_SAMPLE = 1_000;

/** What a lookup student is made of. */
export interface LookupOptions {
  teacher: Tower;
  tokenizer: StudentTokenizer;
  loss: LossWeights;
  optimizer: OptimizerOptions;
  data: TrainingData;
  /** How many pairs of neighbouring tokens have a vector of their own, at the most. */
  pairs: number;
  /** Positions in a text with a weight of their own. */
  positions: number;
  /** Components of its vectors, fewer than the teacher's dimensions. @default as many */
  width?: number | undefined;
  /** Bits of a number of its written tables. */
  bits: 4 | 8;
  /** A lookup to start from. @default the teacher's vectors of single tokens */
  start?: LookupStart | undefined;
  seed: number;
  threads?: number | undefined;
  cache: CacheSettings;
  /** Where to go on from. */
  state?: ReadonlyMap<string, Tensor> | undefined;
}

/** Texts whose vectors say which directions of the space a narrow student keeps. */
const DIRECTIONS_SAMPLE = 8_192;

/** Opens a lookup student for training. */
export async function openLookup(options: LookupOptions): Promise<Student> {
  const { teacher, loss, optimizer, data, seed, threads, state } = options;
  const { dimensions } = teacher.manifest;
  const { vectors, projection, dictionary, start } = await startOf(options);
  const trainer = await LookupTrainer.create({
    dimensions,
    vectors,
    projection,
    pairs: dictionary.size > 1 ? dictionary.size : 0,
    positions: options.positions,
    start,
    scale: meanLength(data.vectors.read(data.fitted.slice(0, LENGTH_SAMPLE)), dimensions),
    optimizer,
    loss,
    seed,
    threads,
    state,
  });
  const textOf = (ids: readonly number[]): LookupText => ({ tokens: ids, pairs: dictionary.rowsOf(ids) });
  return {
    parameters: [...trainer.weights().values()].reduce((sum, { dims }) => sum + elementCount(dims), 0),
    padded: false,
    step: ({ texts, teacher: targets, documents }) => {
      const random = seededRandom(Math.imul(seed, 0x9e3779b1) ^ trainer.steps);
      const thinned = texts.map((ids) => ({
        tokens: ids,
        pairs: dictionary.rowsOf(ids).filter(() => random() >= PAIR_DROPOUT),
      }));
      return trainer.step(thinned, targets, documents);
    },
    encode: async (texts) => trainer.encode(texts.map(textOf)),
    state: () => trainer.state(),
    weights: () => trainer.weights(),
    models: (weights) => {
      const fp32 = lookupModel(weights, dictionary);
      return { fp32, int8: quantizeWeights(fp32, [PROJECTION], options.bits) };
    },
    stages: (model) => lookupStages(model, dictionary),
    close: () => trainer.close(),
  };
}

/** What training starts with. */
async function startOf(options: LookupOptions): Promise<{
  vectors: Float32Array;
  projection?: Float32Array | undefined;
  dictionary: PairDictionary;
  start?: ReadonlyMap<string, Float32Array>;
}> {
  const { teacher, tokenizer, data, cache, start } = options;
  const fitted = data.fitted.map((row) => data.ids[row]!);
  if (start === undefined) {
    const whole = await singleTokenVectors(teacher, tokenizer, countTokens(data), cache);
    const dictionary = PairDictionary.of(fitted, whole.length / teacher.manifest.dimensions, options.pairs);
    return { ...(await narrowed(options, whole)), dictionary };
  }
  const { tables, width, pairs } = start;
  const vectors = tables.get(TOKEN_VECTORS)!;
  const dictionary =
    pairs?.extended(fitted, Math.max(0, options.pairs - (pairs.size - 1))) ??
    PairDictionary.of(fitted, vectors.length / width, options.pairs);
  return { vectors, projection: tables.get(PROJECTION), dictionary, start: tables };
}

/** Token vectors in fewer components, and the projection that leads back: along the directions that texts' vectors have most of. */
async function narrowed(
  { data, width, seed }: LookupOptions,
  whole: Float32Array,
): Promise<{ vectors: Float32Array; projection?: Float32Array }> {
  if (width === undefined) return { vectors: whole };
  const { dimensions } = data.vectors;
  const stride = Math.max(1, Math.floor(data.fitted.length / DIRECTIONS_SAMPLE));
  const sample = data.vectors.read(data.fitted.filter((_, index) => index % stride === 0));
  normalizeRows(sample, dimensions);
  const projection = await principalDirections(sample, dimensions, width, seed);
  return { vectors: await ontoDirections(whole, projection, dimensions), projection };
}

function meanLength(vectors: Float32Array, dimensions: number): number {
  let sum = 0;
  for (let start = 0; start < vectors.length; start += dimensions) {
    sum += Math.hypot(...vectors.subarray(start, start + dimensions));
  }
  return sum / (vectors.length / dimensions);
}
