import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { Metadata, status } from '@grpc/grpc-js';
import { fromStruct, fromValue } from '../../proto/struct.ts';
import type { Fusion__Output } from '../../proto/generated/scalingnote/v1/Fusion.ts';
import type { SearchRequest } from '../../proto/generated/scalingnote/v1/SearchRequest.ts';
import { physicalName } from '../../store/store.ts';
import { TowerError } from '../../towers/errors.ts';
import { passageTerms } from '../../towers/terms.ts';
import { failure } from '../runtime/testing/harness.ts';
import { encodeInTime } from './ladder.ts';
import { LEAST_QUERIES, Scale } from './percentile.ts';
import { FakeTower, vectorOf } from './testing/fakes.ts';
import { startQuery, type QueryHarness } from './testing/harness.ts';

const started: QueryHarness[] = [];
after(() => Promise.all(started.map(({ stop }) => stop())));

const HYBRID = { mode: 'SEARCH_MODE_HYBRID' } as const;

const TITLES = [
  'stars and planets',
  'bread of rye',
  'stars of the north',
  'the moon and tides',
  'rye and wheat',
  'a boat on the tides',
  'the wheat of summer',
  'planets without moons',
  'an old boat',
  'summer in the north',
];

/** Ten documents of one tenant, with a year, a kind, and tags. */
async function filled(parts: Parameters<typeof startQuery>[0] = {}, titles = TITLES): Promise<QueryHarness> {
  const harness = await startQuery(parts);
  started.push(harness);
  const { store, tower } = harness;
  const writes = titles.map((title, index) => ({
    kind: 'put' as const,
    tenant: '',
    documentId: `d${index}`,
    version: index,
    contentHash: title,
    encodingHash: title,
    title,
    metadata: {
      ...(index !== 3 && { year: 2000 + ((7 * index) % 10) }),
      kind: index % 3 === 0 ? 'sky' : 'earth',
      tags: ['all', `t${index % 2}`],
    },
    passages: [{ vector: vectorOf(title), text: title, sparse: passageTerms(title) }],
  }));
  const collection = physicalName('docs', tower.manifest.space.fingerprint);
  await store.writeDocuments(collection, writes);
  await store.indexField(collection, 'metadata.kind', 'keyword');
  await store.indexField(collection, 'metadata.tags', 'keyword');
  await store.indexField(collection, 'metadata.year', 'integer');
  return harness;
}

const said = (fusion: Fusion__Output | null) => [fusion?.method, fusion?.denseWeight, fusion?.k];

