import { join } from 'node:path';
import type { InferenceSession } from 'onnxruntime-node';
import type { TowerManifest } from '../../towers/manifest.ts';
import { buildUpdate, SUM } from '../gradient/accumulate.ts';
import type { OptimizerOptions } from '../gradient/optimizer.ts';
import { NEXT } from '../gradient/step.ts';
import { updateOf, type UpdateReport } from '../gradient/trainer.ts';
import { parameterCount } from '../onnx/parameters.ts';
import { fromRuntime, openSession, toRuntime } from '../onnx/run.ts';
import { elementCount, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { type Encoder, EncoderRun, readEncoder, type RuntimeTensors } from './encoder.ts';

/** What a text is: each side has its encoder, or both have the same. */
export type Side = 'query' | 'document';

/** What is trained, as plain data: another process can be told. */
export interface ReplicaPlan {
  /** Folder of the tower to start from. */
  directory: string;
  manifest: Pick<TowerManifest, 'pooling' | 'dimensions'>;
  /** Whether both sides have the same weights. */
  shared: boolean;
  /** How many layers the query encoder keeps; undefined: all. Not with shared weights. */
  queryLayers: number | undefined;
  trainTables: boolean;
  optimizer: OptimizerOptions;
  /** Of ONNX Runtime. Undefined: one for each core. */
  threads: number | undefined;
}

/** A copy of the weights that encodes texts, sums up gradients and takes steps. */
export interface Replica {
  /** Whether both sides have the same encoder: then their texts can be given together, as those of either. */
  readonly shared: boolean;
  /** Vectors of texts, not normalised, a row each. */
  encode(side: Side, texts: readonly (readonly number[])[]): Promise<Float32Array>;
  /** Adds to the sums what a loss has for gradient, given its derivative by the texts' vectors. */
  accumulate(side: Side, texts: readonly (readonly number[])[], upstream: Float32Array): Promise<void>;
  /** The sums of all weights, one after the other: to be added to those of other replicas. */
  gradient(): Promise<Float32Array>;
  /**
   * Takes a step and clears the sums. Where the gradient is not finite, the weights stay as they are.
   * @param gradient - of all replicas together. @default this replica's own sums
   */
  update(gradient?: Float32Array): Promise<UpdateReport>;
  /** Everything that the next step depends on besides its batch. Names begin with the encoder's. */
  state(): Promise<ReadonlyMap<string, Tensor>>;
  close(): Promise<void>;
}

/** Names of encoders: with shared weights there is one. */
export type EncoderName = Side | 'shared';

export function encoderNames(plan: Pick<ReplicaPlan, 'shared'>): EncoderName[] {
  return plan.shared ? ['shared'] : ['query', 'document'];
}

/** Reads the encoders that a plan starts from. @throws {OnnxError} as `readEncoder` does */
export async function readEncoders(plan: ReplicaPlan): Promise<Map<EncoderName, Encoder>> {
  const encoders = new Map<EncoderName, Encoder>();
  for (const name of encoderNames(plan)) {
    const encoder = await readEncoder({
      file: join(plan.directory, 'model.onnx'),
      ...plan.manifest,
      layers: name === 'query' ? plan.queryLayers : undefined,
      trainTables: plan.trainTables,
    });
    encoders.set(name, encoder);
  }
  return encoders;
}

/** A replica in this process. A run holds the thread while it computes. */
export class LocalReplica implements Replica {
  readonly shared: boolean;
  readonly #runs: ReadonlyMap<EncoderName, EncoderRun>;
  readonly #session: InferenceSession;
  /** Encoder → names of its weights. */
  readonly #weights: ReadonlyMap<EncoderName, readonly string[]>;
  #state: RuntimeTensors;
  #sums = new Map<EncoderName, RuntimeTensors>();

  private constructor(
    runs: ReadonlyMap<EncoderName, EncoderRun>,
    session: InferenceSession,
    weights: ReadonlyMap<EncoderName, readonly string[]>,
    state: RuntimeTensors,
  ) {
    this.shared = runs.has('shared');
    this.#runs = runs;
    this.#session = session;
    this.#weights = weights;
    this.#state = state;
  }

  /**
   * @param options.state - what {@link state} returned, to go on from there. @default the start
   * @param options.encoders - what {@link readEncoders} gives for the plan, where it is at hand
   * @throws {OnnxError} as `readEncoders` does; `GRADIENT_MISSING` for an operator without a gradient
   */
  static async open(
    plan: ReplicaPlan,
    options: { state?: ReadonlyMap<string, Tensor>; encoders?: ReadonlyMap<EncoderName, Encoder> } = {},
  ): Promise<LocalReplica> {
    const encoders = options.encoders ?? (await readEncoders(plan));
    const runs = new Map<EncoderName, EncoderRun>();
    const weights = new Map<EncoderName, readonly string[]>();
    const start = new Map<string, Tensor>();
    for (const [name, encoder] of encoders) {
      runs.set(name, await EncoderRun.open(encoder, plan.manifest.dimensions, plan.threads));
      weights.set(name, encoder.weights);
      for (const weight of encoder.weights) {
        start.set(`${name}/${weight}`, encoder.model.graph.initializers.get(weight)!);
      }
    }
    const update = buildUpdate(start, plan.optimizer);
    const session = await openSession(update.model, plan.threads);
    const state = options.state ?? update.initial;
    return new LocalReplica(
      runs,
      session,
      weights,
      new Map([...update.initial.keys()].map((name) => [name, toRuntime(state.get(name)!)])),
    );
  }

  encode(side: Side, texts: readonly (readonly number[])[]): Promise<Float32Array> {
    const name = this.#encoder(side);
    return this.#runs.get(name)!.encode(texts, this.#weightsOf(name));
  }

  async accumulate(side: Side, texts: readonly (readonly number[])[], upstream: Float32Array): Promise<void> {
    const name = this.#encoder(side);
    const weights = this.#weightsOf(name);
    const sums = this.#sumsOf(name);
    this.#sums.set(name, await this.#runs.get(name)!.accumulate(texts, upstream, weights, sums));
  }

  async gradient(): Promise<Float32Array> {
    const all = [...this.#weights].flatMap(([name, weights]) =>
      weights.map((weight) => toNumbers(fromRuntime(this.#sumsOf(name).get(weight)!))),
    );
    const flat = new Float32Array(all.reduce((size, { length }) => size + length, 0));
    let at = 0;
    for (const part of all) {
      flat.set(part, at);
      at += part.length;
    }
    return flat;
  }

  async update(gradient?: Float32Array): Promise<UpdateReport> {
    const feeds: Record<string, ReturnType<typeof toRuntime>> = Object.fromEntries(this.#state);
    let at = 0;
    for (const [name, weights] of this.#weights) {
      for (const weight of weights) {
        const sum = this.#sumsOf(name).get(weight)!;
        const size = elementCount(sum.dims);
        const data = gradient?.subarray(at, at + size);
        feeds[`${SUM}${name}/${weight}`] =
          data === undefined ? sum : toRuntime({ type: 'float32', dims: sum.dims, data });
        at += size;
      }
    }
    const results = await this.#session.run(feeds);
    this.#sums.clear();
    const report = updateOf(results);
    if (Number.isFinite(report.gradientNorm)) {
      this.#state = new Map([...this.#state.keys()].map((name) => [name, results[NEXT + name]!]));
    }
    return report;
  }

  async state(): Promise<ReadonlyMap<string, Tensor>> {
    return new Map([...this.#state].map(([name, value]) => [name, fromRuntime(value)]));
  }

  async close(): Promise<void> {
    for (const run of this.#runs.values()) await run.close();
    await this.#session.release();
  }

  #encoder(side: Side): EncoderName {
    return this.shared ? 'shared' : side;
  }

  #weightsOf(name: EncoderName): RuntimeTensors {
    return new Map(this.#weights.get(name)!.map((weight) => [weight, this.#state.get(`${name}/${weight}`)!]));
  }

  #sumsOf(name: EncoderName): RuntimeTensors {
    let sums = this.#sums.get(name);
    if (sums === undefined) {
      const zeros = (weight: string): ReturnType<typeof toRuntime> => {
        const { dims } = this.#state.get(`${name}/${weight}`)!;
        return toRuntime({ type: 'float32', dims, data: new Float32Array(elementCount(dims)) });
      };
      sums = new Map(this.#weights.get(name)!.map((weight) => [weight, zeros(weight)]));
      this.#sums.set(name, sums);
    }
    return sums;
  }
}

/** How many numbers the encoders have that are trained. */
export function trainedParameters(encoders: ReadonlyMap<EncoderName, Encoder>): number {
  let count = 0;
  for (const { model, weights } of encoders.values()) count += parameterCount(model, weights);
  return count;
}
