import { attribute, int, ints, text, type Attributes } from '../../onnx/model.ts';
import { unary, type Backward, type Gradient, type Gradients } from '../backward.ts';

/** The gradient of an operator that moves no element has the shape of the input. */
const reshaped: Gradient = unary((b, x, _y, dy) => b.reshapeLike(dy, x));

function transpose(b: Backward): (() => string)[] {
  const rank = b.dims(b.y).length;
  const perm = attribute(
    b.node,
    'perm',
    'ints',
    Array.from({ length: rank }, (_, i) => rank - 1 - i),
  );
  const inverse = perm.map((_, axis) => perm.indexOf(axis));
  return [() => b.g.node('Transpose', [b.dy], { perm: ints(inverse) })];
}

function concat(b: Backward): (() => string)[] {
  const { g, node } = b;
  const axis = b.axis(attribute(node, 'axis', 'int', 0), b.y);
  let parts: string[] | undefined;
  const split = (): string[] => {
    if (parts === undefined) {
      const sizes = node.inputs.map((x) => b.dims(x)[axis]!);
      const lengths = sizes.every((size) => size >= 0)
        ? g.ints(sizes)
        : g.node(
            'Concat',
            node.inputs.map((x) => b.shapeBetween(x, axis, axis + 1)),
            { axis: int(0) },
          );
      parts = g.nodes('Split', [b.dy, lengths], sizes.length, { axis: int(axis) });
    }
    return parts;
  };
  return node.inputs.map((_, i) => () => split()[i]!);
}

function split(b: Backward): (() => string)[] {
  const parts = b.node.outputs.map((_, i) => b.gradientOf(i));
  return [() => b.g.node('Concat', parts, { axis: int(attribute(b.node, 'axis', 'int', 0)) })];
}

/** Pads dy with zeros, or spreads it over zeros where the step is not 1. */
function slice(b: Backward): (() => string)[] {
  const { g } = b;
  const [x, starts] = [b.x(0), b.x(1)];
  const rank = b.dims(x).length;
  const count = b.dims(starts)[0]!;
  const listed = b.x(3) === '' ? Array.from({ length: count }, (_, i) => i) : b.constant(3);
  const steps = b.x(4) === '' ? listed?.map(() => 1) : b.constant(4);
  if (listed === undefined || steps === undefined)
    throw b.refuse('for axes or steps that are known at run time only');
  const axes = listed.map((axis) => (axis < 0 ? axis + rank : axis));
  const dx = (): string => {
    if (steps.every((step) => step === 1)) return padded(b, axes);
    if (axes.length > 1) throw b.refuse('for a step along several axes at once');
    const length = g.node('Squeeze', [b.shapeBetween(x, axes[0]!, axes[0]! + 1)]);
    const all = g.node('Range', [g.scalar(0, 'int64'), length, g.scalar(1, 'int64')]);
    const picked = g.node('Slice', [all, starts, b.x(2), g.ints([0]), b.x(4)]);
    return scatterAdd(b, picked, axes[0]!, b.dy);
  };
  return [dx];
}

/** Adds as many zeros before and after dy, along some axes, as the slice left out there. */
function padded(b: Backward, axes: readonly number[]): string {
  const { g, dy, y } = b;
  const x = b.x(0);
  const starts = b.constant(1);
  const sizes = axes.map((axis) => [b.dims(x)[axis]!, b.dims(y)[axis]!] as const);
  if (starts !== undefined && sizes.every(([whole, part]) => whole >= 0 && part >= 0)) {
    const before = starts.map((start, i) => clampStart(start, sizes[i]![0]));
    const after = sizes.map(([whole, part], i) => whole - part - before[i]!);
    return g.node('Pad', [dy, g.ints([...before, ...after]), '', g.ints(axes)]);
  }
  const lengths = (name: string): string => g.node('Gather', [g.node('Shape', [name]), g.ints(axes)]);
  const whole = lengths(x);
  const zero = g.scalar(0, 'int64');
  const start = b.x(1);
  const counted = g.node('Where', [g.node('Less', [start, zero]), g.node('Add', [start, whole]), start]);
  const before = g.node('Max', [counted, zero]);
  const after = g.node('Sub', [g.node('Sub', [whole, lengths(y)]), before]);
  return g.node('Pad', [dy, g.node('Concat', [before, after], { axis: int(0) }), '', g.ints(axes)]);
}

