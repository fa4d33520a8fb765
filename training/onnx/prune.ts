import { OnnxError } from './errors.ts';
import type { Graph, Model, Node } from './model.ts';

/**
 * The part of a model that some of its values need: nodes, initialisers and inputs on which none of them depends are
 * left out. The values become the outputs, in the order given.
 * @throws {OnnxError} `REQUEST_INVALID` for a value that the graph does not have.
 */
export function prune(model: Model, values: readonly string[]): Model {
  const { graph } = model;
  const producers = producersOf(graph);
  const needed = new Set<string>();
  const pending = [...values];
  const nodes = new Set<Node>();
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (name === '' || needed.has(name)) continue;
    needed.add(name);
    const node = producers.get(name);
    if (node === undefined) continue;
    nodes.add(node);
    pending.push(...node.inputs, ...capturedBy(node));
  }
  const known = new Map(graph.outputs.map((output) => [output.name, output]));
  for (const name of values) {
    if (
      !producers.has(name) &&
      !graph.initializers.has(name) &&
      !graph.inputs.some((input) => input.name === name)
    ) {
      throw new OnnxError('REQUEST_INVALID', `the graph has no value "${name}"`);
    }
  }
  return {
    ...model,
    graph: {
      ...graph,
      nodes: graph.nodes.filter((node) => nodes.has(node)),
      initializers: new Map([...graph.initializers].filter(([name]) => needed.has(name))),
      inputs: graph.inputs.filter(({ name }) => needed.has(name)),
      outputs: values.map((name) => known.get(name) ?? { name }),
    },
  };
}

/** Value → the node that computes it. */
export function producersOf(graph: Graph): Map<string, Node> {
  return new Map(graph.nodes.flatMap((node) => node.outputs.map((name) => [name, node] as const)));
}

/** Names that a node's subgraphs may take from the graph around them. */
export function capturedBy(node: Node): string[] {
  const subgraphs = Object.values(node.attributes).flatMap((found) =>
    found.kind === 'graph' ? [found.value] : [],
  );
  return subgraphs.flatMap(({ nodes, outputs }) =>
    outputs.map(({ name }) => name).concat(nodes.flatMap((inner) => inner.inputs.concat(capturedBy(inner)))),
  );
}
