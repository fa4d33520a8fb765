import type { Attribute, Graph, Model, Node } from '../model.ts';
import { elementCode, tensor, toNumbers, type ElementType, type Tensor } from '../tensor.ts';

const HALF: readonly ElementType[] = ['float16', 'bfloat16'];

/**
 * The model in single precision where it was in half: training needs small steps on large weights, which half
 * precision can't hold. Other models are returned unchanged.
 */
export function widen(model: Model): Model {
  return { ...model, graph: widenGraph(model.graph) };
}

function widenGraph(graph: Graph): Graph {
  return {
    ...graph,
    nodes: graph.nodes.map(widenNode),
    initializers: new Map([...graph.initializers].map(([name, value]) => [name, widenTensor(value)])),
    inputs: graph.inputs.map((input) => ({ ...input, type: widenType(input.type) })),
    outputs: graph.outputs.map((output) =>
      output.type ? { ...output, type: widenType(output.type) } : output,
    ),
  };
}

function widenType(type: ElementType): ElementType {
  return HALF.includes(type) ? 'float32' : type;
}

function widenTensor(value: Tensor): Tensor {
  return HALF.includes(value.type)
    ? tensor('float32', value.dims, Float32Array.from(toNumbers(value)))
    : value;
}

function widenNode(node: Node): Node {
  const entries = Object.entries(node.attributes).map(([name, found]): [string, Attribute] => {
    if (found.kind === 'tensor') return [name, { kind: 'tensor', value: widenTensor(found.value) }];
    if (found.kind === 'graph') return [name, { kind: 'graph', value: widenGraph(found.value) }];
    const isHalf = node.op === 'Cast' && HALF.some((type) => elementCode(type) === found.value);
    return [name, isHalf ? { kind: 'int', value: elementCode('float32') } : found];
  });
  return { ...node, attributes: Object.fromEntries(entries) };
}
