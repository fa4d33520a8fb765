import type { Pooling } from '../space.ts';

/** Inputs of one run, not padded yet: token ids end to end, and how many belong to each input. */
export interface TokenBatch {
  ids: Int32Array<ArrayBuffer>;
  lengths: Int32Array<ArrayBuffer>;
}

/** What it takes to load a model. */
export interface ModelOptions {
  /** Path of the ONNX file. */
  path: string;
  /** `auto`, `cpu`, `cuda`, `cuda:1`, ... */
  device: string;
  /** Threads of one run on the CPU; 0 leaves it to ONNX Runtime (one per physical core). */
  threads: number;
  pooling: Pooling;
  normalize: boolean;
  dimensions: number;
}

/** A loaded model: somewhere a run of it can be asked for. One run at a time. */
export interface Session {
  /** Where it runs: `cpu`, `cuda:0`, ... */
  readonly device: string;
  /** Vectors of the inputs, row after row. The arrays of the batch are gone afterwards. */
  run(batch: TokenBatch): Promise<Float32Array<ArrayBuffer>>;
  close(): Promise<void>;
}
