import type { Activation, Pooling } from '../space.ts';

/** Inputs of one run, not padded yet: token ids end to end, and how many belong to each input. */
export interface TokenBatch {
  ids: Int32Array<ArrayBuffer>;
  lengths: Int32Array<ArrayBuffer>;
  /** How many tokens at the start of each input are read and not pooled. @default none */
  unpooled?: Int32Array<ArrayBuffer>;
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

/** A loaded model: somewhere a run of it can be asked for. One run at a time. */
export interface Session {
  /** Where it runs: `cpu`, `cuda:0`, ... */
  readonly device: string;
  /** Vectors of the inputs, row after row. The arrays of the batch are gone afterwards. */
  run(batch: TokenBatch): Promise<Float32Array<ArrayBuffer>>;
  close(): Promise<void>;
}
