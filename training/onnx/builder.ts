import { OnnxError } from './errors.ts';
import {
  MICROSOFT,
  type Attributes,
  type Dimension,
  type Model,
  type Node,
  type OutputInfo,
  type ValueInfo,
} from './model.ts';
import { capturedBy } from './prune.ts';
import { int64, scalar, type ElementType, type Tensor } from './tensor.ts';

/**
 * ONNX's operator set that graphs are built for: reductions take their axes as inputs, scattering adds, and Gelu is an
 * operator. It is the oldest that has all three, so it runs on every ONNX Runtime since 1.17.
 */
export const OPSET = 20;

/** IR version that goes with {@link OPSET}. */
const IR_VERSION = 9;

const IDENTITY = { op: 'Identity', domain: '', attributes: {} } as const;

/**
 * Writes a graph node by node. Values are names; what a method returns is what the next one takes.
 *
 * ```ts
 * const g = new GraphBuilder();
 * const x = g.input('x', 'float32', ['batch', 4]);
 * const w = g.initializer('w', float32([4, 2], weights));
 * g.output('y', g.node('MatMul', [x, w]), 'float32', ['batch', 2]);
 * const bytes = encodeModel(g.build());
 * ```
 */
export class GraphBuilder {
  readonly #inputs: ValueInfo[] = [];
  readonly #outputs: OutputInfo[] = [];
  readonly #initializers = new Map<string, Tensor>();
  readonly #nodes: Node[] = [];
  readonly #names = new Set<string>();
  readonly #constants = new Map<string, string>();
  /** Names that new values and nodes must not get. */
  readonly #reserved = new Set<string>();
  /** A copy for each output that has a name of its own. */
  readonly #outputNodes: Node[] = [];
  #next = 0;

  /**
   * @param model - what to start with: its nodes, initialisers, inputs and outputs.
   * @throws {OnnxError} `REQUEST_INVALID` unless the model is for {@link OPSET}.
   */
  constructor(model?: Model) {
    if (model === undefined) return;
    if (model.opsets.get('') !== OPSET) {
      throw new OnnxError(
        'REQUEST_INVALID',
        `the model is for operator set ${model.opsets.get('')}, not ${OPSET}`,
      );
    }
    const { graph } = model;
    for (const { name } of graph.inputs) this.#claim(name);
    this.#inputs.push(...graph.inputs);
    for (const [name, value] of graph.initializers) this.initializer(name, value);
    for (const node of graph.nodes) this.add(node);
    this.#outputs.push(...graph.outputs);
  }

  /** A value that the caller feeds. Named dimensions are known at run time. */
  input(name: string, type: ElementType, dims: readonly Dimension[]): string {
    this.#inputs.push({ name: this.#claim(name), type, dims });
    return name;
  }

  /** A named constant, such as a weight. */
  initializer(name: string, value: Tensor): string {
    this.#initializers.set(this.#claim(name), value);
    return name;
  }

  /** The node's first output. A domain other than ONNX's own goes before the operator: `com.microsoft:Gelu`. */
  node(op: string, inputs: readonly string[], attributes: Attributes = {}): string {
    return this.nodes(op, inputs, 1, attributes)[0]!;
  }

  /** A node's first `count` outputs. */
  nodes(op: string, inputs: readonly string[], count: number, attributes: Attributes = {}): string[] {
    const colon = op.indexOf(':');
    const domain = colon < 0 ? '' : op.slice(0, colon);
    const short = op.slice(colon + 1);
    const outputs = Array.from({ length: count }, () => this.#claim(this.fresh(short)));
    this.#nodes.push({ op: short, domain, name: outputs[0]!, inputs, outputs, attributes });
    return outputs;
  }

  /** Adds a node of another graph, unchanged. The names of its outputs become taken. */
  add(node: Node): void {
    for (const output of node.outputs) if (output !== '') this.#claim(output);
    this.#reserved.add(node.name);
    this.#nodes.push(node);
  }

  /** A vector of int64, such as axes or a shape. Equal ones are kept once. */
  ints(values: readonly number[]): string {
    return this.#constant(`ints ${values.join(',')}`, () => int64(values));
  }

  /** A constant without dimensions. Equal ones are kept once. */
  scalar(value: number, type: ElementType = 'float32'): string {
    return this.#constant(`${type} ${Object.is(value, -0) ? '-0' : value}`, () => scalar(type, value));
  }

  /**
   * Makes a value an output of the graph under a name of its own; in the graph that is built, a computed value has
   * that name instead of its old one. ONNX Runtime infers type and shape if need be.
   */
  output(name: string, value: string, type?: ElementType, dims?: readonly Dimension[]): string {
    if (name !== value) {
      this.#claim(name);
      this.#outputNodes.push({ ...IDENTITY, name, inputs: [value], outputs: [name] });
    }
    this.#outputs.push({ name, ...(type !== undefined && { type }), ...(dims !== undefined && { dims }) });
    return name;
  }

  /** Reserves the names of nodes that {@link add} will bring, so that no new value gets one of them. */
  reserve(nodes: readonly Node[]): void {
    for (const name of nodes.flatMap((node) => [node.name, ...node.outputs])) this.#reserved.add(name);
  }

  /** A name that nothing has. */
  fresh(stem: string): string {
    for (;;) {
      const name = `${stem}_${this.#next++}`;
      if (!this.#names.has(name) && !this.#reserved.has(name)) return name;
    }
  }

  build(): Model {
    const nodes = this.#renamed();
    const domains = new Set(nodes.map(({ domain }) => domain));
    return {
      irVersion: IR_VERSION,
      producer: 'scalingnote',
      opsets: new Map([['', OPSET], ...(domains.has(MICROSOFT) ? [[MICROSOFT, 1] as const] : [])]),
      graph: {
        name: 'graph',
        nodes,
        initializers: new Map(this.#initializers),
        inputs: [...this.#inputs],
        outputs: [...this.#outputs],
      },
    };
  }

  /** Values that became outputs take their names where they are computed: a copy would cost as much as computing. */
  #renamed(): Node[] {
    const computed = new Set(this.#nodes.flatMap(({ outputs }) => outputs));
    const names = new Map<string, string>();
    for (const { name } of this.#outputs) computed.delete(name);
    for (const name of this.#nodes.flatMap(capturedBy)) computed.delete(name);
    const copies = this.#outputNodes.filter(({ name, inputs: [value] }) => {
      if (!computed.delete(value!)) return true;
      names.set(value!, name);
      return false;
    });
    const rename = (name: string): string => names.get(name) ?? name;
    const nodes = [...this.#nodes, ...copies];
    return nodes.map(({ op, domain, name, inputs, outputs, attributes }) => ({
      op,
      domain,
      name,
      inputs: inputs.map(rename),
      outputs: outputs.map(rename),
      attributes,
    }));
  }

  #constant(key: string, make: () => Tensor): string {
    let name = this.#constants.get(key);
    if (name === undefined) {
      name = this.initializer(this.fresh('constant'), make());
      this.#constants.set(key, name);
    }
    return name;
  }

  #claim(name: string): string {
    if (name === '' || this.#names.has(name)) {
      throw new OnnxError('REQUEST_INVALID', `the graph has a value "${name}" already, or the name is empty`);
    }
    this.#names.add(name);
    return name;
  }
}
