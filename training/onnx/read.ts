import { closeSync, fstatSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { readFully } from '../read-fully.ts';
import { OnnxError } from './errors.ts';
import type { Attribute, Dimension, Graph, Model, OutputInfo, ValueInfo } from './model.ts';
import { ATTRIBUTE_KINDS, EXTERNAL, ModelMessage, type Wide, type Wire } from './schema.ts';
import { arrayOf, byteLength, elementType, viewAs, type Tensor, type TensorData } from './tensor.ts';

/** Gives the bytes of a file of external data. Its path is relative to the model. */
type External = (location: string) => Uint8Array;

/**
 * Reads a model and the external data files beside it.
 * @throws {OnnxError} `MODEL_INVALID`, `EXTERNAL_DATA`, `FEATURE_UNSUPPORTED`.
 */
export async function readModel(file: string): Promise<Model> {
  return toModel(await readFile(file), file, externalIn(path.dirname(file)));
}

/**
 * Reads a model without external data.
 * @throws {OnnxError} `MODEL_INVALID`, `FEATURE_UNSUPPORTED`, and `EXTERNAL_DATA` when it has external data.
 */
export function decodeModel(bytes: Uint8Array): Model {
  return toModel(bytes, 'the model', (location) => {
    throw new OnnxError('EXTERNAL_DATA', `a tensor is in "${location}": read the model from its file`);
  });
}

/** Reads whole files, each once. The format allows no path that leads out of the model's folder. */
function externalIn(folder: string): External {
  const files = new Map<string, Uint8Array>();
  return (location) => {
    const relative = path.normalize(location);
    if (path.isAbsolute(relative) || relative.split(path.sep)[0] === '..') {
      throw new OnnxError('EXTERNAL_DATA', `external data "${location}" lies outside of the model's folder`);
    }
    const bytes = files.get(location) ?? readWhole(path.join(folder, relative), location);
    files.set(location, bytes);
    return bytes;
  };
}

function readWhole(file: string, location: string): Uint8Array {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(file, 'r');
    const bytes = new Uint8Array(fstatSync(descriptor).size);
    readFully(descriptor, bytes);
    return bytes;
  } catch (cause) {
    const where = `${location}" in ${path.dirname(file)}`;
    throw new OnnxError('EXTERNAL_DATA', `can't read external data "${where}: ${String(cause)}`, { cause });
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function toModel(bytes: Uint8Array, what: string, external: External): Model {
  const invalid = (why: string, cause?: unknown): OnnxError =>
    new OnnxError('MODEL_INVALID', `${what} is not an ONNX model: ${why}`, { cause });
  let wire: Wire<'Model'>;
  try {
    wire = ModelMessage.decode(bytes) as unknown as Wire<'Model'>;
  } catch (error) {
    throw invalid(String(error), error);
  }
  const { graph, irVersion, producer, opsets, functions } = wire;
  if (graph === null || opsets.length === 0) throw invalid('it has no graph or no operator set');
  if (functions.length > 0) {
    throw new OnnxError(
      'FEATURE_UNSUPPORTED',
      'the model defines functions of its own; export it with functions inlined (onnx.inliner does it)',
    );
  }
  return {
    irVersion: toNumber(irVersion),
    producer,
    opsets: new Map(opsets.map(({ domain, version }) => [normalDomain(domain), toNumber(version)])),
    graph: toGraph(graph, external),
  };
}

/** `ai.onnx` is another name of the empty domain. */
function normalDomain(domain: string): string {
  return domain === 'ai.onnx' ? '' : domain;
}

function toGraph(wire: Wire<'Graph'>, external: External): Graph {
  if (wire.sparseInitializers.length > 0) {
    throw new OnnxError(
      'FEATURE_UNSUPPORTED',
      'the model has sparse initializers; export it with dense ones',
    );
  }
  const initializers = new Map(wire.initializers.map((tensor) => [tensor.name, toTensor(tensor, external)]));
  return {
    name: wire.name,
    nodes: wire.nodes.map(({ op, domain, name, inputs, outputs, attributes }) => ({
      op,
      domain: normalDomain(domain),
      name,
      inputs,
      outputs,
      attributes: Object.fromEntries(attributes.map((each) => [each.name, toAttribute(each, op, external)])),
    })),
    initializers,
    inputs: wire.inputs.filter(({ name }) => !initializers.has(name)).map(toValueInfo),
    outputs: wire.outputs.map((value): OutputInfo =>
      value.type ? toValueInfo(value) : { name: value.name },
    ),
  };
}

function toValueInfo({ name, type: declared }: Wire<'Value'>): ValueInfo {
  const type = declared?.tensor;
  if (!type) throw new OnnxError('FEATURE_UNSUPPORTED', `input or output "${name}" is not a tensor`);
  const found = { name, type: elementType(type.elementType, `value "${name}"`) };
  if (type.shape === null) return found;
  const dims = type.shape.dims.map((dim): Dimension =>
    Object.hasOwn(dim, 'size') ? toNumber(dim.size) : dim.name,
  );
  return { ...found, dims };
}

function toAttribute(wire: Wire<'Attribute'>, op: string, external: External): Attribute {
  const where = `attribute "${wire.name}" of a ${op} node`;
  if (wire.reference) throw new OnnxError('MODEL_INVALID', `${where} refers to a function's attribute`);
  const kind = ATTRIBUTE_KINDS[wire.type];
  switch (kind) {
    case 'float':
      return { kind, value: wire.float };
    case 'int':
      return { kind, value: toNumber(wire.int) };
    case 'string':
      return { kind, value: toText(wire.string) };
    case 'tensor':
      return { kind, value: toTensor(wire.tensor!, external) };
    case 'graph':
      return { kind, value: toGraph(wire.graph!, external) };
    case 'floats':
      return { kind, value: wire.floats };
    case 'ints':
      return { kind, value: wire.ints.map(toNumber) };
    case 'strings':
      return { kind, value: wire.strings.map(toText) };
    default:
      throw new OnnxError('FEATURE_UNSUPPORTED', `${where} is of type ${wire.type}, which we do not read`);
  }
}

function toTensor(wire: Wire<'Tensor'>, external: External): Tensor {
  const where = `tensor "${wire.name}"`;
  const type = elementType(wire.type, where);
  const dims = wire.dims.map(toNumber);
  const bytes = byteLength(type, dims);
  const data = wire.location === EXTERNAL ? toExternal(wire, type, bytes, external) : toData(wire, type);
  if (data.byteLength !== bytes) {
    throw new OnnxError(
      'MODEL_INVALID',
      `${where} of type ${type} and shape [${dims.join(', ')}] has ${data.byteLength} bytes instead of ${bytes}`,
    );
  }
  return { type, dims, data };
}

function toExternal(wire: Wire<'Tensor'>, type: Tensor['type'], bytes: number, read: External): TensorData {
  const entries = new Map(wire.external.map(({ key, value }) => [key, value]));
  const location = entries.get('location');
  const [offset, length] = [Number(entries.get('offset') ?? 0), Number(entries.get('length') ?? bytes)];
  if (location === undefined || !Number.isSafeInteger(offset) || !Number.isSafeInteger(length)) {
    throw new OnnxError('MODEL_INVALID', `tensor "${wire.name}" has an external data entry without sense`);
  }
  const file = read(location);
  if (offset + length > file.byteLength) {
    throw new OnnxError('EXTERNAL_DATA', `"${location}" ends before tensor "${wire.name}" does`);
  }
  return viewAs(type, file.subarray(offset, offset + length));
}

function toData(wire: Wire<'Tensor'>, type: Tensor['type']): TensorData {
  if (wire.raw.byteLength > 0) return viewAs(type, wire.raw);
  switch (type) {
    case 'float32':
      return arrayOf(type, wire.floats);
    case 'float64':
      return arrayOf(type, wire.doubles);
    case 'int64':
      return arrayOf(type, wire.int64s.map(toBigInt));
    case 'uint32':
    case 'uint64':
      return arrayOf(type, wire.uint64s.map(toBigInt));
    default:
      return arrayOf(type, wire.int32s);
  }
}

function toText(bytes: Uint8Array): string {
  // protobufjs gives an empty list for an empty string.
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

function toBigInt(value: Wide): bigint {
  if (typeof value === 'number') return BigInt(value);
  const high = value.unsigned ? value.high >>> 0 : value.high;
  return (BigInt(high) << 32n) | BigInt(value.low >>> 0);
}

function toNumber(value: Wide): number {
  const wide = toBigInt(value);
  if (Number.isSafeInteger(Number(wide))) return Number(wide);
  throw new OnnxError('MODEL_INVALID', `the integer ${wide} in a shape or an attribute is too large`);
}