describe('a hybrid search', () => {
  test('says how it fused, and where each leg has a hit', async () => {
    const { search } = await filled({ fusion: { docs: { method: 'scores', k: 60, denseWeight: 0.25 } } });
    const { hits, fusion } = await search(HYBRID);
    assert.deepEqual(said(fusion), ['FUSION_METHOD_SCORES', 0.25, undefined]);
    const top = hits.find(({ documentId }) => documentId === 'd0')!;
    assert.ok(top.legs!.dense!.rank >= 1 && top.legs!.sparse!.rank <= 2);
    assert.ok(
      hits.some(({ legs }) => legs!.sparse === null),
      'most have no word of the query',
    );
    const asked = { method: 'FUSION_METHOD_RANKS', k: 5 } as const;
    const own = await search({ ...HYBRID, fusion: asked });
    assert.deepEqual(said(own.fusion), ['FUSION_METHOD_RANKS', 0.25, 5]);
    const worded = await search({ ...HYBRID, fusion: { denseWeight: 0 } });
    assert.equal(worded.hits[0]!.legs!.sparse!.rank, 1);
    const dense = await search({});
    assert.deepEqual([dense.fusion, dense.hits[0]!.legs], [null, null]);
  });

  for (const [request, field, message] of [
    [{ fusion: {} }, 'fusion', /mode is dense/],
    [{ ...HYBRID, fusion: { denseWeight: 1.5 } }, 'fusion.dense_weight', /send 0 to 1/],
    [{ ...HYBRID, fusion: { denseWeight: Number.NaN } }, 'fusion.dense_weight', /send 0 to 1/],
    [{ ...HYBRID, fusion: { k: 0 } }, 'fusion.k', /send 1 to 1000/],
    [{ ...HYBRID, fusion: { k: 5, method: 'FUSION_METHOD_SCORES' } }, 'fusion.k', /only FUSION_METHOD_RANKS/],
    [{ ...HYBRID, fusion: { method: 9 as never } }, 'fusion.method', /is 9; send/],
    [{ percentileThreshold: 1.1 }, 'percentile_threshold', /0 to 1/],
    [{ percentileThreshold: Number.NaN }, 'percentile_threshold', /0 to 1/],
    [{ candidates: 10 }, 'candidates', /nothing is counted/],
    [{ withCount: true, candidates: 10_001 }, 'candidates', /send 1 to 10000/],
    [{ sort: { field: 'year' } }, 'sort.field', /is "year"; use "metadata\.KEY"/],
    [{ sort: { field: 'metadata.year' }, explain: true }, 'explain', /leave out sort/],
    [
      { ...HYBRID, percentileThreshold: 0.5, explainDocumentId: 'd1' },
      'explain_document_id',
      /leave out percentile_threshold/,
    ],
    [{ facets: [{ field: 'version' }] }, 'facets[0].field', /send metadata\.KEY/],
    [{ facets: [{ field: 'metadata.kind', limit: 101 }] }, 'facets[0].limit', /send 1 to 100/],
    [{ facets: Array.from({ length: 9 }, () => ({ field: 'metadata.kind' })) }, 'facets', /8 at most/],
  ] as const satisfies readonly (readonly [SearchRequest, string, RegExp])[]) {
    test(`is refused with ${JSON.stringify(request)}`, async () => {
      const { search } = started[0]!;
      const error = await failure(search(request));
      assert.equal(error.code, status.INVALID_ARGUMENT);
      assert.equal(error.violations![0]?.field, field);
      assert.match(error.violations![0].description, message);
    });
  }
});

describe('down the ladder', () => {
  test('where the tower is away, words answer and the response says so', async () => {
    const tower = new FakeTower();
    const { search } = await filled({ tower });
    const whole = await search({ ...HYBRID, fusion: { denseWeight: 0.5 } });
    assert.equal(whole.denseLegAbsence, 'DENSE_LEG_ABSENCE_UNSPECIFIED');
    tower.before = () => {
      throw new TowerError('ENDPOINT_UNAVAILABLE', 'no answer', { retryDelayMs: 10 });
    };
    const { hits, denseLegAbsence } = await search({
      ...HYBRID,
      query: 'rye bread',
      fusion: { denseWeight: 0.5 },
    });
    assert.equal(denseLegAbsence, 'DENSE_LEG_ABSENCE_TOWER_AWAY');
    assert.deepEqual(
      hits.map(({ documentId, legs }) => [documentId, legs!.dense, legs!.sparse!.rank]),
      [
        ['d1', null, 1],
        ['d4', null, 2],
      ],
    );
    assert.equal(hits[0]!.score, 0.5, 'the weight of the leg that is there');
    const next = await search({ ...HYBRID, query: 'rye bread', limit: 1, offset: 1 });
    assert.equal(next.hits[0]?.documentId, 'd4');
    const error = await failure(search({ query: 'rye bread' }));
    assert.equal(error.reason, 'ENDPOINT_UNAVAILABLE', 'who asks for meaning gets it, or an error');
  });

  test('where the deadline is too short for the tower, it is given up in time', async () => {
    const signal = new AbortController().signal;
    let gaveUp: AbortSignal | undefined;
    const slow = (own: AbortSignal): Promise<never> =>
      new Promise((_, reject) => {
        gaveUp = own;
        own.addEventListener('abort', () => reject(own.reason as Error));
      });
    const call = { signal, metadata: new Metadata(), deadline: Date.now() + 300 };
    assert.equal(await encodeInTime(call, slow), 'DENSE_LEG_ABSENCE_DEADLINE');
    assert.ok(gaveUp!.aborted && !signal.aborted);
    assert.equal(await encodeInTime(call, async () => 'a vector'), 'a vector');
    const caller = new AbortController();
    const left = encodeInTime({ ...call, signal: caller.signal, deadline: Date.now() + 60_000 }, slow);
    caller.abort(new Error('nobody waits'));
    await assert.rejects(left, /nobody waits/);
  });
});

