import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { toValue } from '../../proto/struct.ts';
import { freshnessToken } from '../../store/freshness.ts';
import { physicalName } from '../../store/store.ts';
import { passageTerms } from '../../towers/terms.ts';
import { Metrics } from '../runtime/telemetry/metrics.ts';
import { failure, recordingLog } from '../runtime/testing/harness.ts';
import { MAX_DOCUMENT_TEXT_BYTES } from './besides.ts';
import { LiveQuality } from './live-quality.ts';
import type { QueryTower } from './encoder.ts';
import { MAX_LOOKED_AT } from './near-words.ts';
import { DIMENSIONS, FakeStore, FakeTower, vectorOf } from './testing/fakes.ts';
import { startQuery, type QueryHarness } from './testing/harness.ts';

const started: QueryHarness[] = [];
after(() => Promise.all(started.map(({ stop }) => stop())));

const start = async (...parts: Parameters<typeof startQuery>): Promise<QueryHarness> => {
  const harness = await startQuery(...parts);
  started.push(harness);
  return harness;
};

/** A lookup in which "doctor" and "physician" mean nearly the same, and every other word something else. */
class KnownWords extends FakeTower {
  constructor() {
    super({ lookup: { version: 1, stages: [{ type: 'tokens', rows: 'rows' }] } });
  }

  encodeNow(text: string): ReturnType<NonNullable<QueryTower['encodeNow']>> {
    const place = { doctor: [1, 0], physician: [0.6, 0.8] }[text] ?? [0.4, -0.9];
    const vector = new Float32Array(DIMENSIONS);
    vector.set(place);
    const batch = { startedAt: performance.now(), size: 1, tokens: 1, paddingRatio: 0, encodeMs: 0 };
    return {
      tokens: { ids: [1], truncated: false },
      encoding: { vector, queueMs: 0, encodeMs: 0, batch },
    };
  }
}

type Texts = Readonly<Record<string, string | undefined>>;

/** Documents whose vectors follow from their texts; one without a text keeps it out of the store. */
async function fill({ store, tower }: QueryHarness, texts: Texts, tenant = ''): Promise<void> {
  const collection = physicalName('docs', tower.manifest.space.fingerprint);
  await store.writeDocuments(
    collection,
    Object.entries(texts).map(([documentId, text]) => ({
      kind: 'put' as const,
      tenant,
      documentId,
      version: 5,
      contentHash: documentId,
      encodingHash: documentId,
      title: '',
      metadata: { long: (text ?? '').length > 10 },
      ...(text !== undefined && { text }),
      passages: [
        {
          vector: vectorOf(text ?? documentId),
          ...(text !== undefined && { text, sparse: passageTerms(text) }),
        },
      ],
    })),
  );
}

const TEXTS = { a: 'stars', b: 'stars and planets. Comets too.', c: 'bread', d: 'zzz' };

