import type { TrainablePooling } from '../trainable.ts';
import { findLayers } from '../gradient/layers.ts';
import { randomized } from '../gradient/randomize.ts';
import { cutTransformer, pooledVectors } from '../gradient/transformer.ts';
import type { Model } from '../onnx/model.ts';
import { readTowerGraph } from '../tower-folder.ts';

/** An encoder that can be trained. */
export interface Encoder {
  /** The graph to export, in plain operators: token inputs → `output`. */
  readonly model: Model;
  readonly output: string;
  /** Token inputs → `VECTORS`, float32 [batch, dimensions], not normalised. */
  readonly pooled: Model;
  /** Initialisers that are trained. */
  readonly weights: readonly string[];
  /** Those of them that every token passes through: not tables. */
  readonly matrices: readonly string[];
}

/** How to make an encoder of a graph. */
export interface EncoderOptions {
  pooling: TrainablePooling;
  /** Length of a vector. Longer ones are cut to it. */
  dimensions: number;
  /** Which of its layers to keep, or how many: then evenly spaced. @default all */
  layers?: number | readonly number[] | undefined;
  /** Components of its tokens' vectors, fewer than its own; only with layers. @default its own */
  width?: number | undefined;
  /** Starts from random weights and tables of this seed. @default its own */
  randomSeed?: number | undefined;
  /** Whether embedding tables are trained as well. */
  trainTables: boolean;
}

/**
 * Reads the encoder of a tower.
 *
 * @throws {OnnxError} `OPERATOR_UNSUPPORTED`, `FEATURE_UNSUPPORTED` for a model that can't be taken apart,
 *   `REQUEST_INVALID` for layers that it does not have
 */
export async function readEncoder(directory: string, options: EncoderOptions): Promise<Encoder> {
  const { model, output } = await readTowerGraph(directory);
  return encoderOf(model, output, options);
}

/** Makes an encoder of a graph in plain operators. */
export async function encoderOf(plain: Model, output: string, options: EncoderOptions): Promise<Encoder> {
  const { layers, width, pooling, dimensions, trainTables, randomSeed } = options;
  const { weights, tables, ...cut } =
    layers === undefined
      ? { model: plain, ...(await findLayers(plain, output)) }
      : await cutTransformer(plain, layers, { output, width });
  const model =
    randomSeed === undefined ? cut.model : randomized(cut.model, [...weights, ...tables], randomSeed);
  return {
    model,
    output,
    pooled: await pooledVectors({ model, output }, { pooling, dimensions }),
    weights: [...weights, ...(trainTables ? tables : [])],
    matrices: weights,
  };
}
