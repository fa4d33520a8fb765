import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { encodeTriple, pointId } from './point-id.ts';

const text = fc.string({ unit: 'binary' }).map((value) => value.toWellFormed());
const passage = fc.integer({ min: 0, max: 2 ** 32 - 1 });

/** Decodes what {@link encodeTriple} encoded: an encoding that can be decoded is injective. */
function decode(bytes: Buffer): [string, string, number] {
  const tenantEnd = 8 + bytes.readUInt32BE(4);
  return [
    bytes.subarray(8, tenantEnd).toString(),
    bytes.subarray(tenantEnd).toString(),
    bytes.readUInt32BE(0),
  ];
}

describe('pointId', () => {
  it('is what UUIDv5 of an independent implementation gives, for ever', () => {
    assert.equal(pointId('', 'a', 0), 'e8c04a28-64ea-50ae-b971-2f3df106c4ea');
    assert.equal(pointId('tenant', '字/1', 70_000), '175fdbf9-73da-5ebe-b8cf-994a5c7fbafa');
  });

  it('encodes a triple so that it can be read back', () => {
    fc.assert(
      fc.property(text, text, passage, (tenant, documentId, index) => {
        assert.deepEqual(decode(encodeTriple(tenant, documentId, index)), [tenant, documentId, index]);
      }),
    );
  });

  it('tells apart what joined strings would not', () => {
    const triples: [string, string, number][] = [
      ['a', 'bc', 0],
      ['ab', 'c', 0],
      ['', 'abc', 0],
      ['abc', '', 0],
      ['a', 'bc', 1],
      ['a\0', 'bc', 0],
      ['a', '\0bc', 0],
    ];
    assert.equal(new Set(triples.map((triple) => pointId(...triple))).size, triples.length);
  });

  it('is a UUID of version 5', () => {
    fc.assert(
      fc.property(text, text, passage, (tenant, documentId, index) => {
        assert.match(
          pointId(tenant, documentId, index),
          /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
        );
      }),
    );
  });
});
