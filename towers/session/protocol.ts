import type { TowerError } from '../errors.ts';
import type { Activation, Pooling } from '../space.ts';

/** Inputs of one run, not padded yet: token ids end to end, and how many belong to each input. */
export interface TokenBatch {
  ids: Int32Array<ArrayBuffer>;
  lengths: Int32Array<ArrayBuffer>;
  /** The inputs as text, where the model runs elsewhere. */
  texts?: readonly string[];
  /** How many tokens at the start of each input are read and not pooled. @default none */
  unpooled?: Int32Array<ArrayBuffer>;
  /** Where the second of two texts begins in each input, for models that read pairs. @default there is one text */
  second?: number;
}

/** A run in which some inputs failed, and the others did not. */
export class SomeFailed extends Error {
  override readonly name = 'SomeFailed';

  /** Of all rows; those of failed inputs mean nothing. */
  readonly vectors: Float32Array;
  /** By row. */
  readonly failures: ReadonlyMap<number, TowerError>;

  constructor(vectors: Float32Array, failures: ReadonlyMap<number, TowerError>) {
    super(`${failures.size} inputs of a run failed`);
    this.vectors = vectors;
    this.failures = failures;
  }
}

/** A layer over the pooled vector, and the file that holds its weights. */
export type HeadPart =
  | { type: 'dense'; path: string; activation: Activation; residual: boolean }
  | { type: 'layer_norm'; path: string }
  | { type: 'normalize' };

/** What it takes to load a model. */
export interface ModelOptions {
  /** Path of the ONNX file. */
  path: string;
  /** `auto`, `cpu`, `cuda`, `cuda:1`, ... */
  device: string;
  /** Threads of one run on the CPU; 0 leaves it to ONNX Runtime (one per physical core). */
  threads: number;
  pooling: Pooling;
  /** Layers over the pooled vector. @default none */
  head?: readonly HeadPart[];
  normalize: boolean;
  /** The graph's output to read. @default the best that is known by name, else the only one */
  output?: string;
  /** Components to keep. @default all */
  dimensions?: number;
}

/** A loaded model: somewhere a run of it can be asked for. */
export interface Session {
  /** Where it runs: `cpu`, `cuda:0`, ... */
  readonly device: string;
  /** How many runs may go on at once. May change at any time. @default 1 */
  readonly slots?: number;
  /** Whether a run costs a request, so that one more begins only with a batch that had some time to fill. @default false */
  readonly waitsToFill?: boolean;
  /** Most inputs of a run, and most tokens. May change at any time. @default what the encoder was told */
  readonly maxInputs?: number;
  readonly maxTokens?: number;
  /**
   * Vectors of the inputs, row after row. The arrays of the batch are gone afterwards.
   *
   * @throws {SomeFailed} where only some inputs failed
   */
  run(batch: TokenBatch): Promise<Float32Array<ArrayBuffer>>;
  /**
   * The vector of one input at once, where that takes microseconds.
   *
   * @throws {TowerError} `ENCODER_FAILED`
   */
  runNow?(ids: readonly number[]): Float32Array<ArrayBuffer>;
  /** The encoder is being closed, and waits for the runs. */
  closing?(): void;
  close(): Promise<void>;
}
