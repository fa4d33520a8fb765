import protobuf from 'protobufjs/light.js';

/**
 * The part of ONNX's protobuf schema that is read and written here: field numbers as in onnx.proto (IR version 10).
 * Documentation strings, names of types and metadata are skipped.
 */
const SCHEMA = {
  nested: {
    Model: message({
      irVersion: ['int64', 1],
      producer: ['string', 2],
      graph: ['Graph', 7],
      opsets: ['OperatorSet', 8, 'repeated'],
      functions: ['bytes', 25, 'repeated'],
    }),
    OperatorSet: message({ domain: ['string', 1], version: ['int64', 2] }),
    Graph: message({
      nodes: ['Node', 1, 'repeated'],
      name: ['string', 2],
      initializers: ['Tensor', 5, 'repeated'],
      inputs: ['Value', 11, 'repeated'],
      outputs: ['Value', 12, 'repeated'],
      sparseInitializers: ['bytes', 15, 'repeated'],
    }),
    Node: message({
      inputs: ['string', 1, 'repeated'],
      outputs: ['string', 2, 'repeated'],
      name: ['string', 3],
      op: ['string', 4],
      attributes: ['Attribute', 5, 'repeated'],
      domain: ['string', 7],
    }),
    Attribute: message({
      name: ['string', 1],
      float: ['float', 2],
      int: ['int64', 3],
      string: ['bytes', 4],
      tensor: ['Tensor', 5],
      graph: ['Graph', 6],
      floats: ['float', 7, 'repeated'],
      ints: ['int64', 8, 'repeated'],
      strings: ['bytes', 9, 'repeated'],
      type: ['int32', 20],
      reference: ['string', 21],
    }),
    Tensor: message({
      dims: ['int64', 1, 'repeated'],
      type: ['int32', 2],
      floats: ['float', 4, 'repeated'],
      int32s: ['int32', 5, 'repeated'],
      int64s: ['int64', 7, 'repeated'],
      name: ['string', 8],
      raw: ['bytes', 9],
      doubles: ['double', 10, 'repeated'],
      uint64s: ['uint64', 11, 'repeated'],
      external: ['Entry', 13, 'repeated'],
      location: ['int32', 14],
    }),
    Entry: message({ key: ['string', 1], value: ['string', 2] }),
    Value: message({ name: ['string', 1], type: ['Type', 2] }),
    Type: message({ tensor: ['TensorType', 1] }),
    TensorType: message({ elementType: ['int32', 1], shape: ['Shape', 2] }),
    Shape: message({ dims: ['Dimension', 1, 'repeated'] }),
    Dimension: message({ size: ['int64', 1], name: ['string', 2] }),
  },
};

type FieldTuple = readonly [type: string, id: number, rule?: 'repeated'];

function message(fields: Record<string, FieldTuple>): {
  fields: Record<string, { type: string; id: number; rule?: string }>;
} {
  return {
    fields: Object.fromEntries(
      Object.entries(fields).map(([name, [type, id, rule]]) => [
        name,
        rule === undefined ? { type, id } : { type, id, rule },
      ]),
    ),
  };
}

/** The codec of a whole model. */
export const WireModelType = protobuf.Root.fromJSON(SCHEMA).lookupType('Model');

/** A 64-bit integer as it comes off the wire. */
export type Wide = number | { low: number; high: number; unsigned: boolean };

export interface WireModel {
  irVersion?: Wide | null;
  producer?: string;
  graph?: WireGraph | null;
  opsets: { domain?: string; version?: Wide | null }[];
  functions?: Uint8Array[];
}

export interface WireGraph {
  nodes: WireNode[];
  name?: string;
  initializers: WireTensor[];
  inputs: WireValue[];
  outputs: WireValue[];
  sparseInitializers?: Uint8Array[];
}

export interface WireNode {
  inputs: string[];
  outputs: string[];
  name?: string;
  op: string;
  attributes: WireAttribute[];
  domain?: string;
}

export interface WireAttribute {
  name: string;
  float?: number;
  int?: Wide | null;
  string?: Uint8Array;
  tensor?: WireTensor | null;
  graph?: WireGraph | null;
  floats?: number[];
  ints?: Wide[];
  strings?: Uint8Array[];
  type: number;
  reference?: string;
}

export interface WireTensor {
  dims: Wide[];
  type: number;
  floats?: number[];
  int32s?: number[];
  int64s?: Wide[];
  name: string;
  raw?: Uint8Array;
  doubles?: number[];
  uint64s?: Wide[];
  external?: { key: string; value: string }[];
  location?: number;
}

export interface WireValue {
  name: string;
  type?: {
    tensor?: {
      elementType: number;
      shape?: { dims: { size?: Wide | null; name?: string }[] } | null;
    } | null;
  } | null;
}

/** Codes of `AttributeProto.type`. */
export const ATTRIBUTE_CODES = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  graph: 5,
  floats: 6,
  ints: 7,
  strings: 8,
} as const;

/** `TensorProto.data_location` of a tensor whose bytes are in a file of their own. */
export const EXTERNAL = 1;
