import { open, readFile } from 'node:fs/promises';
import path from 'node:path';
import { OnnxError } from './errors.ts';
import type { Attribute, Dimension, Graph, Model, Node, OutputInfo, ValueInfo } from './model.ts';
import {
  ATTRIBUTE_CODES,
  EXTERNAL,
  WireModelType,
  type Wide,
  type WireAttribute,
  type WireGraph,
  type WireModel,
  type WireTensor,
  type WireValue,
} from './schema.ts';
import { arrayOf, byteLength, elementType, viewAs, type Tensor, type TensorData } from './tensor.ts';

/** Bytes of external data: `location` is a path relative to the model. */
type ExternalData = ReadonlyMap<string, Uint8Array>;

/**
 * Reads a model and the external data files beside it.
 * @throws {OnnxError} `MODEL_INVALID`, `EXTERNAL_DATA`, `FEATURE_UNSUPPORTED`.
 */
export async function readModel(file: string): Promise<Model> {
  const wire = decodeWire(await readFile(file), file);
  const external = new Map<string, Uint8Array>();
  for (const location of externalLocations(wire)) {
    external.set(location, await readExternal(path.dirname(file), location));
  }
  return toModel(wire, external);
}

/**
 * Reads a model that is one piece.
 * @throws {OnnxError} `MODEL_INVALID`, `FEATURE_UNSUPPORTED`, and `EXTERNAL_DATA` when it is not one piece.
 */
export function decodeModel(bytes: Uint8Array): Model {
  return toModel(decodeWire(bytes, 'the model'), new Map());
}

function decodeWire(bytes: Uint8Array, what: string): WireModel {
  let wire: WireModel;
  try {
    wire = WireModelType.decode(bytes) as unknown as WireModel;
  } catch (error) {
    throw new OnnxError('MODEL_INVALID', `${what} is not an ONNX model: ${String(error)}`, { cause: error });
  }
  if (!wire.graph || wire.opsets.length === 0) {
    throw new OnnxError('MODEL_INVALID', `${what} is not an ONNX model: it has no graph or no operator set`);
  }
  return wire;
}