describe('an answer', () => {
  test('has nothing besides the hits, and one search, where nothing is asked for', async () => {
    const harness = await start();
    await fill(harness, TEXTS);
    const { hits, explainedDocument, queryTruncation } = await harness.search({});
    assert.equal(hits.length, 4);
    assert.deepEqual([explainedDocument, queryTruncation], [null, null]);
    for (const { explanation, snippet, documentText } of hits) {
      assert.deepEqual([explanation, snippet, documentText], [null, null, '']);
    }
    assert.equal(harness.store.searches.length, 1);
  });

  test('explains each hit, by the teacher too where one is loaded', async () => {
    const store = new FakeStore();
    const teacher = new FakeTower({ name: 'teacher' });
    const { log } = recordingLog();
    const live = new LiveQuality(new FakeTower(), Promise.resolve(teacher), {
      store,
      metrics: new Metrics(),
      log,
      share: 0,
    });
    const harness = await start({ store, live });
    await fill(harness, TEXTS);
    const { hits } = await harness.search({ explain: true, offset: 1, limit: 2 });
    assert.deepEqual(
      hits.map(({ explanation }) => [
        explanation?.rank,
        explanation?.dense?.rank,
        explanation?.teacher?.rank,
      ]),
      [
        [2, 2, 2],
        [3, 3, 3],
      ],
    );
    const { passages, dense, teacherName } = hits[0]!.explanation!;
    assert.deepEqual([passages, teacherName, dense?.score], [1, 'teacher', hits[0]!.score]);
  });

  test('names the terms that matched, as words, and the shares of a fused score', async () => {
    const harness = await start();
    await fill(harness, TEXTS);
    const { hits } = await harness.search({
      query: 'Stars, planets',
      mode: 'SEARCH_MODE_HYBRID',
      explain: true,
    });
    const b = hits.find(({ documentId }) => documentId === 'b')!;
    assert.deepEqual(b.explanation?.terms.map(({ term }) => term).sort(), ['planets', 'stars']);
    const { dense, sparse } = b.explanation;
    assert.ok(Math.abs(dense!.fusedShare + sparse!.fusedShare - b.score) < 1e-9);
  });

  test('says what became of a document, and nothing of another tenant', async () => {
    const harness = await start();
    await fill(harness, TEXTS);
    await fill(harness, { secret: 'stars' }, 'another');
    const ask = async (explainDocumentId: string, rest = {}) =>
      (await harness.search({ explainDocumentId, limit: 1, ...rest })).explainedDocument!;
    assert.equal((await ask('a')).fate, 'DOCUMENT_FATE_IN_ANSWER');
    assert.equal((await ask('secret')).fate, 'DOCUMENT_FATE_NOT_STORED');
    assert.deepEqual((await ask('secret')).message, (await ask('nobody')).message);
    const filter = { must: [{ equals: { field: 'metadata.long', value: toValue(true) } }] };
    const removed = await ask('a', { filter });
    assert.deepEqual([removed.fate, removed.filterPath], ['DOCUMENT_FATE_FILTERED_OUT', 'filter.must[0]']);
    assert.match(removed.message, /metadata\.long has to be true, and its metadata\.long is false/);
    const lower = await ask('c');
    assert.deepEqual([lower.fate, lower.version], ['DOCUMENT_FATE_RANKED_LOWER', '5']);
    const { hits } = await harness.search({ limit: 1, offset: lower.offset! });
    assert.equal(hits[0]?.documentId, 'c');
    assert.equal((await ask('c', { mode: 'SEARCH_MODE_SPARSE' })).fate, 'DOCUMENT_FATE_NO_SHARED_TERM');
  });

  test('has snippets, with or without the text of the passage', async () => {
    const harness = await start();
    await fill(harness, { ...TEXTS, e: undefined });
    const { hits } = await harness.search({ query: 'comets', snippetLength: 16, omitText: true });
    const b = hits.find(({ documentId }) => documentId === 'b')!;
    assert.equal(b.text, '');
    assert.deepEqual(b.snippet, { text: 'Comets too.', start: 19, highlights: [{ start: 0, end: 6 }] });
    assert.equal(hits.find(({ documentId }) => documentId === 'e')!.snippet, null);
  });

  test('marks words by meaning where a lookup has their vectors, and no word of the query is there', async () => {
    const harness = await start({ tower: new KnownWords() });
    await fill(harness, {
      both: 'The doctor is a physician.',
      meant: 'Bread is baked. He is a physician.',
      none: 'Bread is baked.',
      many: `${Array.from({ length: MAX_LOOKED_AT }, (_, at) => `w${at}`).join(' ')} physician`,
    });
    const marksOf = async (request: object): Promise<Record<string, string[]>> => {
      const { hits } = await harness.search({ query: 'doctor', snippetLength: 4096, ...request });
      return Object.fromEntries(
        hits.map(({ documentId, snippet }) => {
          const { text, highlights } = snippet!;
          return [documentId, highlights.map(({ start, end }) => text.slice(start, end))];
        }),
      );
    };
    const found = { both: ['doctor'], meant: ['physician'], none: [] };
    const first = {
      must: [{ anyOf: { field: 'document_id', values: Object.keys(found).map((id) => toValue(id)) } }],
    };
    assert.deepEqual(await marksOf({ filter: first }), found);
    assert.deepEqual(await marksOf({ filter: first, mode: 'SEARCH_MODE_HYBRID' }), found);
    const sparse = await marksOf({ mode: 'SEARCH_MODE_SPARSE' });
    assert.deepEqual(sparse, { both: ['doctor'] });
    const { hits } = await harness.search({ query: 'doctor', snippetLength: 20, filter: first });
    assert.equal(hits.find((hit) => hit.documentId === 'meant')!.snippet!.text, 'He is a physician.');
    const last = { must: [{ equals: { field: 'document_id', value: toValue('many') } }] };
    assert.deepEqual(await marksOf({ filter: last }), { many: [] }, 'it is the word after the last one');
    const { lookup: _, ...manifest } = harness.tower.manifest;
    Object.assign(harness.tower, { manifest });
    assert.deepEqual(await marksOf({ filter: first }), { ...found, meant: [] }, 'it is no lookup');
  });

  test('has whole texts as far as they fit, and says why one is not there', async () => {
    const harness = await start();
    const half = 'x'.repeat(MAX_DOCUMENT_TEXT_BYTES / 2);
    await fill(harness, { a: 'short', b: undefined, c: half, d: `${half}y`, e: 'late' });
    const { hits } = await harness.search({ withDocumentText: true, omitText: true });
    const sum = hits.reduce((bytes, { documentText }) => bytes + Buffer.byteLength(documentText), 0);
    assert.ok(sum <= MAX_DOCUMENT_TEXT_BYTES);
    const absence = Object.fromEntries(hits.map((hit) => [hit.documentId, hit.documentTextAbsence]));
    const tooLarge = Object.values(absence).filter((one) => one === 'TEXT_ABSENCE_TOO_LARGE');
    assert.ok(tooLarge.length >= 1);
    const { documentText } = (await harness.search({ query: 'short', limit: 1, withDocumentText: true }))
      .hits[0]!;
    assert.equal(documentText, 'short');
    const alone = await harness.search({ query: 'b', limit: 1, withDocumentText: true });
    assert.deepEqual(
      [alone.hits[0]?.documentId, alone.hits[0]?.documentTextAbsence],
      ['b', 'TEXT_ABSENCE_NOT_STORED'],
    );
  });

  test('says when and how each document came in, and whether the token of the search covers it', async () => {
    const harness = await start();
    const { store, tower } = harness;
    const collection = physicalName('docs', tower.manifest.space.fingerprint);
    const put = {
      kind: 'put' as const,
      tenant: '',
      version: 1,
      contentHash: 'x',
      encodingHash: 'x',
      title: '',
      metadata: {},
      passages: [{ vector: vectorOf('stars') }],
    };
    const trace = '0af7651916cd43dd8448eb211c80319c';
    await store.writeDocuments(collection, [
      { ...put, documentId: 'known', ingested: { at: 1_700_000_000_123, sequence: 9, trace } },
      { ...put, documentId: 'before' },
    ]);
    const atLeastAsFreshAs = freshnessToken(await store.freshness('docs'));
    await store.writeDocuments(collection, [
      { ...put, documentId: 'untraced', ingested: { at: 5, sequence: 1 } },
    ]);
    const originsOf = async (request: object) =>
      new Map(
        (await harness.search({ explain: true, ...request })).hits.map(({ documentId, explanation }) => [
          documentId,
          explanation!.origin!,
        ]),
      );
    const origins = await originsOf({ atLeastAsFreshAs });
    const { position: first, ...known } = origins.get('known')!;
    assert.deepEqual(known, {
      ingestedAt: { seconds: '1700000000', nanos: 123_000_000 },
      traceId: trace,
      sequence: '9',
      coverage: 'FRESHNESS_COVERAGE_COVERED',
      unknown: '',
    });
    assert.match(first, /^\d+$/);
    const { position: later, ...untraced } = origins.get('untraced')!;
    assert.deepEqual(untraced, {
      ingestedAt: { seconds: '0', nanos: 5_000_000 },
      traceId: '',
      sequence: '1',
      coverage: 'FRESHNESS_COVERAGE_LATER',
      unknown: '',
    });
    assert.ok(Number(later) > Number(first));
    const before = origins.get('before')!;
    assert.deepEqual([before.ingestedAt, before.coverage], [null, 'FRESHNESS_COVERAGE_COVERED']);
    assert.match(before.unknown, /before this version/);
    const { coverage } = (await originsOf({})).get('known')!;
    assert.equal(coverage, 'FRESHNESS_COVERAGE_UNSPECIFIED', 'without a token');
    const filter = { must: [{ exists: { field: 'metadata.none' } }] };
    const { explainedDocument } = await harness.search({ explainDocumentId: 'known', filter });
    assert.equal(explainedDocument!.fate, 'DOCUMENT_FATE_FILTERED_OUT');
    assert.equal(explainedDocument!.explanation!.origin!.traceId, trace);
  });

  test('says that the query was cut, from the cache too', async () => {
    const tower = new FakeTower();
    const tokenize = tower.tokenize.bind(tower);
    tower.tokenize = async (text, options) => {
      const { ids } = await tokenize(text, options);
      return { ids: ids.slice(0, 8), truncated: ids.length > 8 };
    };
    const { search } = await start({ tower });
    for (let asked = 0; asked < 2; asked++) {
      const { queryTruncation, timings } = await search({ query: 'more than eight letters' });
      assert.equal(timings?.cached, asked === 1);
      assert.deepEqual(queryTruncation, {
        tokensRead: 8,
        maxTokens: tower.manifest.maxTokens,
        queryTokens: 23,
        queryTokensAtLeast: false,
      });
    }
    assert.equal((await search({ query: 'few' })).queryTruncation, null);
  });
});

