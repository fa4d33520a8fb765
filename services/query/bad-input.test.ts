import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { pino } from 'pino';
import type { Condition } from '../../proto/generated/scalingnote/v1/Condition.ts';
import type { SearchRequest } from '../../proto/generated/scalingnote/v1/SearchRequest.ts';
import type { SearchResponse__Output } from '../../proto/generated/scalingnote/v1/SearchResponse.ts';
import { v1 } from '../../proto/load.ts';
import { fromStruct, toValue } from '../../proto/struct.ts';
import { openStore } from '../../store/open.ts';
import type { Store } from '../../store/store.ts';
import { passageTerms } from '../../towers/terms.ts';
import { callUnary, failure, serveService, type Harness } from '../runtime/testing/harness.ts';
import { MAX_RECEIVE_BYTES, queryService } from './service.ts';
import { FakeTower, vectorOf } from './testing/fakes.ts';

/** Bad input and odd input, through a real client, to a service over the embedded store. */
let folder: string;
let store: Store;
let harness: Harness;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'scalingnote-query-'));
  store = await openStore({ kind: 'embedded', directory: folder });
  const tower = new FakeTower();
  const { space, dimensions } = tower.manifest;
  await store.ensureCollection('docs', { fingerprint: space.fingerprint, dimensions });
  const document = (documentId: string, text: string, metadata: Record<string, unknown>) =>
    ({
      kind: 'put',
      tenant: '',
      documentId,
      version: 1,
      contentHash: documentId,
      encodingHash: documentId,
      title: documentId,
      metadata,
      passages: [{ vector: vectorOf(text), sparse: passageTerms(text), text }],
    }) as const;
  await store.writeDocuments('docs', [
    document('d1', 'bright stars', { colour: 'red', year: 1990 }),
    document('d2', 'far planets', { colour: 'blue', year: 2010 }),
  ]);
  harness = await serveService(
    queryService({ tower, store, slots: 4, queue: 16, cache: 10, log: pino({ level: 'silent' }) }),
    { maxReceiveBytes: MAX_RECEIVE_BYTES },
  );
});

after(async () => {
  await harness.stop();
  await store.close();
  await rm(folder, { recursive: true });
});

const good: SearchRequest = { collection: 'docs', query: 'bright stars' };
const must = (condition: Condition): SearchRequest => ({ filter: { must: [condition] } });
const equals = (field: string, value: unknown): SearchRequest =>
  must({ equals: { field, value: toValue(value) } });

const MIB = 1024 * 1024;

const REFUSED: [string, SearchRequest, string, RegExp][] = [
  ['a physical collection', { collection: 'docs--sp1_00000000' }, 'collection', /no "--"/],
  ['a path as collection', { collection: '../docs' }, 'collection', /use 1 to 64/],
  ['empty text', { query: '' }, 'query', /is empty/],
  ['white space', { query: ' \n\t' }, 'query', /white space only/],
  ['10 MB of text', { query: 'a'.repeat(10 * MIB) }, 'query', /is 10485760 bytes long; send at most 32768/],
  ['too many bytes in few characters', { query: '星'.repeat(11_000) }, 'query', /is 33000 bytes/],
  ['NUL', { query: 'a\0b' }, 'query', /NUL character at 1; remove it/],
  ['NUL in the tenant', { tenant: '\0' }, 'tenant', /NUL/],
  ['a lone surrogate', { query: 'a\ud83d' }, 'query', /not UTF-8/],
  ['a long tenant', { tenant: 't'.repeat(300) }, 'tenant', /at most 256/],
  ['limit 0', { limit: 0 }, 'limit', /is 0; send 1 to 1000/],
  ['limit 100 000', { limit: 100_000 }, 'limit', /is 100000; send 1 to 1000/],
  ['limit 2^32 - 1', { limit: 0xffffffff }, 'limit', /is 4294967295/],
  ['offset 100 000', { offset: 100_000 }, 'offset', /at most 10000/],
  ['a threshold of NaN', { scoreThreshold: Number.NaN }, 'score_threshold', /is NaN; send a finite number/],
  [
    'an infinite threshold',
    { scoreThreshold: -Infinity, mode: 'SEARCH_MODE_SPARSE' },
    'score_threshold',
    /finite/,
  ],
  ['a threshold that is no cosine', { scoreThreshold: 1.5 }, 'score_threshold', /from -1 to 1/],
  ['a mode that there is not', { mode: 9 as never }, 'mode', /is 9; send SEARCH_MODE_DENSE/],
  [
    'an unknown field in a filter',
    equals('colour', 'red'),
    'filter.must[0].equals.field',
    /use "metadata.colour"/,
  ],
  [
    'NaN in a range',
    must({ range: { field: 'metadata.year', gte: Number.NaN } }),
    'filter.must[0].range.gte',
    /finite/,
  ],
  ['a condition without a test', must({}), 'filter.must[0]', /has no test/],
];

for (const [what, request, field, description] of REFUSED) {
  test(`${what} is INVALID_ARGUMENT, with the field and the fix`, async () => {
    const error = await failure(callUnary(harness.client, 'Search', { ...good, ...request }));
    assert.deepEqual([error.code, error.reason], [status.INVALID_ARGUMENT, 'INVALID_ARGUMENT']);
    assert.equal(error.violations?.[0]?.field, field);
    assert.match(error.message, description);
  });
}