/** The whole file: the format allows no path that leads out of the model's folder. */
async function readExternal(folder: string, location: string): Promise<Uint8Array> {
  const relative = path.normalize(location);
  if (path.isAbsolute(relative) || relative.split(path.sep)[0] === '..') {
    throw new OnnxError('EXTERNAL_DATA', `external data "${location}" lies outside of the model's folder`);
  }
  try {
    const handle = await open(path.join(folder, relative));
    try {
      // Not readFile(): that stops at 2 GiB.
      const { size } = await handle.stat();
      const bytes = new Uint8Array(size);
      for (let at = 0; at < size;) {
        const { bytesRead } = await handle.read(bytes, at, Math.min(READ_BYTES, size - at), at);
        if (bytesRead === 0) throw new Error('the file became shorter while it was read');
        at += bytesRead;
      }
      return bytes;
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw new OnnxError(
      'EXTERNAL_DATA',
      `can't read external data "${location}" in ${folder}: ${String(error)}`,
      {
        cause: error,
      },
    );
  }
}

/** A single read(2) moves less than 2 GiB. */
const READ_BYTES = 2 ** 30;

function externalLocations(wire: WireModel): Set<string> {
  const found = new Set<string>();
  const visitTensor = (tensor: WireTensor): void => {
    if (tensor.location === EXTERNAL) found.add(externalEntry(tensor).location);
  };
  const visit = (graph: WireGraph): void => {
    graph.initializers.forEach(visitTensor);
    for (const { tensor, graph: inner } of graph.nodes.flatMap((node) => node.attributes)) {
      if (tensor) visitTensor(tensor);
      if (inner) visit(inner);
    }
  };
  visit(wire.graph!);
  return found;
}

function externalEntry(tensor: WireTensor): { location: string; offset: number; length: number | undefined } {
  const entries = new Map(tensor.external?.map(({ key, value }) => [key, value]));
  const location = entries.get('location');
  const offset = Number(entries.get('offset') ?? 0);
  const length = entries.has('length') ? Number(entries.get('length')) : undefined;
  if (location === undefined || !Number.isSafeInteger(offset) || !Number.isSafeInteger(length ?? 0)) {
    throw new OnnxError(
      'MODEL_INVALID',
      `initializer "${tensor.name}" has an external data entry that can't be read`,
    );
  }
  return { location, offset, length };
}

function toModel(wire: WireModel, external: ExternalData): Model {
  if (wire.functions !== undefined && wire.functions.length > 0) {
    throw new OnnxError(
      'FEATURE_UNSUPPORTED',
      'the model defines functions of its own; export it with functions inlined (onnx.inliner does it)',
    );
  }
  return {
    irVersion: toNumber(wire.irVersion ?? 0),
    producer: wire.producer ?? '',
    opsets: new Map(wire.opsets.map(({ domain, version }) => [normalDomain(domain), toNumber(version ?? 0)])),
    graph: toGraph(wire.graph!, external),
  };
}

/** `ai.onnx` is another name of the empty domain. */
function normalDomain(domain: string | undefined): string {
  return domain === undefined || domain === 'ai.onnx' ? '' : domain;
}

function toGraph(wire: WireGraph, external: ExternalData): Graph {
  if (wire.sparseInitializers !== undefined && wire.sparseInitializers.length > 0) {
    throw new OnnxError(
      'FEATURE_UNSUPPORTED',
      'the model has sparse initializers; export it with dense ones',
    );
  }
  const initializers = new Map(wire.initializers.map((tensor) => [tensor.name, toTensor(tensor, external)]));
  return {
    name: wire.name ?? '',
    nodes: wire.nodes.map((node): Node => ({
      op: node.op,
      domain: normalDomain(node.domain),
      name: node.name ?? '',
      inputs: node.inputs,
      outputs: node.outputs,
      attributes: Object.fromEntries(
        node.attributes.map((found) => [found.name, toAttribute(found, node.op, external)]),
      ),
    })),
    initializers,
    inputs: wire.inputs.filter(({ name }) => !initializers.has(name)).map(toValueInfo),
    outputs: wire.outputs.map(toOutputInfo),
  };
}

function toValueInfo(wire: WireValue): ValueInfo {
  const type = wire.type?.tensor;
  if (!type) {
    throw new OnnxError('FEATURE_UNSUPPORTED', `input or output "${wire.name}" is not a tensor`);
  }
  const found = { name: wire.name, type: elementType(type.elementType, `value "${wire.name}"`) };
  if (!type.shape) return found;
  const dims = type.shape.dims.map(({ size, name }): Dimension =>
    size === undefined || size === null || name ? (name ?? '') : toNumber(size),
  );
  return { ...found, dims };
}

function toOutputInfo(wire: WireValue): OutputInfo {
  return wire.type ? toValueInfo(wire) : { name: wire.name };
}

function toAttribute(wire: WireAttribute, op: string, external: ExternalData): Attribute {
  const where = `attribute "${wire.name}" of a ${op} node`;
  if (wire.reference) throw new OnnxError('MODEL_INVALID', `${where} refers to a function's attribute`);
  switch (wire.type) {
    case ATTRIBUTE_CODES.float:
      return { kind: 'float', value: wire.float ?? 0 };
    case ATTRIBUTE_CODES.int:
      return { kind: 'int', value: toNumber(wire.int ?? 0) };
    case ATTRIBUTE_CODES.string:
      return { kind: 'string', value: toText(wire.string) };
    case ATTRIBUTE_CODES.tensor:
      return { kind: 'tensor', value: toTensor(wire.tensor!, external) };
    case ATTRIBUTE_CODES.graph:
      return { kind: 'graph', value: toGraph(wire.graph!, external) };
    case ATTRIBUTE_CODES.floats:
      return { kind: 'floats', value: wire.floats ?? [] };
    case ATTRIBUTE_CODES.ints:
      return { kind: 'ints', value: (wire.ints ?? []).map(toNumber) };
    case ATTRIBUTE_CODES.strings:
      return { kind: 'strings', value: (wire.strings ?? []).map(toText) };
    default:
      throw new OnnxError('FEATURE_UNSUPPORTED', `${where} is of type ${wire.type}, which is not read here`);
  }
}

function toTensor(wire: WireTensor, external: ExternalData): Tensor {
  const where = `tensor "${wire.name}"`;
  const type = elementType(wire.type, where);
  const dims = wire.dims.map(toNumber);
  const data = tensorData(wire, type, byteLength(type, dims), external);
  if (data.byteLength !== byteLength(type, dims)) {
    throw new OnnxError(
      'MODEL_INVALID',
      `${where} of type ${type} and shape [${dims.join(', ')}] has ${data.byteLength} bytes instead of ${byteLength(type, dims)}`,
    );
  }
  return { type, dims, data };
}

function tensorData(
  wire: WireTensor,
  type: Tensor['type'],
  bytes: number,
  external: ExternalData,
): TensorData {
  if (wire.location === EXTERNAL) {
    const { location, offset, length } = externalEntry(wire);
    const file = external.get(location);
    if (file === undefined) {
      throw new OnnxError(
        'EXTERNAL_DATA',
        `tensor "${wire.name}" is in "${location}": read the model from its file`,
      );
    }
    if (offset + (length ?? bytes) > file.byteLength) {
      throw new OnnxError('EXTERNAL_DATA', `"${location}" ends before tensor "${wire.name}" does`);
    }
    return viewAs(type, file.subarray(offset, offset + (length ?? bytes)));
  }
  if (wire.raw !== undefined && wire.raw.byteLength > 0) return viewAs(type, wire.raw);
  switch (type) {
    case 'float32':
      return arrayOf(type, wire.floats ?? []);
    case 'float64':
      return arrayOf(type, wire.doubles ?? []);
    case 'int64':
      return arrayOf(type, (wire.int64s ?? []).map(toBigInt));
    case 'uint32':
    case 'uint64':
      return arrayOf(type, (wire.uint64s ?? []).map(toBigInt));
    default:
      return arrayOf(type, wire.int32s ?? []);
  }
}

function toText(bytes: Uint8Array | undefined): string {
  return new TextDecoder().decode(bytes);
}

function toBigInt(value: Wide): bigint {
  if (typeof value === 'number') return BigInt(value);
  const high = value.unsigned ? value.high >>> 0 : value.high;
  return (BigInt(high) << 32n) | BigInt(value.low >>> 0);
}

function toNumber(value: Wide): number {
  if (typeof value === 'number') return value;
  const wide = toBigInt(value);
  if (wide > BigInt(Number.MAX_SAFE_INTEGER) || wide < BigInt(Number.MIN_SAFE_INTEGER)) {
    throw new OnnxError('MODEL_INVALID', `the integer ${wide} in a shape or an attribute is too large`);
  }
  return Number(wide);
}
