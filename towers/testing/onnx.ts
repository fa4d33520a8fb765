/** A tensor in a model. */
export interface Constant {
  name: string;
  dims: number[];
  values: Float32Array | Int8Array | BigInt64Array;
  /** Keeps the values in a file of this name, which the caller writes. */
  external?: string;
}

/** An input or output; names stand for dimensions of variable length. */
export interface Port {
  name: string;
  type: keyof typeof ELEMENT_TYPES;
  dims: (number | string)[];
}

/** An operator, with integer attributes where it has some. */
export interface Operator {
  op: string;
  inputs: string[];
  outputs: string[];
  attributes?: Record<string, number>;
}

/** What a model is made of. */
export interface Graph {
  inputs: Port[];
  outputs: Port[];
  constants?: Constant[];
  operators: Operator[];
}

/** `TensorProto.DataType` */
const ELEMENT_TYPES = { float32: 1, int8: 3, int32: 6, int64: 7, float16: 10 };

/** Versions of format and operators that ONNX Runtime has known for long. */
const IR_VERSION = 8;
const OPSET_VERSION = 17;

/** `AttributeProto.AttributeType.INT` */
const INTEGER_ATTRIBUTE = 2;

/** Writes an ONNX file (onnx.proto3), as much of the format as small test models need. */
export function onnxModel({ inputs, outputs, constants = [], operators }: Graph): Uint8Array {
  const graph = [
    ...operators.map((operator) => field(1, operatorBytes(operator))),
    text(2, 'test'),
    ...constants.map((constant) => field(5, constantBytes(constant))),
    ...inputs.map((port) => field(11, portBytes(port))),
    ...outputs.map((port) => field(12, portBytes(port))),
  ];
  return Buffer.concat([
    integer(1, IR_VERSION),
    field(7, Buffer.concat(graph)),
    field(8, Buffer.concat([text(1, ''), integer(2, OPSET_VERSION)])),
  ]);
}

/** Little-endian bytes of a constant's values, as they stand in a file of external data. */
export function rawBytes({ values }: Pick<Constant, 'values'>): Buffer {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
}

function operatorBytes({ op, inputs, outputs, attributes = {} }: Operator): Buffer {
  return Buffer.concat([
    ...inputs.map((name) => text(1, name)),
    ...outputs.map((name) => text(2, name)),
    text(4, op),
    ...Object.entries(attributes).map(([name, value]) =>
      field(5, Buffer.concat([text(1, name), integer(3, value), integer(20, INTEGER_ATTRIBUTE)])),
    ),
  ]);
}

function constantBytes(constant: Constant): Buffer {
  const { name, dims, values, external } = constant;
  const type = values instanceof Float32Array ? 'float32' : values instanceof Int8Array ? 'int8' : 'int64';
  const data =
    external === undefined
      ? [field(9, rawBytes(constant))]
      : [field(13, Buffer.concat([text(1, 'location'), text(2, external)])), integer(14, 1)];
  return Buffer.concat([
    ...dims.map((size) => integer(1, size)),
    integer(2, ELEMENT_TYPES[type]),
    text(8, name),
    ...data,
  ]);
}

function portBytes({ name, type, dims }: Port): Buffer {
  const shape = dims.map((size) => field(1, typeof size === 'number' ? integer(1, size) : text(2, size)));
  const tensor = Buffer.concat([integer(1, ELEMENT_TYPES[type]), field(2, Buffer.concat(shape))]);
  return Buffer.concat([text(1, name), field(2, field(1, tensor))]);
}

/** Protocol Buffers: a varint, and fields of wire types 0 and 2. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) + 128);
  }
}

function integer(number: number, value: number): Buffer {
  return Buffer.concat([varint(number * 8), varint(value)]);
}

function field(number: number, bytes: Uint8Array): Buffer {
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}

function text(number: number, value: string): Buffer {
  return field(number, Buffer.from(value));
}
