import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { v1 } from './load.ts';
import { fromStruct, MAX_JSON_DEPTH, toStruct } from './struct.ts';

const { Ingest } = v1.DocumentService.service;
const { SearchStream } = v1.QueryService.service;

/** Over the wire and back. */
function transported(metadata: Record<string, unknown>): unknown {
  const bytes = Ingest.requestSerialize({ document: { metadata: toStruct(metadata) } });
  return fromStruct(Ingest.requestDeserialize(bytes).document?.metadata);
}

const nested = (depth: number): Record<string, unknown> => (depth === 1 ? {} : { a: nested(depth - 1) });
const lists = (depth: number): unknown[] => (depth === 1 ? [] : [lists(depth - 1)]);

test('property: a JSON object comes out as it went in, whatever its keys', () => {
  const key = fc.oneof(
    fc.string(),
    fc.constantFrom('__proto__', 'constructor', 'hasOwnProperty', 'toString'),
  );
  const { object } = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.constantFrom(null, true, false, 0.5, -1e300, ''),
      fc.string(),
      fc.array(tie('value'), { maxLength: 3 }),
      tie('object'),
    ),
    object: fc
      .array(fc.tuple(key, tie('value')), { maxLength: 4 })
      .map((entries) => Object.fromEntries(entries)),
  }));
  fc.assert(
    fc.property(object, (value) => {
      const metadata = value as Record<string, unknown>;
      assert.equal(JSON.stringify(transported(metadata)), JSON.stringify(metadata));
    }),
  );
});

test('what may be nested can be carried by every message', () => {
  assert.deepEqual(transported(nested(MAX_JSON_DEPTH)), nested(MAX_JSON_DEPTH));
  const metadata = toStruct({ a: lists(MAX_JSON_DEPTH - 1) });
  const bytes = SearchStream.responseSerialize({ result: { hits: [{ metadata }] } });
  const [hit] = SearchStream.responseDeserialize(bytes).result?.hits ?? [];
  assert.deepEqual(fromStruct(hit?.metadata), { a: lists(MAX_JSON_DEPTH - 1) });
});

test('what is nested deeper, or without end, is refused by its path', () => {
  assert.throws(
    () => toStruct(nested(MAX_JSON_DEPTH + 1), 'metadata'),
    /^TypeError: metadata(\.a){32} is nested deeper/,
  );
  assert.throws(() => toStruct({ a: lists(MAX_JSON_DEPTH) }), /nested deeper than 32 levels/);
  const endless: Record<string, unknown> = {};
  endless['self'] = [endless];
  assert.throws(() => toStruct(endless), /nested deeper than 32 levels/);
});

test('what JSON cannot write is refused by its path', () => {
  for (const value of [Number.NaN, Infinity, 1n, Symbol('s'), () => 1, new Date(), new Map()]) {
    assert.throws(
      () => toStruct({ a: [{ b: value }] }, 'metadata'),
      /metadata\.a\[0\]\.b is not a JSON value/,
    );
  }
  assert.deepEqual(toStruct({ a: undefined }), { fields: {} });
});
