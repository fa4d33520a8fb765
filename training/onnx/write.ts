import { open, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { OnnxError } from './errors.ts';
import type { Attribute, Graph, Model, OutputInfo } from './model.ts';
import { ATTRIBUTE_KINDS, EXTERNAL, ModelMessage, type Draft, type Wire } from './schema.ts';
import { elementCode, type Tensor } from './tensor.ts';

/** protobuf's own limit: no reader takes a longer message. */
const MAX_MESSAGE_BYTES = 2 ** 31 - 1;

/** Tensors shorter than this stay in the model: shapes and scalars, which a reader needs to infer shapes. */
const MIN_EXTERNAL_BYTES = 1024;

/** A page on every common system: a reader can map the file and use its bytes in place. */
const EXTERNAL_ALIGNMENT = 4096;

/**
 * The model as bytes, without external data.
 * @throws {OnnxError} `FEATURE_UNSUPPORTED` past 2 GiB: {@link writeModel} with `externalData` has no such limit.
 */
export function encodeModel(model: Model): Uint8Array {
  return encode(model, toTensor);
}

/**
 * Writes a model. With `externalData`, the large initialisers go into a file of that name beside it.
 * @throws {OnnxError} `FEATURE_UNSUPPORTED` for a model past 2 GiB without `externalData`.
 */
export async function writeModel(
  file: string,
  model: Model,
  options: { externalData?: string } = {},
): Promise<void> {
  const { externalData } = options;
  if (externalData === undefined) {
    await writeFile(file, encodeModel(model));
    return;
  }
  const external: Uint8Array[] = [];
  let end = 0;
  const bytes = encode(model, (name, tensor) => {
    if (tensor.data.byteLength < MIN_EXTERNAL_BYTES) return toTensor(name, tensor);
    const padding = (EXTERNAL_ALIGNMENT - (end % EXTERNAL_ALIGNMENT)) % EXTERNAL_ALIGNMENT;
    const offset = end + padding;
    external.push(new Uint8Array(padding), bytesOf(tensor));
    end = offset + tensor.data.byteLength;
    return {
      name,
      type: elementCode(tensor.type),
      dims: [...tensor.dims],
      location: EXTERNAL,
      external: [
        { key: 'location', value: externalData },
        { key: 'offset', value: String(offset) },
        { key: 'length', value: String(tensor.data.byteLength) },
      ],
    };
  });
  const handle = await open(path.join(path.dirname(file), externalData), 'w');
  try {
    for (const part of external) await handle.writeFile(part);
  } finally {
    await handle.close();
  }
  await writeFile(file, bytes);
}

type TensorWriter = (name: string, tensor: Tensor) => Draft<Wire<'Tensor'>>;

function encode(model: Model, initializer: TensorWriter): Uint8Array {
  const wire: Draft<Wire<'Model'>> = {
    irVersion: model.irVersion,
    producer: model.producer,
    opsets: [...model.opsets].map(([domain, version]) => ({ domain, version })),
    graph: toGraph(model.graph, initializer),
  };
  const bytes = ModelMessage.encode(wire).finish();
  if (bytes.byteLength > MAX_MESSAGE_BYTES) {
    throw new OnnxError(
      'FEATURE_UNSUPPORTED',
      `the model has ${bytes.byteLength} bytes, more than a protobuf message can have: write it with external data`,
    );
  }
  return bytes;
}

function toGraph(graph: Graph, initializer: TensorWriter): Draft<Wire<'Graph'>> {
  return {
    name: graph.name,
    nodes: graph.nodes.map((node) => ({
      op: node.op,
      domain: node.domain,
      name: node.name,
      inputs: [...node.inputs],
      outputs: [...node.outputs],
      attributes: Object.entries(node.attributes).map(([name, value]) => toAttribute(name, value)),
    })),
    initializers: [...graph.initializers].map(([name, tensor]) => initializer(name, tensor)),
    inputs: graph.inputs.map(toValue),
    outputs: graph.outputs.map(toValue),
  };
}

function toValue({ name, type, dims }: OutputInfo): Draft<Wire<'Value'>> {
  if (type === undefined) return { name };
  const elementType = elementCode(type);
  if (dims === undefined) return { name, type: { tensor: { elementType } } };
  const shape = dims.map((dim) =>
    typeof dim === 'number' ? { size: dim } : dim === '' ? {} : { name: dim },
  );
  return { name, type: { tensor: { elementType, shape: { dims: shape } } } };
}

function toAttribute(name: string, { kind, value }: Attribute): Draft<Wire<'Attribute'>> {
  const head = { name, type: ATTRIBUTE_KINDS.indexOf(kind) };
  switch (kind) {
    case 'string':
      return { ...head, string: new TextEncoder().encode(value) };
    case 'strings':
      return { ...head, strings: value.map((each) => new TextEncoder().encode(each)) };
    case 'tensor':
      return { ...head, tensor: toTensor('', value) };
    case 'graph':
      return { ...head, graph: toGraph(value, toTensor) };
    default:
      return { ...head, [kind]: value };
  }
}

function toTensor(name: string, tensor: Tensor): Draft<Wire<'Tensor'>> {
  return { name, type: elementCode(tensor.type), dims: [...tensor.dims], raw: bytesOf(tensor) };
}

function bytesOf({ data }: Tensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
