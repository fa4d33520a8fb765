import { GraphBuilder } from '../onnx/builder.ts';
import { OnnxError } from '../onnx/errors.ts';
import { attribute, describeNode, type Model, type Node } from '../onnx/model.ts';
import { trace, type Trace } from '../onnx/trace.ts';
import { elementCount, float32, type Tensor } from '../onnx/tensor.ts';
import { renameValue } from './layers.ts';

/** Name of the matrix that leads from a narrow encoder's vectors to its teacher's dimensions: float32 [width, dimensions]. */
export const PROJECTION = 'projection';

/** Operators whose inputs and output have the same axes, counted from the last. */
const ALIGNED = new Set(
  (
    'Abs Add Cast Ceil Clip Concat Cos Div Elu Erf Exp Expand Floor Gelu Identity LayerNormalization LeakyRelu Log Max ' +
    'Mean Min Mish Mul Neg Pow Reciprocal ReduceL2 ReduceMean ReduceSum ReduceSumSquare Relu Reshape Sigmoid Sin Slice ' +
    'Softmax Softplus Sqrt Sub Sum Tanh Where'
  ).split(' '),
);

/** Operators that look at sizes alone: they see the new ones when they run. */
const SIZES = new Set(['Shape', 'Size']);

/**
 * An encoder whose tokens' vectors have fewer components, with a {@link PROJECTION} of its output to as many as it had.
 * The components with the largest weights are kept; heads and inner layers keep their sizes, so that weights and
 * operations go down with the width.
 *
 * @param model - in plain operators
 * @param stream - name of some tokens' vectors, [batch, sequence, width]
 * @param output - of the same width
 * @throws {OnnxError} `REQUEST_INVALID` for a width that is not below the encoder's; `OPERATOR_UNSUPPORTED` for an
 *   operator that vectors can't be followed through, named with its node
 */
export async function narrowTo(model: Model, stream: string, output: string, width: number): Promise<Model> {
  const { graph } = model;
  const traced = await trace(model);
  const { dims } = traced.value(stream);
  const whole = dims.at(-1)!;
  if (!(Number.isInteger(width) && width >= 1 && width < whole)) {
    throw new OnnxError(
      'REQUEST_INVALID',
      `a width of ${width} is not between 1 and ${whole - 1}, one less than the teacher's`,
    );
  }
  const axes = new Axes();
  for (const node of graph.nodes) relate(node, traced, axes);
  const hidden = axes.of(stream, dims.length - 1);
  const isHidden = (name: string, axis: number): boolean => axes.of(name, axis) === hidden;
  for (const node of graph.nodes) {
    const passes = node.inputs.some(
      (name) => name !== '' && sizes(traced, name).some((_, i) => isHidden(name, i)),
    );
    if (passes && !isKnown(node)) {
      throw new OnnxError(
        'OPERATOR_UNSUPPORTED',
        `an encoder with ${describeNode(node)} can't be made narrower; leave the width out`,
      );
    }
  }
  const found = [...graph.initializers].flatMap(([name, value]) => {
    const at = value.dims.findIndex((_, axis) => isHidden(name, axis));
    return at < 0 ? [] : [{ name, value, at }];
  });
  const kept = largest(found, whole, width);
  const initializers = new Map(graph.initializers);
  for (const { name, value, at } of found) initializers.set(name, pick(value, at, kept));

  const inner = `${output}/narrow`;
  const renamed = renameValue({ ...graph, initializers }, output, inner);
  const g = new GraphBuilder({ ...model, graph: { ...renamed, outputs: [] } });
  const out = sizes(traced, output);
  if (!isHidden(output, out.length - 1)) {
    throw new OnnxError('OPERATOR_UNSUPPORTED', `"${output}" does not have the width of the tokens' vectors`);
  }
  const matrix = new Float32Array(width * whole);
  for (const [row, column] of kept.entries()) matrix[row * whole + column] = 1;
  const projection = g.initializer(PROJECTION, float32([width, whole], matrix));
  const ends = { inputs: [inner, projection], outputs: [output] };
  g.add({ op: 'MatMul', domain: '', name: output, ...ends, attributes: {} });
  g.output(output, output);
  return g.build();
}

function sizes(traced: Trace, name: string): readonly number[] {
  return traced.value(name).dims;
}

