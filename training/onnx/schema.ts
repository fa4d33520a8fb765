import protobuf from 'protobufjs/light.js';

/**
 * The part of ONNX's protobuf schema that we read and write: type and number of each field, as in onnx.proto (IR version
 * 10). We skip documentation strings, names of types and metadata.
 */
const MESSAGES = {
  Model: {
    irVersion: 'int64 1',
    producer: 'string 2',
    graph: 'Graph 7',
    opsets: 'OperatorSet[] 8',
    functions: 'bytes[] 25',
  },
  OperatorSet: { domain: 'string 1', version: 'int64 2' },
  Graph: {
    nodes: 'Node[] 1',
    name: 'string 2',
    initializers: 'Tensor[] 5',
    inputs: 'Value[] 11',
    outputs: 'Value[] 12',
    sparseInitializers: 'bytes[] 15',
  },
  Node: {
    inputs: 'string[] 1',
    outputs: 'string[] 2',
    name: 'string 3',
    op: 'string 4',
    attributes: 'Attribute[] 5',
    domain: 'string 7',
  },
  Attribute: {
    name: 'string 1',
    float: 'float 2',
    int: 'int64 3',
    string: 'bytes 4',
    tensor: 'Tensor 5',
    graph: 'Graph 6',
    floats: 'float[] 7',
    ints: 'int64[] 8',
    strings: 'bytes[] 9',
    type: 'int32 20',
    reference: 'string 21',
  },
  Tensor: {
    dims: 'int64[] 1',
    type: 'int32 2',
    floats: 'float[] 4',
    int32s: 'int32[] 5',
    int64s: 'int64[] 7',
    name: 'string 8',
    raw: 'bytes 9',
    doubles: 'double[] 10',
    uint64s: 'uint64[] 11',
    external: 'Entry[] 13',
    location: 'int32 14',
  },
  Entry: { key: 'string 1', value: 'string 2' },
  Value: { name: 'string 1', type: 'Type 2' },
  Type: { tensor: 'TensorType 1' },
  TensorType: { elementType: 'int32 1', shape: 'Shape 2' },
  Shape: { dims: 'Dimension[] 1' },
  Dimension: { size: 'int64 1', name: 'string 2' },
} as const;

/** A 64-bit integer as protobufjs gives it. */
export type Wide = number | { low: number; high: number; unsigned: boolean };

interface Scalars {
  string: string;
  bytes: Uint8Array;
  float: number;
  double: number;
  int32: number;
  int64: Wide;
  uint64: Wide;
}

type FieldType<T> = T extends keyof Scalars ? Scalars[T] : T extends MessageName ? Wire<T> | null : never;
export type MessageName = keyof typeof MESSAGES;

/** A message that was read: an absent field has protobuf's default, and an absent message is null. */
export type Wire<M extends MessageName> = {
  [F in keyof (typeof MESSAGES)[M]]: (typeof MESSAGES)[M][F] extends `${infer T}[] ${number}`
    ? NonNullable<FieldType<T>>[]
    : (typeof MESSAGES)[M][F] extends `${infer T} ${number}`
      ? FieldType<T>
      : never;
};

/** A message to write: what it does not have is not written. */
export type Draft<T> = T extends Wide | string | Uint8Array
  ? T
  : T extends (infer E)[]
    ? Draft<E>[]
    : { [K in keyof T]?: Draft<T[K]> };

const SCHEMA = Object.entries(MESSAGES).map(([message, table]) => {
  const fields = Object.fromEntries(Object.entries(table).map(([name, field]) => [name, parse(field)]));
  // A size of 0 is not the same as no size.
  const oneofs = message === 'Dimension' ? { value: { oneof: ['size', 'name'] } } : {};
  return [message, { fields, oneofs }] as const;
});

/** The codec of a whole model. */
export const ModelMessage = protobuf.Root.fromJSON({ nested: Object.fromEntries(SCHEMA) }).lookupType(
  'Model',
);

function parse(field: string): { type: string; id: number; rule?: string } {
  const [type, id] = field.split(' ') as [string, string];
  return type.endsWith('[]')
    ? { type: type.slice(0, -2), id: Number(id), rule: 'repeated' }
    : { type, id: Number(id) };
}

/** Kinds of attributes; the place of each is its code in `AttributeProto.type`. */
export const ATTRIBUTE_KINDS = [
  undefined,
  'float',
  'int',
  'string',
  'tensor',
  'graph',
  'floats',
  'ints',
  'strings',
] as const;

/** `TensorProto.data_location` of a tensor whose bytes are in a file of their own. */
export const EXTERNAL = 1;
