import { attribute, int, type Attribute, type Attributes } from '../model.ts';
import { float32, int64, type Tensor } from '../tensor.ts';
import type { Rewrite, Rewrites, Rewriting } from './rewriting.ts';

function without(attributes: Attributes, ...names: string[]): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => !names.includes(name)));
}

/** An attribute that later became the second input. */
function listToInput(name: string): Rewrite {
  return ({ g, node, input }) => {
    const list = attribute(node, name, 'ints', undefined);
    if (list === undefined) return undefined;
    return g.nodes(node.op, [input(0), g.ints(list)], node.outputs.length, without(node.attributes, name));
  };
}

/** Before operator set 13, softmax took all axes from `axis` on as one. */
const flatSoftmax: Rewrite = ({ g, node, opset, input, traced }) => {
  const axis = attribute(node, 'axis', 'int', 1);
  if (opset >= 13) return undefined;
  const rank = traced(0)!.dims.length;
  if (axis === -1 || axis === rank - 1) return [g.node(node.op, [input(0)], { axis: int(-1) })];
  const flat = g.node('Flatten', [input(0)], { axis: int(axis) });
  return [g.node('Reshape', [g.node(node.op, [flat], { axis: int(-1) }), g.node('Shape', [input(0)])])];
};

const slice: Rewrite = ({ g, node, input }) => {
  const starts = attribute(node, 'starts', 'ints', undefined);
  const ends = attribute(node, 'ends', 'ints', undefined);
  if (starts === undefined || ends === undefined) return undefined;
  const axes = attribute(
    node,
    'axes',
    'ints',
    starts.map((_, i) => i),
  );
  return [g.node('Slice', [input(0), g.ints(starts), g.ints(ends), g.ints(axes)])];
};

const split: Rewrite = ({ g, node, opset, input }) => {
  const count = node.outputs.length;
  const sizes = attribute(node, 'split', 'ints', undefined);
  const axis = int(attribute(node, 'axis', 'int', 0));
  if (sizes !== undefined) return g.nodes('Split', [input(0), g.ints(sizes)], count, { axis });
  if (opset < 18 && input(1) === '')
    return g.nodes('Split', [input(0)], count, { axis, num_outputs: int(count) });
  return undefined;
};

const clip: Rewrite = ({ g, node, opset, input, result }) => {
  if (opset >= 11) return undefined;
  const bound = (name: string): string => {
    const value = attribute(node, name, 'float', undefined);
    return value === undefined ? '' : g.scalar(value, result.type);
  };
  return [g.node('Clip', [input(0), bound('min'), bound('max')])];
};

/** Constants become initialisers, whatever attribute holds them. */
const constantNode: Rewrite = ({ g, node }: Rewriting) => {
  const [found] = Object.values(node.attributes);
  const value = found && constantOf(found);
  return value && [g.initializer(node.outputs[0]!, value)];
};

function constantOf({ kind, value }: Attribute): Tensor | undefined {
  if (kind === 'tensor') return value;
  if (kind === 'int') return int64([value], []);
  if (kind === 'ints') return int64(value);
  if (kind === 'float') return float32([], [value]);
  return kind === 'floats' ? float32([value.length], value) : undefined;
}

const REDUCTIONS = ['L1', 'L2', 'LogSum', 'LogSumExp', 'Max', 'Mean', 'Min', 'Prod', 'Sum', 'SumSquare'];

/** What changed in ONNX's own operators on the way to the operator set that graphs are built for. */
export const VERSIONS: Rewrites = {
  ...Object.fromEntries(REDUCTIONS.map((name) => [`Reduce${name}`, listToInput('axes')])),
  Squeeze: listToInput('axes'),
  Unsqueeze: listToInput('axes'),
  Softmax: flatSoftmax,
  LogSoftmax: flatSoftmax,
  Slice: slice,
  Split: split,
  Clip: clip,
  Constant: constantNode,
  // A graph that is run for inference drops nothing.
  Dropout: ({ input }) => [input(0)],
};
