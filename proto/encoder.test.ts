import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { responseEncoder } from './encoder.ts';
import { v1 } from './load.ts';
import { toStruct } from './struct.ts';

const text = fc.string({ unit: 'binary', maxLength: 300 });
const whole = fc.oneof(fc.nat(300), fc.maxSafeNat());
const double = fc.double({ noNaN: true });

const metadata = fc
  .dictionary(text, fc.jsonValue({ maxDepth: 4 }), { maxKeys: 5 })
  .map((object) => toStruct(JSON.parse(JSON.stringify(object)) as Record<string, unknown>));

const hit = fc.record(
  {
    documentId: text,
    score: double,
    title: text,
    passage: fc.nat(),
    text,
    metadata: fc.option(metadata),
    version: whole,
  },
  { requiredKeys: ['documentId'] },
);

const tower = fc.record({
  name: text,
  role: fc.constantFrom('TOWER_ROLE_QUERY', 'TOWER_ROLE_DOCUMENT'),
  space: fc.record({ fingerprint: text, dimensions: fc.nat() }),
  device: text,
  maxTokens: fc.nat(),
});

const search = fc.record({
  hits: fc.array(hit, { maxLength: 12 }),
  timings: fc.record({ tokenizeMs: double, totalMs: double, cached: fc.boolean() }),
  queryTower: tower,
});

const status = fc.record({
  code: fc.nat(16),
  message: text,
  details: fc.array(fc.record({ type_url: text, value: fc.uint8Array({ maxLength: 300 }) }), {
    maxLength: 3,
  }),
});

const ingest = fc.oneof(
  fc.record({
    outcome: fc.record({
      sequence: whole.map(String),
      documentId: text,
      kind: fc.constantFrom('OUTCOME_KIND_INDEXED', 'OUTCOME_KIND_REJECTED'),
      passages: fc.nat(),
      error: fc.option(status),
    }),
  }),
  fc.record({ watermark: fc.record({ sequence: whole }) }),
);

const encode = fc.record({
  embeddings: fc.array(fc.record({ values: fc.array(fc.float({ noNaN: true }), { maxLength: 100 }) }), {
    maxLength: 4,
  }),
});

const { QueryService, DocumentService } = v1;

for (const [method, message] of [
  [QueryService.service.Search, search],
  [QueryService.service.SearchStream, fc.record({ sequence: whole, result: search })],
  [QueryService.service.Encode, encode],
  [DocumentService.service.Ingest, ingest],
] as const) {
  test(`what is encoded reads as what the library encodes: ${method.path}`, () => {
    const ours = responseEncoder(method.path);
    const library = method.responseSerialize as (message: object) => Buffer;
    const property = fc.property(message as fc.Arbitrary<object>, (object) => {
      assert.deepEqual(method.responseDeserialize(ours(object)), method.responseDeserialize(library(object)));
    });
    fc.assert(property);
  });
}

test('every method of the contract has an encoder', () => {
  for (const { service } of [QueryService, DocumentService]) {
    for (const { path, responseDeserialize } of Object.values(service)) {
      assert.doesNotThrow(() => responseDeserialize(responseEncoder(path)({})));
    }
  }
});

test('a number that the wire cannot hold in full is refused, and leaves nothing behind', () => {
  const encoder = responseEncoder(QueryService.service.Search.path);
  assert.throws(() => encoder({ hits: [{ documentId: 'a', version: 2 ** 53 }] }), /version/);
  assert.throws(() => encoder({ hits: [{ documentId: 'a', version: -1 }] }), RangeError);
  assert.equal(encoder({}).length, 0);
});
