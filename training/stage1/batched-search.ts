import type { InferenceSession, Tensor as RuntimeTensor } from 'onnxruntime-node';
import { GraphBuilder } from '../onnx/builder.ts';
import { int } from '../onnx/model.ts';
import { fromRuntime, openSession, toRuntime } from '../onnx/run.ts';
import { float32, int64, toNumbers } from '../onnx/tensor.ts';

/** Scores that are held at a time: a quarter of a gigabyte. */
const MAX_SCORES = 2 ** 26;

/** The best documents of a query, best first; ties by the order of documents. */
export interface Best {
  indices: number[];
  scores: number[];
}

/**
 * Exact search as one matrix product: for tens of thousands of queries over as many documents, which a loop would take an
 * hour for. Memory beside the vectors is bounded, whatever their number.
 *
 * @param queries - rows of `dimensions`
 * @param documents - rows of `dimensions`
 * @param depth - how many documents of each query
 * @yields for each query, in order
 */
export async function* searchBatched(
  queries: Float32Array,
  documents: Float32Array,
  options: { dimensions: number; depth: number; threads?: number | undefined },
): AsyncGenerator<Best> {
  const { dimensions, threads } = options;
  const rows = queries.length / dimensions;
  const count = documents.length / dimensions;
  const depth = Math.min(options.depth, count);
  const session = await open(dimensions, threads);
  try {
    const fed = toRuntime(float32([count, dimensions], documents));
    const chunk = Math.max(1, Math.min(rows, Math.floor(MAX_SCORES / count)));
    for (let start = 0; start < rows; start += chunk) {
      const end = Math.min(rows, start + chunk);
      const part = queries.subarray(start * dimensions, end * dimensions);
      const results = await session.run({
        queries: toRuntime(float32([end - start, dimensions], part)),
        documents: fed,
        depth: toRuntime(int64([depth])),
      });
      const scores = numbers(results['scores']!);
      const indices = numbers(results['indices']!);
      for (let row = 0; row < end - start; row++) {
        yield {
          indices: Array.from(indices.subarray(row * depth, (row + 1) * depth)),
          scores: Array.from(scores.subarray(row * depth, (row + 1) * depth)),
        };
      }
    }
  } finally {
    await session.release();
  }
}

function numbers(value: RuntimeTensor): Float32Array | Float64Array {
  return toNumbers(fromRuntime(value));
}

function open(dimensions: number, threads: number | undefined): Promise<InferenceSession> {
  const g = new GraphBuilder();
  const queries = g.input('queries', 'float32', ['queries', dimensions]);
  const documents = g.input('documents', 'float32', ['documents', dimensions]);
  const depth = g.input('depth', 'int64', [1]);
  // The product with a transposed matrix, without a transposed copy of all documents.
  const all = g.node('com.microsoft:FusedMatMul', [queries, documents], { transB: int(1) });
  const [scores, indices] = g.nodes('TopK', [all, depth], 2, { axis: int(-1), sorted: int(1) });
  g.output('scores', scores!);
  g.output('indices', indices!);
  return openSession(g.build(), threads);
}
