import { LookupError } from './errors.ts';
import { fields, packed } from './protobuf.ts';

/** A tensor of a model's file: its numbers are views of the file where they can be. */
export interface Tensor {
  dims: readonly number[];
  data: Float32Array | Int8Array | Uint8Array | Int32Array | Float64Array;
}

/** Numbers of the fields that are read, as in onnx.proto. */
const GRAPH = 7;
const INITIALIZERS = 5;
const TENSOR = { dims: 1, type: 2, name: 8, raw: 9, location: 14 } as const;

/** Element types by their number in onnx.proto, and the bytes of one. */
const FLOAT32 = 1;
const UINT8 = 2;
const INT8 = 3;
const INT32 = 6;
const INT64 = 7;

/**
 * The weights of an ONNX file by name, without the graph: enough to run a lookup by its list of stages, and a hundredth of a
 * library for ONNX.
 *
 * @throws {LookupError} where the file is none, or ends too early
 */
export function readTensors(file: Uint8Array): ReadonlyMap<string, () => Tensor> {
  const found = new Map<string, () => Tensor>();
  for (const graph of fields(file)) {
    if (graph.number !== GRAPH || graph.bytes === undefined) continue;
    for (const { number, bytes } of fields(graph.bytes)) {
      if (number === INITIALIZERS && bytes !== undefined) {
        const [name, tensor] = readTensor(bytes);
        found.set(name, tensor);
      }
    }
  }
  if (found.size === 0) throw new LookupError('the model has no weights; is it an ONNX file?');
  return found;
}

function readTensor(message: Uint8Array): [name: string, tensor: () => Tensor] {
  let [name, type] = ['', 0];
  let raw: Uint8Array | undefined;
  let isElsewhere = false;
  const dims: number[] = [];
  for (const { number, value, bytes } of fields(message)) {
    if (number === TENSOR.name && bytes) name = new TextDecoder().decode(bytes);
    else if (number === TENSOR.type) type = value;
    else if (number === TENSOR.raw) raw = bytes;
    else if (number === TENSOR.location) isElsewhere = value !== 0;
    else if (number === TENSOR.dims && bytes === undefined) dims.push(value);
    else if (number === TENSOR.dims) dims.push(...packed(bytes!));
  }
  return [
    name,
    () => {
      if (raw === undefined || isElsewhere) {
        throw new LookupError(`the weights "${name}" are not stored as bytes in the model's own file`);
      }
      const data = numbersOf(name, type, raw);
      const size = dims.reduce((product, dim) => product * dim, 1);
      if (data.length !== size) {
        throw new LookupError(`the weights "${name}" have ${data.length} numbers; their shape says ${size}`);
      }
      return { dims, data };
    },
  ];
}

function numbersOf(name: string, type: number, raw: Uint8Array): Tensor['data'] {
  const { buffer, byteOffset, byteLength } = raw;
  if (type === INT8) return new Int8Array(buffer, byteOffset, byteLength);
  if (type === UINT8) return raw;
  if (type !== FLOAT32 && type !== INT32 && type !== INT64) {
    throw new LookupError(
      `the weights "${name}" are of ONNX type ${type}; float32, int8, uint8, int32, int64 are read`,
    );
  }
  const width = type === INT64 ? 8 : 4;
  if (byteLength % width !== 0) throw new LookupError(`the weights "${name}" end within a number`);
  // The file puts them wherever it likes, lowest byte first, as does every machine that JavaScript runs on.
  const aligned = buffer.slice(byteOffset, byteOffset + byteLength);
  if (type === FLOAT32) return new Float32Array(aligned);
  if (type === INT32) return new Int32Array(aligned);
  return Float64Array.from(new BigInt64Array(aligned), Number);
}