function isKnown({ op, domain }: Node): boolean {
  return (
    domain === '' && (ALIGNED.has(op) || SIZES.has(op) || ['MatMul', 'Gather', 'Transpose'].includes(op))
  );
}

/** Says which axes of a node's inputs and output are the same. */
function relate(node: Node, traced: Trace, axes: Axes): void {
  const [output] = node.outputs;
  const inputs = node.inputs.filter((name) => name !== '');
  if (!isKnown(node) || SIZES.has(node.op)) return;
  const out = sizes(traced, output!);
  switch (node.op) {
    case 'MatMul': {
      const [left, right] = inputs as [string, string];
      const [a, b] = [sizes(traced, left), sizes(traced, right)];
      if (a.length < 2 || b.length < 2) return;
      axes.join(left, a.length - 1, right, b.length - 2);
      axes.join(output!, out.length - 1, right, b.length - 1);
      for (let axis = 0; axis < Math.min(a.length, out.length) - 1; axis++) {
        if (a.length === out.length && a[axis] === out[axis]) axes.join(left, axis, output!, axis);
      }
      return;
    }
    case 'Gather': {
      const [table, indices] = inputs as [string, string];
      const { length } = sizes(traced, table);
      const axis = (attribute(node, 'axis', 'int', 0) + length) % length;
      const grown = sizes(traced, indices).length - 1;
      for (let at = 0; at < length; at++) {
        if (at !== axis) axes.join(table, at, output!, at < axis ? at : at + grown);
      }
      return;
    }
    case 'Transpose': {
      const order = attribute(node, 'perm', 'ints', [...out.keys()].reverse());
      for (const [to, from] of order.entries()) axes.join(inputs[0]!, from, output!, to);
      return;
    }
    default:
      for (const name of inputs) {
        const dims = sizes(traced, name);
        // What is reshaped keeps its last axis where that has as many components, and no other for certain.
        const aligned = node.op === 'Reshape' ? 1 : Math.min(dims.length, out.length);
        for (let back = 1; back <= Math.min(aligned, dims.length); back++) {
          const size = dims[dims.length - back]!;
          if (size !== 1 && size === out[out.length - back]) {
            axes.join(name, dims.length - back, output!, out.length - back);
          }
        }
      }
  }
}

/** Axes of values, those that are the same joined to sets. */
class Axes {
  readonly #parents = new Map<string, string>();

  join(a: string, axisOfA: number, b: string, axisOfB: number): void {
    this.#parents.set(this.of(a, axisOfA), this.of(b, axisOfB));
  }

  /** A name for the set that an axis is in. */
  of(name: string, axis: number): string {
    let at = `${axis} ${name}`;
    for (let parent = this.#parents.get(at); parent !== undefined && parent !== at;) {
      at = parent;
      parent = this.#parents.get(at);
    }
    return at;
  }
}

interface Sliced {
  name: string;
  value: Tensor;
  /** Which of its axes is along the components. */
  at: number;
}

/** The components with the largest squares, each weight's taken as shares of its own, in their order. */
function largest(weights: readonly Sliced[], whole: number, width: number): number[] {
  const shares = new Float64Array(whole);
  for (const { value, at } of weights) {
    const squares = new Float64Array(whole);
    const stride = elementCount(value.dims.slice(at + 1));
    const data = value.data as Float32Array;
    for (const [index, x] of data.entries()) squares[Math.floor(index / stride) % whole]! += x * x;
    const total = squares.reduce((sum, x) => sum + x, 0) || 1;
    for (const [component, square] of squares.entries()) shares[component]! += square / total;
  }
  return [...shares.keys()]
    .sort((a, b) => shares[b]! - shares[a]! || a - b)
    .slice(0, width)
    .sort((a, b) => a - b);
}

function pick({ dims, data }: Tensor, axis: number, kept: readonly number[]): Tensor {
  const whole = dims[axis]!;
  const stride = elementCount(dims.slice(axis + 1));
  const outer = elementCount(dims.slice(0, axis));
  const source = data as Float32Array;
  const values = new Float32Array(outer * kept.length * stride);
  for (let block = 0; block < outer; block++) {
    for (const [place, component] of kept.entries()) {
      const from = (block * whole + component) * stride;
      values.set(source.subarray(from, from + stride), (block * kept.length + place) * stride);
    }
  }
  return float32(
    dims.map((size, at) => (at === axis ? kept.length : size)),
    values,
  );
}
