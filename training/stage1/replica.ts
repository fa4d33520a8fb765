import type { OptimizerOptions } from '../gradient/optimizer.ts';
import { buildUpdate, buildUpstreamGradient, UPSTREAM, type TrainedGraph } from '../gradient/step.ts';
import { Trainer, type Feeds, type UpdateReport } from '../gradient/trainer.ts';
import { VECTORS } from '../gradient/transformer.ts';
import { asInputs, parameterCount } from '../onnx/parameters.ts';
import { prune } from '../onnx/prune.ts';
import { float32, rowsOf, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { pad, planRuns } from '../padding.ts';
import type { TrainablePooling } from '../trainable.ts';
import type { StudentKind } from '../distill/request.ts';
import { type Encoder, readEncoder } from './encoder.ts';
import type { QueryStart } from './request.ts';

/** The side that a text is on. Each side has an encoder of its own, or both share one. */
export type Side = 'query' | 'document';

/** What to train, as plain data that can be sent to another process. */
export interface ReplicaPlan {
  /** Folder of the tower to start from. */
  directory: string;
  manifest: { pooling: TrainablePooling; dimensions: number };
  /** Whether both sides have the same weights. */
  shared: boolean;
  /** What the query encoder is; undefined: all of the base's layers. Not with shared weights. */
  queryStudent: StudentKind | undefined;
  /** Where the query encoder starts. With random weights its tables are trained. @default base */
  queryStart?: QueryStart;
  /** Whether the document encoder stays as it is. @default false */
  frozenDocuments?: boolean;
  /** Of random weights. @default 1 */
  seed?: number;
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
  /** Adds a loss's gradient to the sums, given its derivative by the texts' vectors. */
  accumulate(side: Side, texts: readonly (readonly number[])[], upstream: Float32Array): Promise<void>;
  /** The sums of all weights, one after the other: to be added to those of other replicas. */
  gradient(): Promise<Float32Array>;
  /**
   * Takes a step and clears the sums. When the gradient is not finite, the weights stay unchanged.
   * @param gradient - of all replicas together. @default this replica's own sums
   */
  update(gradient?: Float32Array): Promise<UpdateReport>;
  /** Everything that the next step depends on besides its batch. Names begin with the encoder's. */
  state(): Promise<ReadonlyMap<string, Tensor>>;
  close(): Promise<void>;
}

/** Names of encoders: with shared weights there is one. */
export type EncoderName = Side | 'shared';

/**
 * Reads the encoders that a plan starts from. A lookup is none: it has no graph that is trained.
 *
 * @throws {OnnxError} as `readEncoder` does
 */
export async function readEncoders(plan: ReplicaPlan): Promise<Map<EncoderName, Encoder>> {
  const encoders = new Map<EncoderName, Encoder>();
  const names = plan.shared ? (['shared'] as const) : (['query', 'document'] as const);
  for (const name of names) {
    const student = name === 'query' ? plan.queryStudent : undefined;
    if (student?.kind === 'lookup') continue;
    const random = name === 'query' && plan.queryStart === 'random';
    const encoder = await readEncoder(plan.directory, {
      ...plan.manifest,
      layers: student?.layers,
      width: student?.width,
      trainTables: plan.trainTables || random,
      randomSeed: random ? (plan.seed ?? 1) : undefined,
    });
    const frozen = name === 'document' && plan.frozenDocuments === true;
    encoders.set(name, frozen ? { ...encoder, weights: [] } : encoder);
  }
  return encoders;
}

/** A replica in this process. A run blocks the thread while it computes. */
export class LocalReplica implements Replica {
  readonly shared: boolean;
  readonly #trainer: Trainer;
  readonly #dimensions: number;

  private constructor(shared: boolean, trainer: Trainer, dimensions: number) {
    this.shared = shared;
    this.#trainer = trainer;
    this.#dimensions = dimensions;
  }

  /**
   * @param options.state - what {@link state} returned, to go on from there. @default the start
   * @param options.encoders - what {@link readEncoders} gives for the plan, where it is at hand
   * @throws {OnnxError} as `readEncoders` does; `GRADIENT_MISSING` for an operator without a gradient
   */
  static async open(
    plan: ReplicaPlan,
    options: {
      state?: ReadonlyMap<string, Tensor> | undefined;
      encoders?: ReadonlyMap<EncoderName, Encoder>;
    } = {},
  ): Promise<LocalReplica> {
    const encoders = options.encoders ?? (await readEncoders(plan));
    const graphs = new Map<string, TrainedGraph>();
    const start = new Map<string, Tensor>();
    for (const [name, { model, pooled, weights }] of encoders) {
      graphs.set(prefixOf(name), {
        gradient: await buildUpstreamGradient(pooled, VECTORS, weights),
        forward: asInputs(prune(pooled, [VECTORS]), weights),
        weights,
      });
      for (const weight of weights) start.set(prefixOf(name) + weight, model.graph.initializers.get(weight)!);
    }
    const step = { graphs, update: buildUpdate(start, plan.optimizer), tables: [] };
    const trainer = await Trainer.create(step, { threads: plan.threads, state: options.state });
    return new LocalReplica(encoders.has('shared'), trainer, plan.manifest.dimensions);
  }

  async encode(side: Side, texts: readonly (readonly number[])[]): Promise<Float32Array> {
    const width = this.#dimensions;
    const rows = new Float32Array(texts.length * width);
    for (const [batch, feeds] of this.#runs(side, texts)) {
      const found = toNumbers(
        (await this.#trainer.observe(feeds, this.#prefix(side)))[VECTORS]!,
      ) as Float32Array;
      for (const [at, text] of batch.entries()) {
        rows.set(found.subarray(at * width, (at + 1) * width), text * width);
      }
    }
    return rows;
  }

  async accumulate(side: Side, texts: readonly (readonly number[])[], upstream: Float32Array): Promise<void> {
    const width = this.#dimensions;
    for (const [batch, feeds] of this.#runs(side, texts)) {
      const gradient = float32([batch.length, width], rowsOf(upstream, width, batch));
      await this.#trainer.accumulate({ ...feeds, [UPSTREAM]: gradient }, this.#prefix(side));
    }
  }

  async gradient(): Promise<Float32Array> {
    return this.#trainer.gradient();
  }

  update(gradient?: Float32Array): Promise<UpdateReport> {
    return this.#trainer.update(gradient);
  }

  async state(): Promise<ReadonlyMap<string, Tensor>> {
    return this.#trainer.state();
  }

  close(): Promise<void> {
    return this.#trainer.close();
  }

  #prefix(side: Side): string {
    return prefixOf(this.shared ? 'shared' : side);
  }

  /** Texts in runs of like length: their indices and token inputs. */
  *#runs(
    side: Side,
    texts: readonly (readonly number[])[],
  ): Generator<[batch: readonly number[], feeds: Feeds]> {
    const inputs = this.#trainer.inputs(this.#prefix(side));
    for (const batch of planRuns(texts.map(({ length }) => length))) {
      yield [
        batch,
        pad(
          batch.map((text) => texts[text]!),
          inputs,
        ),
      ];
    }
  }
}

/** Before the names of an encoder's weights in a trainer's state. */
function prefixOf(name: EncoderName): string {
  return `${name}/`;
}

/** How many trained numbers the encoders have. */
export function trainedParameters(encoders: ReadonlyMap<EncoderName, Encoder>): number {
  let count = 0;
  for (const { model, weights } of encoders.values()) count += parameterCount(model, weights);
  return count;
}
