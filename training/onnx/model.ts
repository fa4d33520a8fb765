import { OnnxError } from './errors.ts';
import type { ElementType, Tensor } from './tensor.ts';

/** What attributes hold. ONNX keeps integers and floating point numbers apart. */
interface AttributeValues {
  int: number;
  float: number;
  string: string;
  tensor: Tensor;
  graph: Graph;
  ints: readonly number[];
  floats: readonly number[];
  strings: readonly string[];
}

type Kind = keyof AttributeValues;
interface AttributeOf<K extends Kind> {
  readonly kind: K;
  readonly value: AttributeValues[K];
}

/** An attribute of a node. */
export type Attribute = { [K in Kind]: AttributeOf<K> }[Kind];

export type Attributes = Readonly<Record<string, Attribute>>;

/** An operator applied. An absent optional input or output is the empty string. */
export interface Node {
  readonly op: string;
  /** The operator set: empty for ONNX's own, `com.microsoft` for ONNX Runtime's. */
  readonly domain: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Attributes;
}

/** A dimension: a size, or the name of one that is known at run time; empty if it has no name. */
export type Dimension = number | string;

/** Name, type and shape of a graph's input or output. `dims` is absent where the model does not say. */
export interface ValueInfo {
  readonly name: string;
  readonly type: ElementType;
  readonly dims?: readonly Dimension[];
}

/** Name, type and shape of a graph's output. Type and `dims` are absent where ONNX Runtime is to infer them. */
export type OutputInfo = Pick<ValueInfo, 'name' | 'dims'> & Partial<Pick<ValueInfo, 'type'>>;

/** Nodes in topological order. */
export interface Graph {
  readonly name: string;
  readonly nodes: readonly Node[];
  readonly initializers: ReadonlyMap<string, Tensor>;
  /** What a caller feeds: initialisers that old models list here as well are left out. */
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly OutputInfo[];
}

export interface Model {
  readonly irVersion: number;
  readonly producer: string;
  /** Operator set → version. ONNX's own has the empty name. */
  readonly opsets: ReadonlyMap<string, number>;
  readonly graph: Graph;
}

/** ONNX Runtime's own operators. */
export const MICROSOFT = 'com.microsoft';

export const int = (value: number): Attribute => ({ kind: 'int', value });
export const float = (value: number): Attribute => ({ kind: 'float', value });
export const text = (value: string): Attribute => ({ kind: 'string', value });
export const ints = (value: readonly number[]): Attribute => ({ kind: 'ints', value });
export const constant = (value: Tensor): Attribute => ({ kind: 'tensor', value });

/** How messages speak of a node. */
export function describeNode(node: Node): string {
  const op = node.domain === '' ? node.op : `${node.domain}.${node.op}`;
  return `${op} (node "${node.name || node.outputs[0]}")`;
}

/**
 * The value of an attribute, or `otherwise` where the node does not have it.
 * @throws {OnnxError} `MODEL_INVALID` when it is of another kind.
 */
export function attribute<K extends Kind, D>(
  node: Node,
  name: string,
  kind: K,
  otherwise: D,
): AttributeValues[K] | D {
  const found = node.attributes[name];
  if (found === undefined) return otherwise;
  if (!isKind(found, kind)) {
    throw new OnnxError(
      'MODEL_INVALID',
      `${describeNode(node)}: attribute "${name}" is of kind ${found.kind}, not ${kind}`,
    );
  }
  return found.value;
}

function isKind<K extends Kind>(found: Attribute, kind: K): found is Attribute & AttributeOf<K> {
  return found.kind === kind;
}
