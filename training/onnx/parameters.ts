import { OnnxError } from './errors.ts';
import type { Model } from './model.ts';
import { elementCount, type Tensor } from './tensor.ts';

/**
 * The model with some of its initialisers turned into inputs of the same name, which a caller feeds.
 * @throws {OnnxError} `REQUEST_INVALID` for one that it does not have.
 */
export function asInputs(model: Model, names: readonly string[]): Model {
  const { graph } = model;
  const initializers = new Map(graph.initializers);
  const inputs = names.map((name) => {
    const { type, dims } = parameter(model, name);
    initializers.delete(name);
    return { name, type, dims };
  });
  return { ...model, graph: { ...graph, initializers, inputs: [...graph.inputs, ...inputs] } };
}

/**
 * The model with new contents for some of its initialisers.
 * @throws {OnnxError} `REQUEST_INVALID` for one that it does not have, or has in another type or shape.
 */
export function withParameters(model: Model, values: ReadonlyMap<string, Tensor>): Model {
  const initializers = new Map(model.graph.initializers);
  for (const [name, value] of values) {
    const { type, dims } = parameter(model, name);
    if (value.type !== type || value.dims.join() !== dims.join()) {
      throw new OnnxError(
        'REQUEST_INVALID',
        `initializer "${name}" is ${type} [${dims.join(', ')}], not ${value.type} [${value.dims.join(', ')}]`,
      );
    }
    initializers.set(name, value);
  }
  return { ...model, graph: { ...model.graph, initializers } };
}

/** How many numbers some initialisers hold together. */
export function parameterCount(model: Model, names: readonly string[]): number {
  return names.reduce((sum, name) => sum + elementCount(parameter(model, name).dims), 0);
}

function parameter(model: Model, name: string): Tensor {
  const found = model.graph.initializers.get(name);
  if (found === undefined) throw new OnnxError('REQUEST_INVALID', `the graph has no initializer "${name}"`);
  return found;
}