function clampStart(start: number, size: number): number {
  return Math.max(0, start < 0 ? start + size : start);
}

/**
 * A table of up to so many rows (token types and the like) takes its gradient from a product with one-hot rows, which
 * has no scattered writes. For larger tables the product costs more than it saves.
 */
const MAX_ONE_HOT_ROWS = 64;

function gather(b: Backward): (() => string)[] {
  const { g, dy } = b;
  const [x, index] = [b.x(0), b.x(1)];
  const dims = b.dims(x);
  const axis = b.axis(attribute(b.node, 'axis', 'int', 0), x);
  const [rows, ...rest] = dims;
  const width = rest.reduce((product, dim) => product * (dim >= 0 ? dim : NaN), 1);
  const rank = b.dims(index).length;
  const dx = (): string => {
    if (axis === 0 && rank > 0 && rows! >= 0 && rows! <= MAX_ONE_HOT_ROWS && !Number.isNaN(width)) {
      // ONNX Runtime has no one-hot of 32-bit numbers.
      const flat = b.cast(g.node('Reshape', [index, g.ints([-1])]), 'int64');
      const oneHot = b.cast(g.node('OneHot', [flat, g.scalar(rows!, 'int64'), g.ints([0, 1])]), b.type);
      const updates = g.node('Reshape', [dy, g.ints([-1, width])]);
      return b.reshapeLike(g.node('com.microsoft:FusedMatMul', [oneHot, updates], { transA: int(1) }), x);
    }
    const updates =
      rank === 0
        ? g.node('Unsqueeze', [dy, g.ints([axis])])
        : rank === 1
          ? dy
          : g.node('Reshape', [dy, replaced(b, x, axis, g.ints([-1]))]);
    return scatterAdd(b, index, axis, updates);
  };
  return [dx];
}

/** The shape of `x` with another size along one axis: a vector. */
function replaced(b: Backward, x: string, axis: number, size: string): string {
  const rank = b.dims(x).length;
  const parts = [
    ...(axis > 0 ? [b.shapeBetween(x, 0, axis)] : []),
    size,
    ...(axis + 1 < rank ? [b.shapeBetween(x, axis + 1, rank)] : []),
  ];
  return parts.length === 1 ? parts[0]! : b.g.node('Concat', parts, { axis: int(0) });
}

/**
 * Takes zeros in the shape of input 0, and adds the slices of `updates` along an axis at the places in `index`. It uses
 * ScatterElements, because ScatterND loses additions to the same row when it runs on several threads (measured, ONNX
 * Runtime 1.30).
 */
function scatterAdd(b: Backward, index: string, axis: number, updates: string): string {
  const { g } = b;
  const x = b.x(0);
  const rank = b.dims(x).length;
  const column = Array.from({ length: rank }, (_, i) => (i === axis ? -1 : 1));
  const shape = g.node('Shape', [updates]);
  const indices = g.node('Expand', [g.node('Reshape', [index, g.ints(column)]), shape]);
  return g.node('ScatterElements', [b.zeros(b.shape(x)), indices, updates], adding(axis));
}

function adding(axis: number): Attributes {
  return { axis: int(axis), reduction: text('add') };
}

/** Reshaping, moving, cutting and picking. */
export const SHAPES: Gradients = {
  Reshape: reshaped,
  Flatten: reshaped,
  Squeeze: reshaped,
  Unsqueeze: reshaped,
  Transpose: transpose,
  Concat: concat,
  Split: split,
  Slice: slice,
  Expand: (b) => [() => b.sumTo(b.dy, 0)],
  Gather: gather,
  GatherElements: (b) => [
    () => {
      const axis = attribute(b.node, 'axis', 'int', 0);
      return b.g.node('ScatterElements', [b.zeros(b.shape(b.x(0))), b.x(1), b.dy], adding(axis));
    },
  ],
  Trilu: (b) => [
    () => b.g.node('Trilu', [b.dy, b.x(1)], { upper: int(attribute(b.node, 'upper', 'int', 1)) }),
  ],
};
