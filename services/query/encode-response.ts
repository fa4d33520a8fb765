import type { EncodeResponse } from '../../proto/generated/scalingnote/v1/EncodeResponse.ts';
import type { Tower } from '../../proto/generated/scalingnote/v1/Tower.ts';
import { v1 } from '../../proto/load.ts';
import { searchResponseBytes } from './search-response.ts';
import { fieldSize, IS_NATIVE, writeHead } from './wire.ts';

const definition = v1.QueryService.service;
const generic = definition.Encode.responseSerialize;

/** The number of each field with a part of the vectors. */
const FIELD = 1;

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
  if (!IS_NATIVE) {
    const plain = vectors.map((each) => ({ values: [...each] }));
    return generic({ embeddings: plain, queryTower: queryTower ?? null });
  }
  const tower = queryTower ? towerBytes(queryTower) : undefined;
  let size = tower?.length ?? 0;
  for (const { byteLength } of vectors) size += fieldSize(innerSize(byteLength));
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const { buffer, byteOffset, byteLength } of vectors) {
    at = writeHead(bytes, at, FIELD, innerSize(byteLength));
    // An empty list is not written.
    if (byteLength === 0) continue;
    at = writeHead(bytes, at, FIELD, byteLength);
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), at);
    at += byteLength;
  }
  if (tower) bytes.set(tower, at);
  return bytes;
}

/** The definition of the query service, whose `Encode` takes vectors as they are, and whose hits are written once. */
export const queryDefinition: typeof definition = {
  ...definition,
  Encode: { ...definition.Encode, responseSerialize: encodeResponseBytes },
  Search: { ...definition.Search, responseSerialize: searchResponseBytes },
  SearchByVector: { ...definition.SearchByVector, responseSerialize: searchResponseBytes },
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
  return listed === 0 ? 0 : fieldSize(listed);
}