const refused: [request: object, field: string, description: RegExp][] = [
  [{ scoreThreshold: 1.5 }, 'score_threshold', /from -1 to 1/],
  [{ scoreThreshold: -0.5, mode: 'SEARCH_MODE_SPARSE' }, 'score_threshold', /BM25, from 0 up/],
  [{ scoreThreshold: 1.01, mode: 'SEARCH_MODE_HYBRID' }, 'score_threshold', /from 0 to 1/],
  [{ scoreThreshold: -0.01, mode: 'SEARCH_MODE_HYBRID' }, 'score_threshold', /by both rankings, fused/],
  [{ limit: 0 }, 'limit', /1 to 1000/],
  [{ limit: 101, explain: true }, 'limit', /1 to 100/],
  [{ snippetLength: 15 }, 'snippet_length', /16 to 4096/],
  [{ snippetLength: 4097 }, 'snippet_length', /16 to 4096/],
  [{ explainDocumentId: 'x'.repeat(513) }, 'explain_document_id', /512/],
];

for (const [request, field, description] of refused) {
  test(`refused: ${JSON.stringify(request).slice(0, 80)}`, async () => {
    const { search } = await start();
    const error = await failure(search(request));
    assert.equal(error.code, status.INVALID_ARGUMENT);
    assert.equal(error.violations?.[0]?.field, field);
    assert.match(error.violations[0].description, description);
  });
}
