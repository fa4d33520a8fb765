import { GraphBuilder } from '../onnx/builder.ts';
import { OnnxError } from '../onnx/errors.ts';
import { describeNode, type Graph, type Model, type Node } from '../onnx/model.ts';
import { trace, type Trace } from '../onnx/trace.ts';
import { Backward, type Gradients } from './backward.ts';
import { ACTIVATION } from './operators/activations.ts';
import { ELEMENTWISE } from './operators/elementwise.ts';
import { MATRIX } from './operators/matrix.ts';
import { NORMALIZATION } from './operators/normalization.ts';
import { REDUCTION } from './operators/reductions.ts';
import { SHAPES } from './operators/shapes.ts';

const GRADIENTS: Gradients = {
  ...ACTIVATION,
  ...ELEMENTWISE,
  ...MATRIX,
  ...NORMALIZATION,
  ...REDUCTION,
  ...SHAPES,
};

/** Their derivative is zero wherever it exists, so nothing before them learns through them. */
const FLAT = new Set(['Ceil', 'Floor', 'Round', 'Sign']);

/** Their results are integers that stand for numbers. Gradients would end there without a word, so they are refused. */
const ROUNDING = new Set(['DynamicQuantizeLinear', 'QuantizeLinear']);

/** A graph with the derivative of one of its values by some others. */
export interface Differentiated {
  /** The forward graph and, after it, what computes the gradients. */
  readonly g: GraphBuilder;
  /** Weight → its gradient: of the same type and shape. */
  readonly gradients: ReadonlyMap<string, string>;
  /** Types and shapes of the forward graph. */
  readonly traced: Trace;
}

/**
 * Reverse-mode differentiation: adds to a graph what computes the gradient of a loss by some of its inputs or
 * initialisers. Batch and sequence stay dynamic. Nodes that do not lie between a weight and the loss cost nothing.
 *
 * @param model - in plain operators, as `toPlain` writes it.
 * @param loss - name of a value without dimensions.
 * @param weights - names of inputs or initialisers.
 * @throws {OnnxError} `GRADIENT_MISSING` when an operator on the way has no gradient: the message names it and its node.
 * `REQUEST_INVALID` for a weight or a loss that the graph does not have, a loss with dimensions, a weight that is not
 * of floating point numbers or that the loss does not depend on.
 */
export async function differentiate(
  model: Model,
  loss: string,
  weights: readonly string[],
): Promise<Differentiated> {
  const traced = await trace(model);
  checkRequest(model.graph, traced, loss, weights);
  const g = new GraphBuilder(model);
  const path = nodesBetween(model.graph, traced, new Set(weights), loss);
  const contributions = new Map([[loss, [g.scalar(1, traced.value(loss).type)]]]);
  const gradientOf = (name: string): string | undefined => {
    const parts = contributions.get(name);
    if (parts === undefined || parts.length === 1) return parts?.[0];
    const sum = g.node(parts.length === 2 ? 'Add' : 'Sum', parts);
    contributions.set(name, [sum]);
    return sum;
  };
  for (const { node, active } of path.toReversed()) {
    const results = node.outputs.map(gradientOf);
    if (results.every((result) => result === undefined)) continue;
    const gradient = node.domain === '' ? GRADIENTS[node.op] : undefined;
    if (gradient === undefined) {
      throw new OnnxError(
        'GRADIENT_MISSING',
        `${describeNode(node)} has no gradient, and lies between the loss and a weight that is to be trained`,
      );
    }
    const functions = gradient(new Backward(g, traced, node, results));
    node.inputs.forEach((name, i) => {
      const write = active.has(name) ? functions[i] : undefined;
      if (write !== undefined) contributions.set(name, [...(contributions.get(name) ?? []), write()]);
    });
  }
  const gradients = new Map<string, string>();
  for (const weight of weights) {
    const found = gradientOf(weight);
    if (found === undefined) {
      throw new OnnxError('REQUEST_INVALID', `the loss "${loss}" does not depend on the weight "${weight}"`);
    }
    gradients.set(weight, found);
  }
  return { g, gradients, traced };
}

function checkRequest(graph: Graph, traced: Trace, loss: string, weights: readonly string[]): void {
  if (traced.value(loss).dims.length > 0) {
    throw new OnnxError('REQUEST_INVALID', `the loss "${loss}" has dimensions; reduce it to a single number`);
  }
  for (const weight of weights) {
    if (!graph.initializers.has(weight) && !graph.inputs.some(({ name }) => name === weight)) {
      throw new OnnxError('REQUEST_INVALID', `the graph has no weight "${weight}"`);
    }
    if (!isFloat(traced, weight)) {
      throw new OnnxError(
        'REQUEST_INVALID',
        `weight "${weight}" is of type ${traced.value(weight).type}, which can't be trained`,
      );
    }
  }
}

function isFloat(traced: Trace, name: string): boolean {
  return ['float32', 'float64'].includes(traced.value(name).type);
}

interface OnPath {
  readonly node: Node;
  /** Those of its inputs that depend on a weight. */
  readonly active: ReadonlySet<string>;
}

/** Nodes that depend on a weight and that the loss depends on, in order. */
function nodesBetween(graph: Graph, traced: Trace, weights: ReadonlySet<string>, loss: string): OnPath[] {
  const dependent = new Set(weights);
  for (const node of graph.nodes) {
    if (FLAT.has(node.op) || !node.inputs.some((name) => dependent.has(name))) continue;
    for (const name of node.outputs) if (name !== '' && isFloat(traced, name)) dependent.add(name);
  }
  refuseRounding(graph, dependent, loss);
  const needed = new Set([loss]);
  const path: OnPath[] = [];
  for (const node of graph.nodes.toReversed()) {
    if (!node.outputs.some((name) => needed.has(name) && dependent.has(name))) continue;
    const active = new Set(node.inputs.filter((name) => dependent.has(name)));
    for (const name of active) needed.add(name);
    path.push({ node, active });
  }
  return path.reverse();
}

/** @throws {OnnxError} `GRADIENT_MISSING` where a loss depends on weights through integers */
function refuseRounding(graph: Graph, dependent: ReadonlySet<string>, loss: string): void {
  const leading = new Set([loss]);
  for (const node of graph.nodes.toReversed()) {
    if (!node.outputs.some((name) => leading.has(name))) continue;
    for (const name of node.inputs) leading.add(name);
    if (ROUNDING.has(node.op) && dependent.has(node.inputs[0] ?? '')) {
      throw new OnnxError(
        'GRADIENT_MISSING',
        `${describeNode(node)} has no gradient: what it quantises can't be taken apart into float weights`,
      );
    }
  }
}
