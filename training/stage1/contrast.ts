import type { InferenceSession } from 'onnxruntime-node';
import { differentiate } from '../gradient/differentiate.ts';
import { unit } from '../gradient/losses.ts';
import { GraphBuilder } from '../onnx/builder.ts';
import { int } from '../onnx/model.ts';
import { prune } from '../onnx/prune.ts';
import { fromRuntime, openSession, toRuntime } from '../onnx/run.ts';
import { float32, toNumbers } from '../onnx/tensor.ts';

/** Added to the score of a candidate that must not count as a negative: exp of it is 0 in float32. */
export const EXCLUDED = -1e4;

/** How a loss is computed. */
export interface ContrastOptions {
  dimensions: number;
  /** Whether scores are cosines; else they are dot products. */
  normalize: boolean;
  /** Divisor of the scores. */
  temperature: number;
}

/** A loss and its gradient. */
export interface Contrasted {
  loss: number;
  /** Its derivative by each query's vector. */
  queries: Float32Array;
  /** Its derivative by each candidate's vector. */
  documents: Float32Array;
}

/**
 * InfoNCE (van den Oord et al., 2018: https://arxiv.org/abs/1807.03748) over vectors that come from anywhere: the mean of
 * −log of the softmax that a query's own document gets among all candidates.
 */
export class Contrast {
  readonly #session: InferenceSession;
  readonly #dimensions: number;

  private constructor(session: InferenceSession, dimensions: number) {
    this.#session = session;
    this.#dimensions = dimensions;
  }

  static async open(options: ContrastOptions, threads?: number): Promise<Contrast> {
    const { dimensions, normalize, temperature } = options;
    const g = new GraphBuilder();
    const queries = g.input('queries', 'float32', ['queries', dimensions]);
    const documents = g.input('documents', 'float32', ['documents', dimensions]);
    const excluded = g.input('excluded', 'float32', ['queries', 'documents']);
    const own = g.input('own', 'float32', ['queries', 'documents']);
    const [q, d] = normalize ? [unit(g, queries), unit(g, documents)] : [queries, documents];
    const scores = g.node('Div', [g.node('MatMul', [q, g.node('Transpose', [d])]), g.scalar(temperature)]);
    const last = g.ints([-1]);
    const all = g.node('ReduceLogSumExp', [g.node('Add', [scores, excluded]), last]);
    const picked = g.node('ReduceSum', [g.node('Mul', [scores, own]), last]);
    g.output('loss', g.node('ReduceMean', [g.node('Sub', [all, picked])], { keepdims: int(0) }));
    const { g: both, gradients } = await differentiate(g.build(), 'loss', [queries, documents]);
    const outputs = [queries, documents].map((name) => both.output(`gradient/${name}`, gradients.get(name)!));
    const session = await openSession(prune(both.build(), ['loss', ...outputs]), threads);
    return new Contrast(session, dimensions);
  }

  /**
   * @param queries - a row each
   * @param documents - a row each; document `i` belongs to query `i`, those after the last query to none
   * @param excluded - {@link EXCLUDED} where a candidate does not count for a query, else 0: queries × documents
   */
  async run(queries: Float32Array, documents: Float32Array, excluded: Float32Array): Promise<Contrasted> {
    const rows = queries.length / this.#dimensions;
    const candidates = documents.length / this.#dimensions;
    const own = new Float32Array(rows * candidates);
    for (let row = 0; row < rows; row++) own[row * candidates + row] = 1;
    const results = await this.#session.run({
      queries: toRuntime(float32([rows, this.#dimensions], queries)),
      documents: toRuntime(float32([candidates, this.#dimensions], documents)),
      excluded: toRuntime(float32([rows, candidates], excluded)),
      own: toRuntime(float32([rows, candidates], own)),
    });
    const numbers = (name: string): Float32Array => toNumbers(fromRuntime(results[name]!)) as Float32Array;
    return {
      loss: numbers('loss')[0]!,
      queries: numbers('gradient/queries'),
      documents: numbers('gradient/documents'),
    };
  }

  async close(): Promise<void> {
    await this.#session.release();
  }
}

/**
 * Which candidates are no negatives of a query: its own document under another row, and other documents of the same
 * query. The query's own row is not excluded.
 *
 * @param queries - a key for each query: equal texts have equal keys
 * @param documents - a key for each candidate; the first belong to the queries, in their order
 */
export function exclusions(queries: readonly string[], documents: readonly string[]): Float32Array {
  const excluded = new Float32Array(queries.length * documents.length);
  const at = (row: number, candidate: number): number => row * documents.length + candidate;
  const byText = indicesOf(documents);
  const sameQuery = indicesOf(queries);
  for (const [row, query] of queries.entries()) {
    for (const twin of sameQuery.get(query)!) {
      for (const candidate of byText.get(documents[twin]!)!) {
        if (candidate !== row) excluded[at(row, candidate)] = EXCLUDED;
      }
    }
  }
  return excluded;
}

function indicesOf(keys: readonly string[]): Map<string, number[]> {
  const found = new Map<string, number[]>();
  for (const [index, key] of keys.entries()) {
    const others = found.get(key);
    if (others === undefined) found.set(key, [index]);
    else others.push(index);
  }
  return found;
}
