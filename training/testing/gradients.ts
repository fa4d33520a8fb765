import assert from 'node:assert/strict';
import { GraphBuilder } from '../onnx/builder.ts';
import { attribute, constant, int, type Attribute, type Model, type Node } from '../onnx/model.ts';
import { asInputs } from '../onnx/parameters.ts';
import { prune } from '../onnx/prune.ts';
import { runAsIs } from '../onnx/run.ts';
import { elementCode, elementCount, tensor, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { noise } from './noise.ts';
import { differentiate } from '../gradient/differentiate.ts';

function doubleTensor(value: Tensor): Tensor {
  return value.type === 'float32'
    ? tensor('float64', value.dims, Float64Array.from(toNumbers(value)))
    : value;
}

/**
 * The same graph in double precision. Operators that ONNX Runtime has in single precision only are written out:
 * layer normalisation with its statistics, and the error function by its power series.
 */
export function inDouble(model: Model): Model {
  const { graph } = model;
  const g = new GraphBuilder();
  g.reserve(graph.nodes);
  for (const { name, type, dims } of graph.inputs)
    g.input(name, type === 'float32' ? 'float64' : type, dims!);
  for (const [name, value] of graph.initializers) g.initializer(name, doubleTensor(value));
  for (const node of graph.nodes) {
    const written = WRITTEN_OUT[node.op]?.(g, node);
    if (written === undefined) g.add({ ...node, attributes: doubleAttributes(node) });
    else
      node.outputs.forEach((name, i) =>
        g.add({ op: 'Identity', domain: '', name, inputs: [written[i]!], outputs: [name], attributes: {} }),
      );
  }
  for (const { name } of graph.outputs) g.output(name, name);
  return g.build();
}

function doubleAttributes(node: Node): Record<string, Attribute> {
  return Object.fromEntries(
    Object.entries(node.attributes).map(([name, found]) => {
      if (found.kind === 'tensor') return [name, constant(doubleTensor(found.value))];
      const isSingle = node.op === 'Cast' && found.value === elementCode('float32');
      return [name, isSingle ? int(elementCode('float64')) : found];
    }),
  );
}

const WRITTEN_OUT: Record<string, (g: GraphBuilder, node: Node) => string[] | undefined> = {
  Erf: (g, node) => [erf(g, node.inputs[0]!)],

  Gelu(g, node) {
    const x = node.inputs[0]!;
    const number = (value: number): string => g.scalar(value, 'float64');
    const mul = (a: string, b: string): string => g.node('Mul', [a, b]);
    const inner =
      attribute(node, 'approximate', 'string', 'none') === 'tanh'
        ? g.node('Tanh', [
            mul(
              number(Math.sqrt(2 / Math.PI)),
              g.node('Add', [x, mul(number(0.044715), g.node('Pow', [x, number(3)]))]),
            ),
          ])
        : erf(g, mul(x, number(Math.SQRT1_2)));
    return [mul(mul(x, number(0.5)), g.node('Add', [inner, number(1)]))];
  },

  LayerNormalization(g, node) {
    const [x, scale, bias] = node.inputs;
    const first = attribute(node, 'axis', 'int', -1);
    assert.ok(first < 0, 'the rank is not known here');
    const axes = g.ints(range(first, 0));
    const mean = g.node('ReduceMean', [x!, axes]);
    const centred = g.node('Sub', [x!, mean]);
    const variance = g.node('ReduceMean', [g.node('Mul', [centred, centred]), axes]);
    const epsilon = g.scalar(attribute(node, 'epsilon', 'float', 1e-5), 'float64');
    const inverse = g.node('Reciprocal', [g.node('Sqrt', [g.node('Add', [variance, epsilon])])]);
    const scaled = g.node('Mul', [g.node('Mul', [centred, inverse]), scale!]);
    return [bias === undefined ? scaled : g.node('Add', [scaled, bias]), mean, inverse];
  },
};

function range(start: number, end: number): number[] {
  return Array.from({ length: end - start }, (_, i) => start + i);
}

/** Enough terms for |x| up to 3. */
const ERF_TERMS = 48;

/** 2/√π · x · Σ (−x²)ⁿ / (n! · (2n + 1)), by Horner's scheme. */
function erf(g: GraphBuilder, x: string): string {
  const number = (value: number): string => g.scalar(value, 'float64');
  const square = g.node('Neg', [g.node('Mul', [x, x])]);
  const coefficients: number[] = [];
  for (let n = 0, factorial = 1; n < ERF_TERMS; n++, factorial *= n)
    coefficients.push(1 / (factorial * (2 * n + 1)));
  const sum = coefficients.reduceRight<string | undefined>(
    (rest, c) => (rest === undefined ? number(c) : g.node('Add', [g.node('Mul', [rest, square]), number(c)])),
    undefined,
  );
  return g.node('Mul', [g.node('Mul', [x, sum!]), number(2 / Math.sqrt(Math.PI))]);
}

/** Step of the finite differences: the error of both kinds is then about 1e-10. */
const STEP = 1e-5;

/**
 * Asserts that the gradients of a loss agree with central finite differences in double precision, at up to `samples`
 * elements of each weight.
 */
export async function checkGradients(
  model: Model,
  loss: string,
  weights: readonly string[],
  feeds: Readonly<Record<string, Tensor>> = {},
  options: { samples?: number; tolerance?: number } = {},
): Promise<void> {
  const { samples = 24, tolerance = 1e-7 } = options;
  const { g, gradients } = await differentiate(model, loss, weights);
  const outputs = weights.map((weight) => gradients.get(weight)!);
  const backward = inDouble(prune(g.build(), [loss, ...outputs]));
  const wide = Object.fromEntries(Object.entries(feeds).map(([name, value]) => [name, doubleTensor(value)]));
  const values = new Map(weights.map((name) => [name, doubleTensor(model.graph.initializers.get(name)!)]));
  const [found] = await runAsIs(backward, [wide]);
  const forward = asInputs(inDouble(prune(model, [loss])), weights);
  for (const weight of weights) {
    const value = values.get(weight)!;
    const result = found![gradients.get(weight)!]!;
    assert.deepEqual(result.dims, value.dims, `gradient of "${weight}"`);
    const count = elementCount(value.dims);
    const stride = Math.max(1, Math.floor(count / samples));
    const picked = range(0, count).filter((i) => i % stride === 0);
    const shifted = picked.flatMap((i) =>
      [STEP, -STEP].map((step) => {
        const data = Float64Array.from(toNumbers(value));
        data[i]! += step;
        return Object.assign({}, wide, Object.fromEntries(values), { [weight]: { ...value, data } });
      }),
    );
    const losses = (await runAsIs(forward, shifted)).map((each) => toNumbers(each[loss]!)[0]!);
    picked.forEach((i, k) => {
      const expected = (losses[2 * k]! - losses[2 * k + 1]!) / (2 * STEP);
      const actual = toNumbers(result)[i]!;
      const error = Math.abs(actual - expected) / Math.max(1, Math.abs(expected));
      assert.ok(
        error < tolerance,
        `d ${loss} / d ${weight}[${i}] is ${actual}, finite differences say ${expected}`,
      );
    });
  }
}

/** A loss that depends on every element of a value, each in its own way: the mean square distance to noise. */
export function probe(g: GraphBuilder, value: string, dims: readonly number[]): string {
  const target = g.initializer(g.fresh('target'), noise(dims, 99));
  const difference = g.node('Sub', [value, target]);
  return g.output(
    'loss',
    g.node('ReduceMean', [g.node('Mul', [difference, difference])], { keepdims: int(0) }),
  );
}
