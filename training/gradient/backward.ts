import type { GraphBuilder } from '../onnx/builder.ts';
import { OnnxError } from '../onnx/errors.ts';
import { constant, describeNode, int, type Node } from '../onnx/model.ts';
import { arrayOf, elementCode, tensor, toNumbers, type ElementType } from '../onnx/tensor.ts';
import type { Trace } from '../onnx/trace.ts';

/**
 * How the gradient of a node's outputs becomes a gradient of its inputs: for each input a function that writes the
 * nodes and returns the gradient, or undefined where there is none (indices, shapes, masks). A function is called only
 * if that gradient is needed.
 */
export type Gradient = (b: Backward) => readonly ((() => string) | undefined)[];

/** Operator → its gradient. */
export type Gradients = Readonly<Record<string, Gradient>>;

/** What a gradient function sees of the node it passes through, and what it writes with. */
export class Backward {
  readonly g: GraphBuilder;
  readonly node: Node;
  readonly #trace: Trace;
  readonly #gradients: readonly (string | undefined)[];

  constructor(g: GraphBuilder, trace: Trace, node: Node, gradients: readonly (string | undefined)[]) {
    this.g = g;
    this.node = node;
    this.#trace = trace;
    this.#gradients = gradients;
  }

  /** The gradient of the first output: the loss's derivative by each of its elements. */
  get dy(): string {
    return this.gradientOf(0);
  }

  /** The gradient of output `i`: zeros where the loss does not depend on it. */
  gradientOf(i: number): string {
    return this.#gradients[i] ?? this.zeros(this.shape(this.node.outputs[i]!));
  }

  /** Name of input `i`; empty where the node does not have it. */
  x(i: number): string {
    return this.node.inputs[i] ?? '';
  }

  /** Name of the first output. */
  get y(): string {
    return this.node.outputs[0]!;
  }

  /** Type of the first output. */
  get type(): ElementType {
    return this.#trace.value(this.y).type;
  }

  typeOf(name: string): ElementType {
    return this.#trace.value(name).type;
  }

  /** Sizes of a value of the forward graph; negative where it depends on what is fed. */
  dims(name: string): readonly number[] {
    return this.#trace.value(name).dims;
  }

  /** The contents of input `i` as numbers; undefined where they depend on what is fed. */
  constant(i: number): readonly number[] | undefined {
    const name = this.x(i);
    const found = name === '' ? undefined : this.#trace.value(name).constant;
    return found && Array.from(toNumbers(found));
  }

  /** One of the constants 0, 1, 0.5, ... in the type of the node's output. */
  scalar(value: number): string {
    return this.g.scalar(value, this.type);
  }

  zeros(shape: string): string {
    const value = constant(tensor(this.type, [1], arrayOf(this.type, [0])));
    return this.g.node('ConstantOfShape', [shape], { value });
  }

  /** The shape of a value of the forward graph: a vector. */
  shape(name: string): string {
    const dims = this.dims(name);
    return dims.every((dim) => dim >= 0) ? this.g.ints(dims) : this.g.node('Shape', [name]);
  }

  /** The sizes from axis `start` up to `end` of a value of the forward graph: a vector. */
  shapeBetween(name: string, start: number, end: number): string {
    const dims = this.dims(name).slice(start, end);
    return dims.every((dim) => dim >= 0)
      ? this.g.ints(dims)
      : this.g.node('Shape', [name], { start: int(start), end: int(end) });
  }

  /** `value` in the shape of a value of the forward graph that has as many elements. */
  reshapeLike(value: string, name: string): string {
    const dims = this.dims(name);
    const dynamic = dims.filter((dim) => dim < 0).length;
    // One size may be left to the operator; zero elements would make it ambiguous, but a batch has some.
    const shape = dynamic === 1 ? this.g.ints(dims.map((dim) => Math.max(dim, -1))) : this.shape(name);
    return this.g.node('Reshape', [value, shape]);
  }

  /**
   * Undoes broadcasting: sums a gradient in the shape of the node's output (or of the given sizes) to the shape of
   * input `i`.
   */
  sumTo(value: string, i: number, from: readonly number[] = this.dims(this.y)): string {
    const dims = this.dims(this.x(i));
    const lead = from.length - dims.length;
    const leading = Array.from({ length: lead }, (_, axis) => axis);
    const inner = dims.flatMap((dim, axis) => (dim === 1 && from[axis + lead] !== 1 ? [axis + lead] : []));
    if (inner.length === 0) {
      if (lead === 0) return value;
      return this.g.node('ReduceSum', [value, this.g.ints(leading)], { keepdims: int(0) });
    }
    const sum = this.g.node('ReduceSum', [value, this.g.ints([...leading, ...inner])], { keepdims: int(1) });
    return lead === 0 ? sum : this.g.node('Squeeze', [sum, this.g.ints(leading)]);
  }

  cast(value: string, type: ElementType): string {
    return this.g.node('Cast', [value], { to: int(elementCode(type)) });
  }

  /** Negative axes count from the end. */
  axis(axis: number, name: string): number {
    return axis < 0 ? axis + this.dims(name).length : axis;
  }

  mul(a: string, b: string): string {
    return this.g.node('Mul', [a, b]);
  }

  /** A gradient that this node has in principle, but not for what it is asked here. */
  refuse(why: string): OnnxError {
    return new OnnxError('GRADIENT_MISSING', `${describeNode(this.node)}: no gradient ${why}`);
  }
}

/** Gradients of operators with one input: they are given x, y and dy, and return dx. */
export function unary(dx: (b: Backward, x: string, y: string, dy: string) => string): Gradient {
  return (b) => [() => dx(b, b.x(0), b.y, b.dy)];
}