describe('a percentile', () => {
  const MODES = ['SEARCH_MODE_DENSE', 'SEARCH_MODE_SPARSE', 'SEARCH_MODE_HYBRID'] as const;

  test('says what a score is worth, in every mode, and is a threshold in every mode', async () => {
    const { search, store } = await filled();
    for (const mode of MODES) {
      const { hits, percentileQueries } = await search({ mode, withPercentile: true, query: TITLES[0]! });
      assert.equal(percentileQueries, TITLES.length);
      assert.equal(hits[0]!.percentile, 1, 'a title finds its own document better than another one');
      if (mode !== 'SEARCH_MODE_HYBRID') {
        const all = hits.map(({ percentile }) => percentile!);
        assert.deepEqual(
          all,
          all.toSorted((a, b) => b - a),
        );
      }
      for (const least of [0, 0.3, 0.9]) {
        const kept = await search({ mode, query: TITLES[0]!, percentileThreshold: least });
        assert.deepEqual(
          kept.hits.map(({ documentId }) => documentId),
          hits.filter(({ percentile }) => percentile! >= least).map(({ documentId }) => documentId),
          `${mode} ${least}`,
        );
        assert.equal(kept.noGoodAnswer, null);
      }
    }
    const before = store.searches.length;
    await search({ withPercentile: true });
    assert.equal(store.searches.length, before + 1, 'the scale is kept');
  });

  test('with a threshold that nothing reaches, no good answer is a result', async () => {
    const { search } = await filled();
    for (const mode of MODES) {
      const request = { mode, query: 'zzzzzz stars qqqqqq jjjjjj' };
      const free = await search({ ...request, withPercentile: true, limit: 1 });
      const best = free.hits[0]!;
      assert.ok(best.percentile! < 1);
      const { hits, noGoodAnswer } = await search({ ...request, percentileThreshold: 1 });
      assert.deepEqual(hits, [], mode);
      assert.deepEqual(
        [noGoodAnswer?.bestScore, noGoodAnswer?.bestPercentile],
        [best.score, best.percentile],
      );
    }
    const { noGoodAnswer } = await search({ scoreThreshold: 1, query: 'zzzzz' });
    assert.ok(noGoodAnswer!.bestScore < 1);
    assert.equal(noGoodAnswer!.bestPercentile, undefined);
    const nothing = await search({ mode: 'SEARCH_MODE_SPARSE', query: 'nowhere', scoreThreshold: 1 });
    assert.deepEqual([nothing.hits, nothing.noGoodAnswer], [[], null]);
  });

  test('is not known of a few documents, and then is no threshold', async () => {
    const { search } = await filled({}, TITLES.slice(0, LEAST_QUERIES - 1));
    const { hits, percentileQueries } = await search({ withPercentile: true });
    assert.equal(percentileQueries, LEAST_QUERIES - 1);
    assert.equal(hits[0]!.percentile, undefined);
    const error = await failure(search({ percentileThreshold: 0.5 }));
    assert.deepEqual([error.code, error.reason], [status.FAILED_PRECONDITION, 'PERCENTILE_UNKNOWN']);
  });

  test('its threshold as a score is the lowest that has it', () => {
    const scale = new Scale(Array.from({ length: 10 }, (_, index) => ({ dense: index / 10, sparse: index })));
    for (const percentile of [0.05, 0.1, 0.5, 0.95, 1]) {
      const least = scale.threshold(percentile, 'dense');
      assert.ok(scale.of({ score: least }, 'dense') >= percentile);
      const below = Math.ceil(10 * percentile) / 10 - 0.1;
      assert.ok(scale.of({ score: below }, 'dense') < percentile);
    }
    assert.equal(scale.threshold(0, 'sparse'), -Infinity);
    const legs = { dense: { rank: 1, score: 0.05 }, sparse: { rank: 9, score: 8.5 } };
    assert.equal(scale.of({ score: 0.9, legs }, 'hybrid'), 0.9);
  });
});

