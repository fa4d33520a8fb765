import { endianness } from 'node:os';
import type { EncodeResponse } from '../../proto/generated/scalingnote/v1/EncodeResponse.ts';
import type { Tower } from '../../proto/generated/scalingnote/v1/Tower.ts';
import { v1 } from '../../proto/load.ts';

const definition = v1.QueryService.service;
const generic = definition.Encode.responseSerialize;

/** Before each part of the message (https://protobuf.dev/programming-guides/encoding): field 1, length-delimited. */
const TAG = 0x0a;
/** Numbers of the wire are little-endian, as they are in memory nearly everywhere. */
const isNative = endianness() === 'LE';

/** Towers as they stand in an answer. A service has one, and answers with it every time. */
const towers = new WeakMap<Tower, Buffer>();

/**
 * The bytes of an answer of `Encode`, whose vectors may be `Float32Array`s: these are copied as they are. protobufjs
 * makes two objects of each number on its way, and takes a fifth of the time of the whole call.
 */
export function encodeResponseBytes({ embeddings = [], queryTower }: EncodeResponse): Buffer {
  const vectors = embeddings.map(({ values = [] }) =>
    values instanceof Float32Array ? values : Float32Array.from(values, Number),
  );
  if (!isNative) {
    const plain = vectors.map((each) => ({ values: [...each] }));
    return generic({ embeddings: plain, queryTower: queryTower ?? null });
  }
  const tower = queryTower ? towerBytes(queryTower) : undefined;
  let size = tower?.length ?? 0;
  for (const { byteLength } of vectors) {
    const inner = innerSize(byteLength);
    size += 1 + varintSize(inner) + inner;
  }
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const { buffer, byteOffset, byteLength } of vectors) {
    at = writeHead(bytes, at, innerSize(byteLength));
    // An empty list is not written.
    if (byteLength === 0) continue;
    at = writeHead(bytes, at, byteLength);
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), at);
    at += byteLength;
  }
  if (tower) bytes.set(tower, at);
  return bytes;
}

/** The definition of the query service, whose `Encode` takes vectors as they are. */
export const queryDefinition: typeof definition = {
  ...definition,
  Encode: { ...definition.Encode, responseSerialize: encodeResponseBytes },
};

/** A message of vectors that has nothing but the tower: field 2 comes last. */
function towerBytes(tower: Tower): Buffer {
  let bytes = towers.get(tower);
  if (!bytes) {
    bytes = generic({ queryTower: tower });
    towers.set(tower, bytes);
  }
  return bytes;
}

/** Bytes of the `Embedding` around a list of so many. */
function innerSize(listed: number): number {
  return listed === 0 ? 0 : 1 + varintSize(listed) + listed;
}

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest /= 0x80) size++;
  return size;
}

/** Writes the tag and a length; says where to go on. */
function writeHead(bytes: Buffer, start: number, length: number): number {
  let at = start;
  bytes[at++] = TAG;
  let rest = length;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes[at++] = (rest % 0x80) | 0x80;
  bytes[at++] = rest;
  return at;
}
