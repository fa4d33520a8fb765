import { MICROSOFT, type Model, type Node } from '../model.ts';
import { producersOf, prune } from '../prune.ts';
import { elementCount, float32, toNumbers, type Tensor } from '../tensor.ts';

/**
 * The same model with products of integers as products of numbers: what is quantised as it comes (`DynamicQuantizeLinear`)
 * or by fixed scales (`QuantizeLinear`) stays as it is, and weights of eight bits become float32 ones, their scales
 * multiplied in. So it is trained; what the rounding of activations adds is not imitated.
 *
 * A node that has another form than exporters write is left, for whoever can't go on with it to name.
 */
export function withoutIntegers(model: Model): Model {
  const pass = new Pass(model);
  const nodes = model.graph.nodes.map((node) => pass.rewritten(node) ?? node);
  if (!pass.changed) return model;
  const initializers = new Map([...model.graph.initializers, ...pass.weights]);
  return prune(
    { ...model, graph: { ...model.graph, nodes, initializers } },
    model.graph.outputs.map(({ name }) => name),
  );
}

class Pass {
  readonly weights = new Map<string, Tensor>();
  changed = false;
  readonly #model: Model;
  readonly #producers: ReadonlyMap<string, Node>;

  constructor(model: Model) {
    this.#model = model;
    this.#producers = producersOf(model.graph);
  }

  /** The node that takes the place of another. */
  rewritten(node: Node): Node | undefined {
    const found =
      node.domain === '' ? this.#plain(node) : node.domain === MICROSOFT ? this.#fused(node) : undefined;
    if (found !== undefined) this.changed = true;
    return found;
  }