describe('a result set', () => {
  test('is counted: what matches by wording, and the best by meaning', async () => {
    const { search } = await filled();
    const worded = await search({ mode: 'SEARCH_MODE_SPARSE', withCount: true, limit: 1 });
    const { kind, count, exact } = worded.resultSet!;
    assert.deepEqual([kind, count, exact, worded.hits.length], ['RESULT_SET_KIND_MATCHES', 2, true, 1]);
    const all = await search({ withCount: true, limit: 1 });
    assert.deepEqual([all.resultSet!.kind, all.resultSet!.count], ['RESULT_SET_KIND_BEST', TITLES.length]);
    assert.equal(all.resultSet!.exact, true);
    const cut = await search({ withCount: true, candidates: 4 });
    assert.deepEqual([cut.resultSet!.count, cut.resultSet!.exact, cut.hits.length], [4, false, 10]);
    assert.equal((await search({})).resultSet, null);
  });

  test('has facets, the most frequent value first', async () => {
    const { search } = await filled();
    const { resultSet, hits } = await search({
      ...HYBRID,
      limit: 2,
      omitMetadata: true,
      facets: [{ field: 'metadata.kind' }, { field: 'metadata.tags', limit: 1 }, { field: 'metadata.year' }],
    });
    assert.deepEqual(
      hits.map(({ metadata }) => metadata),
      [null, null],
    );
    const [kind, tags, year] = resultSet!.facets;
    const values = (facet: typeof kind) =>
      facet!.values.map(({ value, documents }) => [fromValue(value!), documents]);
    assert.deepEqual(values(kind), [
      ['earth', 6],
      ['sky', 4],
    ]);
    assert.deepEqual([values(tags), tags!.distinct], [[['all', 10]], 3]);
    assert.deepEqual([year!.missing, year!.distinct, values(year)[0]], [1, 9, [2000, 1]]);
    assert.equal(resultSet!.count, 0, 'nobody asked for it');
  });

  test('is refused for a field without an index, with the command that indexes it', async () => {
    const { search, store } = await filled();
    const asked: [SearchRequest, at: string, field: string][] = [
      [
        { facets: [{ field: 'metadata.kind' }, { field: 'metadata.color' }] },
        'facets[1].field',
        'metadata.color',
      ],
      [{ sort: { field: 'metadata."unit.price"' } }, 'sort.field', 'metadata."unit.price"'],
    ];
    for (const [request, at, field] of asked) {
      const refused = await failure(search(request));
      assert.deepEqual([refused.code, refused.reason], [status.FAILED_PRECONDITION, 'FIELD_NOT_INDEXED']);
      const command = `scalingnote collections index docs '${field}:TYPE'`;
      assert.ok(refused.message.includes(`${at}: `) && refused.message.includes(command), refused.message);
    }
    await store.indexField('docs', 'metadata."color"', 'keyword');
    const { hits } = await search({ facets: [{ field: 'metadata."kind"' }], sort: { field: 'document_id' } });
    assert.equal(hits.length, 10, 'spelled otherwise, and what is no metadata');
  });

  test('is sorted by a field, documents without it last, whatever the direction', async () => {
    const { search } = await filled();
    for (const descending of [false, true]) {
      const years: unknown[] = [];
      for (const offset of [0, 4, 8]) {
        const { hits } = await search({ sort: { field: 'metadata.year', descending }, limit: 4, offset });
        years.push(...hits.map(({ metadata }) => fromStruct(metadata)['year'] ?? null));
      }
      const expected = TITLES.map((_, index) => (index === 3 ? null : 2000 + ((7 * index) % 10)));
      const present = expected.filter((one) => one !== null).toSorted((a, b) => (descending ? b - a : a - b));
      assert.deepEqual(years, [...present, null]);
    }
    const past = await search({ sort: { field: 'version' }, candidates: 5, offset: 4 });
    assert.equal(past.hits.length, 1, 'the set ends there');
    const { hits } = await search({ sort: { field: 'version', descending: true }, limit: 1 });
    assert.deepEqual([hits[0]!.documentId, hits[0]!.text], ['d9', TITLES[9]]);
  });
});
