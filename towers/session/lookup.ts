import { readFile } from 'node:fs/promises';
import { TowerError } from '../errors.ts';
import { LookupEncoder } from '../lookup/encoder.ts';
import { LookupError } from '../lookup/errors.ts';
import type { LookupStages } from '../lookup/stages.ts';
import type { ModelOptions, Session, TokenBatch } from './protocol.ts';

/**
 * Most tokens of a text that is encoded without ONNX Runtime. A lookup with tokens alone, one thread of two cores: 4 tokens
 * 12 µs (ONNX Runtime 77), 16 tokens 21 (53), 64 tokens 64 (90), 128 tokens 82 (97), 256 tokens 164 (116). One with weights
 * and pairs in four bits, 225 queries of 22 tokens together: 39 µs of processor time a query (ONNX Runtime 83).
 */
export const MAX_PLAIN_TOKENS = 64;

/** What a lookup needs to run by its stages. */
export interface LookupOptions extends ModelOptions {
  lookup: LookupStages;
  dimensions: number;
}

/**
 * A lookup in this thread. Runs of texts of few tokens go by its stages, without ONNX Runtime; the graph is loaded when the
 * first longer text comes, and the library with it, so that a service that answers queries has neither.
 */
export class LookupSession implements Session {
  readonly device = 'cpu';
  readonly #options: LookupOptions;
  readonly #log: (message: string) => void;
  readonly #encoder: LookupEncoder;
  #graph: Promise<Session> | undefined;

  private constructor(options: LookupOptions, log: (message: string) => void, encoder: LookupEncoder) {
    this.#options = options;
    this.#log = log;
    this.#encoder = encoder;
  }

  /** Runs by the graph alone where stages and weights do not fit together, and says why. @throws {TowerError} */
  static async load(options: LookupOptions, log: (message: string) => void): Promise<Session> {
    try {
      const encoder = new LookupEncoder(await readFile(options.path), options);
      return new LookupSession(options, log, encoder);
    } catch (error) {
      if (!(error instanceof LookupError)) throw error;
      log(`the lookup runs with ONNX Runtime alone: ${error.message}`);
      return loadGraph(options, log);
    }
  }

  async run(batch: TokenBatch): Promise<Float32Array<ArrayBuffer>> {
    const { ids, lengths } = batch;
    if (lengths.some((length) => length > MAX_PLAIN_TOKENS)) {
      // A graph that can't be loaded now may be later: memory comes and goes.
      this.#graph ??= loadGraph(this.#options, this.#log).catch((error: unknown) => {
        this.#graph = undefined;
        throw error;
      });
      return (await this.#graph).run(batch);
    }
    const { dimensions } = this.#options;
    const vectors = new Float32Array(lengths.length * dimensions);
    let start = 0;
    for (const [row, length] of lengths.entries()) {
      const text = ids.subarray(start, start + length);
      this.#encode(text, vectors.subarray(row * dimensions, (row + 1) * dimensions));
      start += length;
    }
    return vectors;
  }

  runNow(ids: readonly number[]): Float32Array<ArrayBuffer> | undefined {
    if (ids.length > MAX_PLAIN_TOKENS) return undefined;
    const vector = new Float32Array(this.#options.dimensions);
    this.#encode(ids, vector);
    return vector;
  }

  #encode(ids: ArrayLike<number>, row: Float32Array): void {
    try {
      this.#encoder.encodeInto(ids, row);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new TowerError('ENCODER_FAILED', `the model failed on a batch: ${why}`, { cause: error });
    }
  }

  async close(): Promise<void> {
    const graph = await this.#graph?.catch(() => undefined);
    await graph?.close();
  }
}

async function loadGraph(options: ModelOptions, log: (message: string) => void): Promise<Session> {
  const { Model } = await import('./model.ts');
  return Model.load(options, log);
}
