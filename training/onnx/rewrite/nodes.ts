import { GraphBuilder } from '../builder.ts';
import type { Model, Node } from '../model.ts';
import { prune } from '../prune.ts';

/** Writes other nodes in the place of one. @returns the values that replace the node's outputs; undefined: keep the node */
export type NodeWriter = (
  g: GraphBuilder,
  node: Node,
  /** What input `i` is called in the new graph; empty where the node does not have it. */
  input: (i: number) => string,
) => readonly string[] | undefined;

/** The same model with some of its nodes written anew. What nothing reads any more is left out. */
export function rewriteNodes({ graph }: Model, write: NodeWriter): Model {
  const g = new GraphBuilder();
  g.reserve(graph.nodes);
  for (const { name, type, dims } of graph.inputs) g.input(name, type, dims!);
  for (const [name, value] of graph.initializers) g.initializer(name, value);
  const renamed = new Map<string, string>();
  const current = (name: string): string => renamed.get(name) ?? name;
  for (const node of graph.nodes) {
    const results = write(g, node, (i) => current(node.inputs[i] ?? ''));
    if (results === undefined) g.add({ ...node, inputs: node.inputs.map(current) });
    else node.outputs.forEach((name, i) => renamed.set(name, results[i] ?? ''));
  }
  for (const { name, type, dims } of graph.outputs) g.output(name, current(name), type, dims);
  return prune(
    g.build(),
    graph.outputs.map(({ name }) => name),
  );
}
