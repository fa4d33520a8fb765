import type { GraphBuilder } from '../builder.ts';
import { OnnxError } from '../errors.ts';
import { describeNode, type Node } from '../model.ts';
import type { Tensor } from '../tensor.ts';
import type { TracedValue } from '../trace.ts';

/** A node that is to be expressed in other operators. */
export interface Rewriting {
  /** Where the other operators go. */
  readonly g: GraphBuilder;
  readonly node: Node;
  /** ONNX operator set of the model that the node comes from. */
  readonly opset: number;
  /** What input `i` is called in the new graph; empty where the node does not have it. */
  input(i: number): string;
  /** Type and shape of input `i`; undefined where the node does not have it. */
  traced(i: number): TracedValue | undefined;
  /** Whether anything reads output `i`. */
  used(i: number): boolean;
  /** Type and shape of the node's first output. */
  readonly result: TracedValue;
}

/** Writes other operators; returns the values that take the place of the node's outputs. Undefined: keep the node. */
export type Rewrite = (rewriting: Rewriting) => readonly string[] | undefined;

/** Operator, with its domain before it unless it is ONNX's own → how it is rewritten. */
export type Rewrites = Readonly<Record<string, Rewrite>>;

/** Rewrites to nodes with one output. */
export function single(rewrite: (rewriting: Rewriting) => string): Rewrite {
  return (rewriting) => [rewrite(rewriting)];
}

export function refuse(node: Node, why: string): OnnxError {
  return new OnnxError('OPERATOR_UNSUPPORTED', `${describeNode(node)}: ${why}`);
}

/**
 * The contents of input `i`.
 * @throws {OnnxError} `OPERATOR_UNSUPPORTED` unless it is the same whatever is fed.
 */
export function constantInput(rewriting: Rewriting, i: number): Tensor {
  const found = rewriting.traced(i)?.constant;
  if (found === undefined) throw refuse(rewriting.node, `input ${i} is not a constant`);
  return found;
}
