import { OnnxError } from './errors.ts';
import type { Model, Node } from './model.ts';
import { runAsIs } from './run.ts';
import { arrayOf, elementCount, type ElementType, type Tensor, type TensorData } from './tensor.ts';

/** What one value of a graph is. */
export interface TracedValue {
  readonly type: ElementType;
  /** Sizes; a dimension that depends on what is fed is negative, and equal ones have equal numbers. */
  readonly dims: readonly number[];
  /** The contents, where they are the same whatever is fed. */
  readonly constant: Tensor | undefined;
}

/** Type, shape and constant contents of every value in a graph. */
export interface Trace {
  /** @throws {OnnxError} `REQUEST_INVALID` for a value that the graph does not have. */
  value(name: string): TracedValue;
}

/** Operators whose output is drawn anew in each run. */
const RANDOM = new Set([
  'RandomNormal',
  'RandomNormalLike',
  'RandomUniform',
  'RandomUniformLike',
  'Bernoulli',
  'Multinomial',
]);

/**
 * Finds type and shape of every value by running the graph twice, with two sizes for each named dimension, on zeros
 * (on ones for an attention mask): what ONNX Runtime computes needs no shape inference of our own. The sizes are small,
 * so this takes little more than a look at the weights.
 *
 * @throws {OnnxError} `REQUEST_INVALID` when ONNX Runtime can't run the graph.
 */
export async function trace(model: Model): Promise<Trace> {
  const { graph } = model;
  const dynamic = new Set(
    graph.inputs.flatMap(({ dims }) => dims ?? []).filter((dim) => typeof dim === 'string'),
  );
  // 2 is the smallest size that isn't broadcast.
  const sizesFrom = (first: number): Map<string, number> =>
    new Map([...dynamic].map((name, i) => [name, first + i]));
  const results = await runAll(model, [sizesFrom(2), sizesFrom(2 + Math.max(dynamic.size, 1))]);
  return summarize(model, results);
}

type Results = ReadonlyMap<string, Tensor>;

async function runAll(model: Model, sizes: readonly ReadonlyMap<string, number>[]): Promise<Results[]> {
  const { graph } = model;
  const names = graph.nodes.flatMap(({ outputs }) => outputs.filter((name) => name !== ''));
  const exposed = { ...model, graph: { ...graph, outputs: names.map((name) => ({ name })) } };
  const feeds = sizes.map((each) => feedsFor(model, each));
  try {
    const found = await runAsIs(exposed, feeds);
    return found.map(
      (results, i) => new Map([...graph.initializers, ...Object.entries({ ...feeds[i], ...results })]),
    );
  } catch (error) {
    throw new OnnxError('REQUEST_INVALID', `ONNX Runtime can't run the graph: ${String(error)}`, {
      cause: error,
    });
  }
}

function feedsFor({ graph }: Model, sizes: ReadonlyMap<string, number>): Record<string, Tensor> {
  return Object.fromEntries(
    graph.inputs.map(({ name, type, dims }) => {
      if (dims === undefined) throw new OnnxError('REQUEST_INVALID', `input "${name}" has no shape`);
      const size = dims.map((dim) => (typeof dim === 'number' ? dim : sizes.get(dim)!));
      const fill = name.endsWith('attention_mask') ? 1 : 0;
      const data = arrayOf(type, new Uint8Array(elementCount(size)).fill(fill));
      return [name, { type, dims: size, data }];
    }),
  );
}

function summarize({ graph }: Model, [first, second]: Results[]): Trace {
  const derived = shapeDerived(graph.nodes, graph.initializers);
  const values = new Map<string, TracedValue>();
  for (const [name, { type, dims, data }] of first!) {
    const other = second!.get(name)!;
    // A dynamic dimension is known by its two sizes.
    const sizes = dims.map((dim, i) => (dim === other.dims[i] ? dim : -(dim * 2 ** 20 + other.dims[i]!)));
    const same = sizes.every((dim) => dim >= 0) && derived.has(name) && equal(data, other.data);
    values.set(name, { type, dims: sizes, constant: same ? { type, dims, data } : undefined });
  }
  return {
    value(name) {
      const found = values.get(name);
      if (found === undefined) throw new OnnxError('REQUEST_INVALID', `the graph has no value "${name}"`);
      return found;
    },
  };
}

/** Values that depend on weights and on shapes alone, not on what is fed. */
function shapeDerived(nodes: readonly Node[], initializers: ReadonlyMap<string, Tensor>): Set<string> {
  const derived = new Set(['', ...initializers.keys()]);
  for (const { op, inputs, outputs, attributes } of nodes) {
    if (RANDOM.has(op) || Object.values(attributes).some(({ kind }) => kind === 'graph')) continue;
    if (op === 'Shape' || op === 'Size' || inputs.every((name) => derived.has(name))) {
      for (const name of outputs) derived.add(name);
    }
  }
  return derived;
}

function equal(a: TensorData, b: TensorData): boolean {
  if (a === b) return true;
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return false;
  return a.length === b.length;
}