const ACCEPTED: [string, SearchRequest, string[]][] = [
  ['a filter on a missing field', equals('metadata.nothing', 'red'), []],
  ['a filter on a field of another type', equals('metadata.year', '1990'), []],
  [
    'the absence of a missing field',
    { filter: { mustNot: [{ exists: { field: 'metadata.nothing' } }] } },
    ['d1', 'd2'],
  ],
  ['a property that every object has', must({ exists: { field: 'metadata.constructor' } }), []],
  ['a filter', must({ range: { field: 'metadata.year', lt: 2000 } }), ['d1']],
  ['an empty filter', { filter: {} }, ['d1', 'd2']],
  ['the largest limit', { limit: 1000 }, ['d1', 'd2']],
  ['the largest offset', { offset: 10_000 }, []],
  ['a tenant that there is not', { tenant: 'nobody' }, []],
  ['a threshold that nothing reaches', { scoreThreshold: 1, query: 'x' }, []],
  ['a query of emoji', { query: '👩‍🚀'.repeat(50) }, ['d1', 'd2']],
  ['a query with U+FFFD', { query: '\uFFFD' }, ['d1', 'd2']],
  ['the longest query', { query: 'a'.repeat(32 * 1024) }, ['d1', 'd2']],
  ['words that no document has', { query: 'xylophone', mode: 'SEARCH_MODE_SPARSE' }, []],
  ['words that a document has', { query: 'STARS!', mode: 'SEARCH_MODE_SPARSE' }, ['d1']],
  ['a sparse search without any word', { query: '?!', mode: 'SEARCH_MODE_SPARSE' }, []],
  ['a hybrid search without any word', { query: '?!', mode: 'SEARCH_MODE_HYBRID' }, ['d1', 'd2']],
];

for (const [what, request, ids] of ACCEPTED) {
  test(`${what} is no error`, async () => {
    const { hits } = await callUnary<SearchResponse__Output>(harness.client, 'Search', {
      ...good,
      ...request,
    });
    assert.deepEqual(hits.map(({ documentId }) => documentId).sort(), ids);
  });
}

/** A request as bytes, with more bytes behind. */
function searchBytes(...more: number[]): (request: object) => Buffer {
  return (request) =>
    Buffer.concat([v1.QueryService.service.Search.requestSerialize(request), Buffer.from(more)]);
}

test('a field that a newer client knows is passed over', async () => {
  // Field 100, a string.
  const serialize = searchBytes(0xa2, 0x06, 2, 0x68, 0x69);
  const { hits } = await callUnary<SearchResponse__Output>(harness.client, 'Search', good, { serialize });
  assert.equal(hits.length, 2);
});

test('bytes that are not UTF-8 are refused, and the field is named', async () => {
  const serialize = searchBytes(0x12, 2, 0xc3, 0x28);
  const error = await failure(callUnary(harness.client, 'Search', good, { serialize }));
  assert.deepEqual([error.code, error.violations?.[0]?.field], [status.INVALID_ARGUMENT, 'tenant']);
});

test('bytes that are no message are refused', async () => {
  const error = await failure(callUnary(harness.client, 'Search', good, { serialize: searchBytes(0x0f) }));
  assert.deepEqual([error.code, error.reason], [status.INVALID_ARGUMENT, 'MALFORMED_MESSAGE']);
});

test('a collection that there is not is NOT_FOUND', async () => {
  const error = await failure(callUnary(harness.client, 'Search', { ...good, collection: 'none' }));
  assert.deepEqual([error.code, error.reason], [status.NOT_FOUND, 'COLLECTION_NOT_FOUND']);
});

for (const [what, texts, field] of [
  ['no texts', [], 'texts'],
  ['257 texts', Array.from({ length: 257 }, () => 'x'), 'texts'],
  ['an empty text among others', ['x', ''], 'texts[1]'],
  ['a text with NUL', ['\0'], 'texts[0]'],
  ['a text that is too long', ['x', 'y', 'z'.repeat(32 * 1024 + 1)], 'texts[2]'],
] as const) {
  test(`Encode of ${what} is INVALID_ARGUMENT`, async () => {
    const error = await failure(callUnary(harness.client, 'Encode', { texts }));
    assert.deepEqual([error.code, error.violations?.[0]?.field], [status.INVALID_ARGUMENT, field]);
  });
}

test('metadata of any shape comes back as it went in', async () => {
  const metadata = { a: [1, 'x', null, { b: true }], constructor: 'key', '': 0.5 };
  await store.writeDocuments('docs', [
    {
      kind: 'put',
      tenant: 'odd',
      documentId: 'd',
      version: 0,
      contentHash: 'h',
      encodingHash: 'h',
      title: '',
      metadata,
      passages: [{ vector: vectorOf('x') }],
    },
  ]);
  const { hits } = await callUnary<SearchResponse__Output>(harness.client, 'Search', {
    ...good,
    tenant: 'odd',
  });
  assert.deepEqual(fromStruct(hits[0]?.metadata), metadata);
  assert.equal(hits[0]?.text, '', 'a passage without text has none');
});
