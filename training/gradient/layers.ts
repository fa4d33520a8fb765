import { OnnxError } from '../onnx/errors.ts';
import type { Graph, Model, Node } from '../onnx/model.ts';
import { producersOf, prune } from '../onnx/prune.ts';
import { trace, type Trace, type TracedValue } from '../onnx/trace.ts';

/** Where the layers of an encoder begin and end. */
export interface Layers {
  /** Layer `i` computes `boundaries[i + 1]` from `boundaries[i]`: values of shape [batch, sequence, width]. */
  readonly boundaries: readonly string[];
  /** Weights of everything that the tokens' vectors pass through: matrices, biases, norms. */
  readonly weights: readonly string[];
  /** Tables that rows are picked from: embeddings of tokens, token types and positions. */
  readonly tables: readonly string[];
}

/**
 * Finds the layers of an encoder by its structure, not by names. On the way from the tokens to the output there are
 * values that everything passes through. Each layer has one softmax, and begins at the last such value before it.
 *
 * @param model - in plain operators.
 * @param output - name of the token vectors.
 * @throws {OnnxError} `FEATURE_UNSUPPORTED` when there are no layers to be found, or they are not alike.
 */
export async function findLayers(model: Model, output: string): Promise<Layers> {
  const { graph } = prune(model, [output]);
  const traced = await trace(model);
  const stream = tokenStream(graph, traced);
  const { positions, softmaxes } = narrows(graph, traced, stream, output);
  const starts = softmaxes.map((at) => positions.findLastIndex(({ index }) => index < at));
  if (starts.length === 0 || starts.some((start) => start < 0)) {
    throw notFound('there is no softmax that all token vectors pass through');
  }
  const strides = new Set(starts.slice(1).map((start, i) => start - starts[i]!));
  if (strides.size > 1 || strides.has(0)) throw notFound('its layers are not alike');
  // A single layer ends where the output is.
  const stride = [...strides][0] ?? positions.length - 1 - starts[0]!;
  const ends = [...starts, starts.at(-1)! + stride];
  if (ends.at(-1)! >= positions.length) throw notFound('its last layer has no end');
  return {
    boundaries: ends.map((end) => positions[end]!.name),
    ...weightsOf(graph, stream),
  };
}

function notFound(why: string): OnnxError {
  return new OnnxError('FEATURE_UNSUPPORTED', `can't find the layers of the encoder: ${why}`);
}

/**
 * The encoder with some of its layers, in their order: each takes what the layer before it in the list gives.
 * @param layers - indices from 0, ascending.
 * @returns the model with the one output named `output`.
 */
export function keepLayers(model: Model, found: Layers, output: string, layers: readonly number[]): Model {
  const { boundaries } = found;
  const count = boundaries.length - 1;
  if (layers.length === 0 || layers.some((layer, i) => !(layer < count && layer > (layers[i - 1] ?? -1)))) {
    throw new OnnxError('REQUEST_INVALID', `can't keep layers [${layers.join(', ')}] of ${count}`);
  }
  const renamed = new Map<string, string>();
  let current = boundaries[0]!;
  for (const layer of layers) {
    renamed.set(boundaries[layer]!, current);
    current = boundaries[layer + 1]!;
  }
  renamed.set(boundaries[count]!, current);
  const rename = (name: string): string => renamed.get(name) ?? name;
  const nodes = model.graph.nodes.map((node) => Object.assign({}, node, { inputs: node.inputs.map(rename) }));
  const rewired = { ...model, graph: { ...model.graph, nodes } };
  const last = rename(output);
  const kept = prune(rewired, [last]);
  if (last === output) return kept;
  return { ...kept, graph: renameValue(kept.graph, last, output) };
}

/** The graph with another name for one of its values, which is then its only output. */
export function renameValue(graph: Graph, from: string, to: string): Graph {
  const rename = (name: string): string => (name === from ? to : name);
  return {
    ...graph,
    nodes: graph.nodes.map((node) =>
      Object.assign({}, node, { inputs: node.inputs.map(rename), outputs: node.outputs.map(rename) }),
    ),
    outputs: [{ name: to }],
  };
}

/** `count` layers of `total`, the first and the last among them, evenly spaced: a better start than the first few. */
export function spread(count: number, total: number): number[] {
  if (count === 1) return [0];
  return Array.from({ length: count }, (_, i) => Math.round((i * (total - 1)) / (count - 1)));
}

/** Nodes with floating point results that depend on which tokens there are, not on how many or on the mask. */
function tokenStream(graph: Graph, traced: Trace): Set<Node> {
  const dependent = new Set(['input_ids']);
  const stream = new Set<Node>();
  for (const node of graph.nodes) {
    if (node.op === 'Shape' || !node.inputs.some((name) => dependent.has(name))) continue;
    for (const name of node.outputs) dependent.add(name);
    if (traced.value(node.outputs[0]!).type === 'float32') stream.add(node);
  }
  return stream;
}

/** Values with one vector per token that nothing in the stream gets around, in order; and the softmaxes among them. */
function narrows(
  graph: Graph,
  traced: Trace,
  stream: ReadonlySet<Node>,
  output: string,
): { positions: { name: string; index: number }[]; softmaxes: number[] } {
  const nodes = graph.nodes.filter((node) => stream.has(node));
  const lastUse = new Map<string, number>();
  nodes.forEach(({ inputs }, index) => inputs.forEach((name) => lastUse.set(name, index)));
  lastUse.set(output, nodes.length);
  const positions: { name: string; index: number }[] = [];
  const tokens = traced.value('input_ids').dims;
  const hasTokens = ({ dims }: TracedValue): boolean =>
    dims.length === 3 && dims[0] === tokens[0] && dims[1] === tokens[1];
  let open = -1;
  nodes.forEach(({ outputs }, index) => {
    const name = outputs[0]!;
    // Everything computed before has been used up by now.
    if (open <= index && hasTokens(traced.value(name))) positions.push({ name, index });
    for (const each of outputs) open = Math.max(open, lastUse.get(each) ?? -1);
  });
  const softmaxes = nodes.flatMap(({ op }, index) => (op === 'Softmax' ? [index] : []));
  return { positions, softmaxes };
}

/** Initialisers with more than one number that the stream reads, directly or transposed and reshaped. */
function weightsOf(graph: Graph, stream: ReadonlySet<Node>): { weights: string[]; tables: string[] } {
  const producers = producersOf(graph);
  const weights = new Set<string>();
  const tables = new Set<string>();
  const visit = (name: string, into: Set<string>): void => {
    const value = graph.initializers.get(name);
    if (value !== undefined && value.type === 'float32' && value.data.length > 1) into.add(name);
    const node = producers.get(name);
    if (node?.op === 'Transpose' || node?.op === 'Reshape' || node?.op === 'Identity')
      visit(node.inputs[0]!, into);
  };
  const visitSum = (name: string): void => {
    const node = producers.get(name);
    if (node === undefined || stream.has(node)) return;
    if (node.op === 'Gather') visit(node.inputs[0]!, tables);
    if (node.op === 'Add') node.inputs.forEach(visitSum);
  };
  for (const { op, inputs } of stream) {
    inputs.forEach((name, i) => visit(name, op === 'Gather' && i === 0 ? tables : weights));
    // Rows of positions and token types are added to the stream, though they don't depend on the tokens.
    if (op === 'Add') inputs.forEach(visitSum);
  }
  return { weights: [...weights].filter((name) => !tables.has(name)), tables: [...tables] };
}