  #plain(node: Node): Node | undefined {
    switch (node.op) {
      case 'Mul':
        return this.#scaledProduct(node) ?? this.#scaledRows(node);
      case 'DequantizeLinear':
        return this.#dequantized(node);
      case 'QLinearMatMul': {
        // Between two such products there are integers: what follows reads numbers as well, or is refused.
        const [a = '', , , b = '', scale = '', zero = ''] = node.inputs;
        return this.#isRead(node.outputs[0]!)
          ? this.#product(node, this.#quantizedBy(a), b, scale, zero)
          : undefined;
      }
      default:
        return undefined;
    }
  }

  #fused(node: Node): Node | undefined {
    const { inputs } = node;
    if (node.op === 'DynamicQuantizeMatMul' && !inputs[4]) {
      return this.#product(node, inputs[0], inputs[1]!, inputs[2]!, inputs[3]);
    }
    if (node.op === 'MatMulIntegerToFloat' && !inputs[6]) {
      return this.#product(node, this.#quantizedBy(inputs[0]!), inputs[1]!, inputs[3]!, inputs[5]);
    }
    return undefined;
  }

  /** (float) (quantised x · W) · (scale of x · scales of W). */
  #scaledProduct(node: Node): Node | undefined {
    for (const [first, second] of bothWays(node.inputs)) {
      const cast = this.#made(first, 'Cast');
      const product = cast && this.#made(cast.inputs[0]!, 'MatMulInteger');
      const scales = this.#made(second, 'Mul');
      if (product === undefined || scales === undefined) continue;
      const [a = '', b = '', , zero] = product.inputs;
      const quantized = this.#made(a, 'DynamicQuantizeLinear');
      if (quantized === undefined) continue;
      for (const [own, weight] of bothWays(scales.inputs)) {
        if (own !== quantized.outputs[1]) continue;
        const found = this.#product(node, quantized.inputs[0], b, weight, zero);
        if (found !== undefined) return found;
      }
    }
    return undefined;
  }

  /** (float) rows of a table of integers · rows of its scales, as our own towers have them. */
  #scaledRows(node: Node): Node | undefined {
    for (const [first, second] of bothWays(node.inputs)) {
      const cast = this.#made(first, 'Cast');
      const values = cast && this.#made(cast.inputs[0]!, 'Gather');
      const scales = this.#made(second, 'Gather');
      if (values === undefined || scales === undefined || values.inputs[1] !== scales.inputs[1]) continue;
      const [table, factors] = [this.#constant(values.inputs[0]), this.#constant(scales.inputs[0])];
      if (table === undefined || factors === undefined || factors.dims.join() !== `${table.dims[0]},1`)
        continue;
      if (!isByte(table) || table.dims.length !== 2) continue;
      const weight = this.#dequantize(values.inputs[0]!, scales.inputs[0]!, undefined, 0);
      if (weight !== undefined)
        return { ...values, name: node.name, inputs: [weight, values.inputs[1]!], outputs: node.outputs };
    }
    return undefined;
  }

  #dequantized(node: Node): Node | undefined {
    const [input = '', scale = '', zero] = node.inputs;
    const rows = this.#made(input, 'Gather');
    const table = rows && this.#constant(rows.inputs[0]);
    if (rows !== undefined && table !== undefined && isByte(table) && this.#isOne(scale)) {
      const weight = this.#dequantize(rows.inputs[0]!, scale, zero, undefined);
      return weight === undefined
        ? undefined
        : { ...rows, name: node.name, inputs: [weight, rows.inputs[1]!], outputs: node.outputs };
    }
    const whole = this.#quantizedBy(input);
    return whole === undefined
      ? undefined
      : { ...IDENTITY, name: node.name, inputs: [whole], outputs: node.outputs };
  }

  /** What was quantised, in numbers: before it was, or what a product of integers gives. */
  #quantizedBy(name: string): string | undefined {
    const node = this.#producers.get(name);
    if (node === undefined || node.domain !== '') return undefined;
    if (node.op === 'QuantizeLinear' || (node.op === 'DynamicQuantizeLinear' && name === node.outputs[0]))
      return node.inputs[0];
    return node.op === 'QLinearMatMul' && this.#plain(node) !== undefined ? name : undefined;
  }

  /** Whether all that reads a quantised value can take numbers instead. */
  #isRead(name: string): boolean {
    const { nodes, outputs } = this.#model.graph;
    return (
      outputs.every((output) => output.name !== name) &&
      nodes.every(
        ({ op, inputs }) =>
          !inputs.includes(name) ||
          ((op === 'DequantizeLinear' || op === 'QLinearMatMul') && inputs.indexOf(name) === 0),
      )
    );
  }

  /** x · W in numbers. */
  #product(
    node: Node,
    x: string | undefined,
    weight: string,
    scale: string,
    zero: string | undefined,
  ): Node | undefined {
    const value = this.#constant(weight);
    if (x === undefined || value === undefined || value.dims.length !== 2 || !isByte(value)) return undefined;
    const found = this.#dequantize(weight, scale, zero, 1);
    if (found === undefined) return undefined;
    return {
      op: 'MatMul',
      domain: '',
      name: node.name,
      inputs: [x, found],
      outputs: node.outputs,
      attributes: {},
    };
  }

  /** Adds the numbers that integers stand for. @param axis - that scales are along, where there are several */
  #dequantize(
    name: string,
    scaleName: string,
    zeroName: string | undefined,
    axis: number | undefined,
  ): string | undefined {
    const key = `${name}_dequantized`;
    if (this.weights.has(key)) return key;
    const [value, scale] = [this.#constant(name), this.#constant(scaleName)];
    const zero = zeroName ? this.#constant(zeroName) : undefined;
    if (value === undefined || scale === undefined || (zeroName && zero === undefined)) return undefined;
    const count = axis === undefined ? 1 : value.dims[axis]!;
    const stride = axis === undefined ? 1 : elementCount(value.dims.slice(axis + 1));
    const along = (found: Tensor | undefined): ((i: number) => number) | undefined => {
      if (found === undefined) return () => 0;
      const numbers = toNumbers(found);
      if (numbers.length === 1) return () => numbers[0]!;
      return numbers.length === count ? (i) => numbers[Math.floor(i / stride) % count]! : undefined;
    };
    const [factor, offset] = [along(scale), along(zero)];
    if (factor === undefined || offset === undefined) return undefined;
    const out = Float32Array.from(toNumbers(value), (x, i) => (x - offset(i)) * factor(i));
    this.weights.set(key, float32(value.dims, out));
    return key;
  }

  #isOne(name: string): boolean {
    return this.#constant(name)?.data.length === 1;
  }

  /** The contents of an initialiser. */
  #constant(name: string | undefined): Tensor | undefined {
    return name ? this.#model.graph.initializers.get(name) : undefined;
  }

  /** The node that makes a value, if it is of an operator. */
  #made(name: string, op: string): Node | undefined {
    const node = this.#producers.get(name);
    if (node === undefined || node.domain !== '') return undefined;
    return node.op === op ? node : undefined;
  }
}

const IDENTITY = { op: 'Identity', domain: '', attributes: {} } as const;

function bothWays([a = '', b = '']: readonly string[]): [string, string][] {
  return [
    [a, b],
    [b, a],
  ];
}

function isByte({ type }: Tensor): boolean {
  return type === 'int8' || type === 'uint8';
}
