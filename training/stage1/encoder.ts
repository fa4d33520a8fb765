import type { InferenceSession, Tensor as RuntimeTensor } from 'onnxruntime-node';
import type { Pooling } from '../../towers/space.ts';
import { outputOf } from '../../towers/session/model.ts';
import { buildBackward, SUM, UPSTREAM } from '../gradient/accumulate.ts';
import { NEXT } from '../gradient/step.ts';
import { cutTransformer, pooledVectors, VECTORS } from '../gradient/transformer.ts';
import type { Model } from '../onnx/model.ts';
import { asInputs } from '../onnx/parameters.ts';
import { prune } from '../onnx/prune.ts';
import { findLayers } from '../gradient/layers.ts';
import { readModel } from '../onnx/read.ts';
import { toPlain } from '../onnx/rewrite/plain.ts';
import { fromRuntime, openSession, toRuntime } from '../onnx/run.ts';
import { float32, toNumbers } from '../onnx/tensor.ts';
import { pad, planRuns, rowsOf } from '../padding.ts';

/** Weights by name, as ONNX Runtime takes them. */
export type RuntimeTensors = ReadonlyMap<string, RuntimeTensor>;

/** An encoder that can be trained. */
export interface Encoder {
  /** Token inputs → `output`, in plain operators: what is exported. */
  readonly model: Model;
  readonly output: string;
  /** Token inputs → {@link VECTORS}, float32 [batch, dimensions], not normalised. */
  readonly pooled: Model;
  /** Initialisers that are trained. */
  readonly weights: readonly string[];
  /** Those of them that every token passes through: not tables. */
  readonly matrices: readonly string[];
}

/** Which encoder to read. */
export interface EncoderRequest {
  /** ONNX file. */
  file: string;
  pooling: Pooling;
  /** Length of a vector: what a longer one is cut to. */
  dimensions: number;
  /** How many of its layers to keep, evenly spaced. @default all */
  layers?: number | undefined;
  /** Whether embedding tables are trained as well. */
  trainTables: boolean;
}

/**
 * Reads an encoder that is to be trained: quantised weights become float32 ones.
 *
 * @throws {OnnxError} `OPERATOR_UNSUPPORTED`, `FEATURE_UNSUPPORTED` for a model that can't be taken apart,
 *   `REQUEST_INVALID` for layers that it does not have
 */
export async function readEncoder(request: EncoderRequest): Promise<Encoder> {
  const source = await readModel(request.file);
  const output = outputOf(source.graph.outputs.map(({ name }) => name));
  const plain = await toPlain(source, [output]);
  return encoderOf(plain, output, request);
}

/** The same for a model that is at hand, in plain operators. */
export async function encoderOf(
  plain: Model,
  output: string,
  request: Omit<EncoderRequest, 'file'>,
): Promise<Encoder> {
  const { layers, pooling, dimensions, trainTables } = request;
  const { model, weights, tables } =
    layers === undefined
      ? { model: plain, ...(await findLayers(plain, output)) }
      : await cutTransformer(plain, layers, { output });
  return {
    model,
    output,
    pooled: await pooledVectors({ model, output }, { pooling, dimensions }),
    weights: [...weights, ...(trainTables ? tables : [])],
    matrices: weights,
  };
}

/** Runs an encoder forward, and backward with a gradient from outside. */
export class EncoderRun {
  readonly #forward: InferenceSession;
  readonly #backward: InferenceSession;
  readonly #dimensions: number;
  readonly #weights: readonly string[];

  private constructor(
    forward: InferenceSession,
    backward: InferenceSession,
    encoder: Pick<Encoder, 'weights'>,
    dimensions: number,
  ) {
    this.#forward = forward;
    this.#backward = backward;
    this.#weights = encoder.weights;
    this.#dimensions = dimensions;
  }

  /** @throws {OnnxError} `GRADIENT_MISSING` for an operator without a gradient: the message names it */
  static async open(encoder: Encoder, dimensions: number, threads?: number): Promise<EncoderRun> {
    const { pooled, weights } = encoder;
    const backward = await buildBackward(pooled, VECTORS, weights);
    return new EncoderRun(
      await openSession(asInputs(prune(pooled, [VECTORS]), weights), threads),
      await openSession(backward, threads),
      encoder,
      dimensions,
    );
  }

  /** Vectors of texts, a row each. */
  async encode(texts: readonly (readonly number[])[], weights: RuntimeTensors): Promise<Float32Array> {
    const rows = new Float32Array(texts.length * this.#dimensions);
    for (const batch of planRuns(texts.map(({ length }) => length))) {
      const feeds = this.#feeds(this.#forward, batch, texts, weights);
      const found = toNumbers(fromRuntime((await this.#forward.run(feeds))[VECTORS]!)) as Float32Array;
      for (const [at, text] of batch.entries()) {
        rows.set(found.subarray(at * this.#dimensions, (at + 1) * this.#dimensions), text * this.#dimensions);
      }
    }
    return rows;
  }

  /**
   * Adds to each weight's sum the gradient that a loss has by it.
   * @param upstream - the loss's derivative by the texts' vectors, a row each
   * @returns the new sums
   */
  async accumulate(
    texts: readonly (readonly number[])[],
    upstream: Float32Array,
    weights: RuntimeTensors,
    sums: RuntimeTensors,
  ): Promise<RuntimeTensors> {
    const width = this.#dimensions;
    let current = sums;
    for (const batch of planRuns(texts.map(({ length }) => length))) {
      const feeds = this.#feeds(this.#backward, batch, texts, weights);
      feeds[UPSTREAM] = toRuntime(float32([batch.length, width], rowsOf(upstream, width, batch)));
      for (const name of this.#weights) feeds[SUM + name] = current.get(name)!;
      const results = await this.#backward.run(feeds);
      current = new Map(this.#weights.map((name) => [name, results[NEXT + SUM + name]!]));
    }
    return current;
  }

  async close(): Promise<void> {
    await this.#forward.release();
    await this.#backward.release();
  }

  #feeds(
    session: InferenceSession,
    batch: readonly number[],
    texts: readonly (readonly number[])[],
    weights: RuntimeTensors,
  ): Record<string, RuntimeTensor> {
    const feeds: Record<string, RuntimeTensor> = {};
    const padded = pad(batch.map((text) => texts[text]!));
    for (const name of session.inputNames) {
      const value = padded[name];
      if (value !== undefined) feeds[name] = toRuntime(value);
    }
    for (const name of this.#weights) feeds[name] = weights.get(name)!;
    return feeds;
  }
}
