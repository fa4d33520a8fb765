import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import type { EncodeResponse__Output } from '../../proto/generated/scalingnote/v1/EncodeResponse.ts';
import type { QueryServiceDescribeResponse__Output } from '../../proto/generated/scalingnote/v1/QueryServiceDescribeResponse.ts';
import { fromStruct, toValue } from '../../proto/struct.ts';
import { collectionNotFound, StoreError } from '../../store/errors.ts';
import { DEFAULT_FUSION } from '../../store/fusion.ts';
import { physicalName } from '../../store/store.ts';
import { queryTerms } from '../../towers/terms.ts';
import { callUnary, failure, until } from '../runtime/testing/harness.ts';
import { DIMENSIONS, FakeStore, FakeTower, Held, vectorOf } from './testing/fakes.ts';
import { startQuery, type QueryHarness } from './testing/harness.ts';

const started: QueryHarness[] = [];
const start = async (...parts: Parameters<typeof startQuery>): Promise<QueryHarness> => {
  const harness = await startQuery(...parts);
  started.push(harness);
  return harness;
};
after(() => Promise.all(started.map(({ stop }) => stop())));

/** A space that is not the fake tower's. */
const OTHER_SPACE = `sp1_${'0'.repeat(32)}`;

test('a search asks the store for what the request says', async () => {
  const { search, store, tower } = await start();
  await search({
    tenant: 't',
    query: 'stars',
    limit: 7,
    offset: 3,
    scoreThreshold: 0.25,
    omitText: true,
    omitMetadata: true,
    filter: { must: [{ equals: { field: 'metadata.colour', value: toValue('red') } }] },
  });
  const [asked] = store.searches;
  assert.equal(
    asked?.collection,
    physicalName('docs', tower.manifest.space.fingerprint),
    'no race with an alias',
  );
  const { vector, ...query } = asked.query;
  assert.deepEqual([...vector!], [...vectorOf('stars')]);
  assert.deepEqual(query, {
    tenant: 't',
    filter: { must: [{ field: 'metadata.colour', equals: 'red' }] },
    limit: 7,
    offset: 3,
    scoreThreshold: 0.25,
    withText: false,
    withMetadata: false,
  });
});

test('a tower that needs a wide search gets it', async () => {
  const tower = new FakeTower({ search: { hnswEf: 96, recall: 0.99, passages: 1000, oversampling: 6 } });
  const { search, store } = await start({ tower });
  await search({});
  await search({ mode: 'SEARCH_MODE_SPARSE' });
  assert.deepEqual(
    store.searches.map(({ query }) => [query.hnswEf, query.oversampling]),
    [
      [96, 6],
      [undefined, undefined],
    ],
  );
});

test('what is not said has its default', async () => {
  const { search, store } = await start();
  await search({});
  const { limit, offset, scoreThreshold, filter, withText, withMetadata, sparse } = store.searches[0]!.query;
  assert.deepEqual([limit, offset, withText, withMetadata], [10, 0, true, true]);
  assert.deepEqual([scoreThreshold, filter, sparse], [undefined, undefined, undefined]);
});

test('hits come as the store ranks them, whole', async () => {
  const { search, store } = await start();
  store.find = () => [
    {
      documentId: 'd1',
      score: 0.75,
      passage: 3,
      title: 'Stars',
      text: 'shine',
      metadata: { colour: 'red', deep: { list: [1, null, true] } },
      version: Number.MAX_SAFE_INTEGER,
    },
    { documentId: 'd2', score: -0.5, passage: 0, title: '', version: 0 },
  ];
  const { hits, queryTower } = await search({});
  const { metadata, ...first } = hits[0]!;
  // Nobody asked for these.
  const besides = { explanation: null, snippet: null, documentText: '', legs: null };
  assert.deepEqual(
    { ...first },
    {
      ...besides,
      documentTextAbsence: 'TEXT_ABSENCE_UNSPECIFIED',
      documentId: 'd1',
      score: 0.75,
      passage: 3,
      title: 'Stars',
      text: 'shine',
      version: '9007199254740991',
    },
  );
  assert.deepEqual(fromStruct(metadata), { colour: 'red', deep: { list: [1, null, true] } });
  assert.deepEqual([hits[1]?.documentId, hits[1]?.score, hits[1]?.metadata], ['d2', -0.5, null]);
  assert.deepEqual([queryTower?.name, queryTower?.role], ['fake', 'TOWER_ROLE_QUERY']);
});

test('timings say where the time went', async () => {
  const { search } = await start();
  const { timings } = await search({});
  assert.ok(timings);
  assert.equal(timings.encodeMs, 0.5);
  assert.ok(timings.queueMs >= 0.25);
  assert.ok(timings.searchMs > 0 && timings.tokenizeMs > 0);
  assert.ok(timings.totalMs >= timings.searchMs + timings.tokenizeMs);
  assert.equal(timings.cached, false);
});

test('words are searched as the collection analyses them', async () => {
  const { search, store, tower } = await start();
  const { fingerprint } = tower.manifest.space;
  await store.analysed('words', fingerprint, ['astronomer', 'receive', 'dog']);
  const found = async (query: string, rest = {}) => {
    const answer = await search({ collection: 'words', mode: 'SEARCH_MODE_SPARSE', query, ...rest });
    return { titles: answer.hits.map(({ title }) => title), ...answer };
  };
  assert.deepEqual((await found('dogs')).titles, ['dog']);
  const mistyped = await found('recieve');
  assert.deepEqual([mistyped.titles, mistyped.didYouMean], [['receive'], 'receive']);
  assert.deepEqual((await found('astron')).titles, []);
  const prefix = await found('astron', { prefix: true });
  assert.deepEqual([prefix.titles, prefix.completions], [['astronomer'], ['astronomer']]);
  assert.equal(prefix.didYouMean, '');
  assert.equal((await found('dogs', { language: 'none' })).didYouMean, 'dog', 'it has no stem then');
  tower.texts.length = 0;
  const guess = await found('the astron', { mode: 'SEARCH_MODE_HYBRID', prefix: true });
  const weight = (1 - 1 / 6 - 1 / 3) * DEFAULT_FUSION.denseWeight;
  assert.ok(
    Math.abs(guess.fusion!.denseWeight! - weight) < 1e-9,
    'what is guessed weighs less, and one word, too',
  );
  const own = { mode: 'SEARCH_MODE_HYBRID', prefix: true, fusion: { denseWeight: 0.9 } } as const;
  assert.equal((await found('the astron', own)).fusion!.denseWeight, 0.9);
  await found('recieve', { mode: 'SEARCH_MODE_HYBRID' });
  await found('the dgo', { mode: 'SEARCH_MODE_DENSE' });
  assert.deepEqual(tower.texts, ['the astronomer', 'receive', 'the dgo']);
  const dense = await found('dogs', { mode: 'SEARCH_MODE_DENSE', snippetLength: 16 });
  const dog = dense.hits.find(({ title }) => title === 'dog')!;
  assert.deepEqual(
    dog.snippet?.highlights,
    [{ start: 0, end: 3 }],
    'by meaning, too, inflections are marked',
  );
  assert.equal(dense.didYouMean, '');
  assert.equal(tower.texts.at(-1), 'dogs');
});

test('no tenant completes another’s words', async () => {
  const { search, store, tower } = await start();
  await store.analysed('words', tower.manifest.space.fingerprint, ['astronomer']);
  const query = { collection: 'words', mode: 'SEARCH_MODE_SPARSE', query: 'astron', prefix: true } as const;
  assert.deepEqual((await search(query)).completions, ['astronomer']);
  const other = await search({ ...query, tenant: 'other' });
  assert.deepEqual([other.completions, other.didYouMean, other.hits], [[], '', []]);
});

test('an alias that moves to a collection of another analyser is searched with that', async () => {
  const { search, store, tower } = await start();
  const { fingerprint } = tower.manifest.space;
  await store.analysed('stemmed', fingerprint, ['run']);
  await store.analysed('plain', fingerprint, ['run'], { language: 'none', keepDiacritics: false });
  const titles = async (): Promise<string[]> => {
    const { hits } = await search({ collection: 'words', mode: 'SEARCH_MODE_SPARSE', query: 'running' });
    return hits.map(({ title }) => title);
  };
  await store.switchAlias('words', physicalName('stemmed', fingerprint));
  assert.deepEqual(await titles(), ['run']);
  await store.switchAlias('words', physicalName('plain', fingerprint));
  while ((await titles()).length > 0) await delay(50);
});

test('what needs words is refused by a collection that does not know them, and by one of another analyser', async () => {
  const { search, store, tower } = await start();
  const refused = async (request: object, code: status, message: RegExp): Promise<void> => {
    const error = await failure(search(request));
    assert.deepEqual([error.code, error.message.match(message)?.length], [code, 1], error.message);
  };
  const sparse = { mode: 'SEARCH_MODE_SPARSE' } as const;
  await refused({ ...sparse, prefix: true }, status.FAILED_PRECONDITION, /reanalyse docs/);
  await refused({ ...sparse, language: 'de' }, status.FAILED_PRECONDITION, /reanalyse docs/);
  await refused({ ...sparse, language: 'auto' }, status.INVALID_ARGUMENT, /^language: is "auto"/);
  await refused({ language: 'de' }, status.INVALID_ARGUMENT, /^language: changes nothing/);
  for (const [language, fix] of [
    ['eng', '"en"'],
    ['en-US', '"en"'],
    ['EN', '"en"'],
    ['nb', '"no"'],
    ['xx', 'an ISO'],
    ['english', 'an ISO'],
  ] as const) {
    await refused(
      { ...sparse, language },
      status.INVALID_ARGUMENT,
      new RegExp(`^language: is .*send ${fix}`),
    );
  }
  assert.equal((await search({ ...sparse, prefix: false })).completions.length, 0);
  await store.analysed('words', tower.manifest.space.fingerprint, ['dog']);
  await store.setAnalysis('words', '{"language":"auto","keepDiacritics":false,"analyser":1,"icu":1}');
  await refused({ ...sparse, collection: 'words' }, status.FAILED_PRECONDITION, /ICU.*reanalyse words/);
  assert.equal((await search({ collection: 'words', query: 'dog' })).hits.length, 1, 'dense goes on');
});

test('dense, sparse and hybrid searches', async () => {
  const { search, store, tower } = await start();
  const terms = queryTerms('bright stars');
  for (const [mode, dense, sparse] of [
    ['SEARCH_MODE_UNSPECIFIED', true, false],
    ['SEARCH_MODE_DENSE', true, false],
    ['SEARCH_MODE_SPARSE', false, true],
    ['SEARCH_MODE_HYBRID', true, true],
  ] as const) {
    store.searches.length = 0;
    await search({ mode, query: 'bright stars' });
    const { query } = store.searches[0]!;
    assert.equal(query.vector !== undefined, dense, mode);
    assert.deepEqual(query.sparse, sparse ? terms : undefined, mode);
  }
  assert.equal(tower.texts.length, 1, 'a sparse search encodes nothing');
});

test('equal queries at the same time are encoded once', async () => {
  const { search, tower } = await start({ slots: 20, cache: 0 });
  let go: () => void = () => {};
  const held = new Promise<void>((resolve) => (go = resolve));
  tower.before = () => held;
  const searches = Array.from({ length: 10 }, () => search({ query: 'stars' }));
  // It comes last over the same connection: when it is being encoded, the others have come.
  searches.push(search({ query: 'planets' }));
  await until(() => tower.texts.includes('planets'));
  go();
  await Promise.all(searches);
  assert.deepEqual(tower.texts, ['stars', 'planets']);
  await search({ query: 'stars' });
  assert.equal(tower.texts.length, 3, 'there is no cache in this test');
});

test('a caller that gives up leaves the others alone', async () => {
  const { client, search, tower, store } = await start();
  let go: () => void = () => {};
  tower.before = () => new Promise((resolve) => (go = resolve));
  const first = client.search({ collection: 'docs', query: 'stars' }, () => {});
  await until(() => tower.texts.length === 1);
  const second = search({ query: 'stars' });
  await until(() => store.describes === 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  first.cancel();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(tower.abandoned, 0);
  go();
  await second;
  assert.deepEqual(tower.texts, ['stars']);
});

test('work that nobody waits for is given up', async () => {
  const { client, tower } = await start();
  tower.before = () => new Promise(() => {});
  const only = client.search({ collection: 'docs', query: 'stars' }, () => {});
  await until(() => tower.texts.length === 1);
  only.cancel();
  await until(() => tower.abandoned === 1);
});

test('a query that was asked before comes from the cache', async () => {
  const { search, tower } = await start();
  await search({ query: 'stars' });
  const { timings } = await search({ query: '  stars\n' });
  assert.deepEqual([timings?.cached, timings?.encodeMs, timings?.tokenizeMs], [true, 0, 0]);
  await search({ query: 'Stars' });
  assert.deepEqual(tower.texts, ['stars', 'Stars'], 'case means something to some towers');
});

test('a failed encoding is not remembered', async () => {
  const { search, tower } = await start();
  tower.before = () => Promise.reject(new Error('once'));
  assert.equal((await failure(search({}))).code, status.INTERNAL);
  tower.before = () => {};
  assert.equal((await search({})).timings?.cached, false);
});

test('a document tower in place of a query tower reads queries as the teacher does', async () => {
  const { search, tower } = await start({
    tower: new FakeTower({ role: 'document', prompt: 'passage: ', queryPrompt: 'query: ' }),
  });
  await search({ query: 'stars' });
  assert.deepEqual(tower.texts, ['query: stars']);
});

test('a collection of another space is refused with both fingerprints, before anything is encoded', async () => {
  const { search, store, tower } = await start();
  await store.lead('other', OTHER_SPACE);
  const error = await failure(search({ collection: 'other' }));
  assert.deepEqual([error.code, error.reason], [status.FAILED_PRECONDITION, 'SPACE_MISMATCH']);
  for (const fingerprint of [OTHER_SPACE, tower.manifest.space.fingerprint]) {
    assert.ok(error.message.includes(fingerprint));
    assert.ok(Object.values(error.metadata!).includes(fingerprint));
  }
  assert.deepEqual([tower.texts.length, store.searches.length], [0, 0]);
});

test('a collection that is not there is NOT_FOUND, until it is there', async () => {
  const { search, store, tower } = await start();
  const error = await failure(search({ collection: 'new' }));
  assert.deepEqual([error.code, error.reason], [status.NOT_FOUND, 'COLLECTION_NOT_FOUND']);
  assert.match(error.message, /"new"/);
  await store.lead('new', tower.manifest.space.fingerprint);
  await search({ collection: 'new' });
});

test('where a name leads is not asked for every search, and a switch of the alias is noticed', async () => {
  const { search, store } = await start();
  await search({});
  await search({});
  assert.equal(store.describes, 1);
  await store.lead('docs', OTHER_SPACE);
  let reason = '';
  while (reason === '') {
    reason = await search({}).then(
      () => '',
      async (error: unknown) => (await failure(Promise.reject(error as Error))).reason,
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal(reason, 'SPACE_MISMATCH');
});

test('a second look at where a name leads is under way before a search would wait for it', async () => {
  const { search, store } = await start();
  const { findCollection } = store;
  const look = { underWay: false };
  store.findCollection = async (name) => {
    look.underWay = true;
    await new Promise((resolve) => setTimeout(resolve, 20));
    look.underWay = false;
    return findCollection.call(store, name);
  };
  // The first search has to wait for the look; one of the others comes back while another look is under way.
  do await search({});
  while (!look.underWay);
});

test('a physical collection that was replaced and dropped is looked for again, once', async () => {
  const { search, store, tower } = await start();
  await search({});
  let dropped = true;
  store.find = ({ collection }) => {
    if (!dropped) return [{ documentId: 'd', score: 1, passage: 0, title: '', version: 0 }];
    dropped = false;
    throw collectionNotFound(collection);
  };
  assert.equal((await search({})).hits.length, 1);
  store.find = ({ collection }) => {
    throw collectionNotFound(collection);
  };
  await store.dropCollection(physicalName('docs', tower.manifest.space.fingerprint));
  assert.match((await failure(search({}))).message, /no collection "docs"/);
});

test('a store that is down is UNAVAILABLE, with a time to retry', async () => {
  const { search, store } = await start();
  store.find = () => {
    throw new StoreError('STORE_UNAVAILABLE', 'nobody answers', { retryDelayMs: 300 });
  };
  const error = await failure(search({}));
  assert.deepEqual([error.code, error.retryDelayMs], [status.UNAVAILABLE, 300]);
});

test('the caller’s deadline bounds the store’s work, and a cancelled search is given up', async () => {
  const { client, search, store } = await start();
  const held = new Held();
  store.find = held.find;
  const deadline = Date.now() + 200;
  const error = await failure(search({}, { deadline }));
  assert.equal(error.code, status.DEADLINE_EXCEEDED);
  await until(() => held.abandoned === 1);
  assert.ok(Math.abs(store.searches[0]!.options.deadline! - deadline) < 150);
  const call = client.search({ collection: 'docs', query: 'stars' }, () => {});
  await until(() => store.searches.length === 2);
  call.cancel();
  await until(() => held.abandoned === 2);
});

test('Encode gives the vectors of texts, in order, each text encoded once', async () => {
  const { client, tower } = await start();
  const texts = Array.from({ length: 256 }, (_, index) => `text ${index % 100}`);
  const { embeddings, queryTower } = await callUnary<EncodeResponse__Output>(client, 'Encode', { texts });
  assert.equal(embeddings.length, 256);
  embeddings.forEach(({ values }, index) => assert.deepEqual(values, [...vectorOf(texts[index]!)]));
  assert.equal(new Set(tower.texts).size, tower.texts.length);
  assert.equal(queryTower?.space?.dimensions, DIMENSIONS);
});

test('Describe says what the service is', async () => {
  const { client, tower } = await start();
  const { service } = await callUnary<QueryServiceDescribeResponse__Output>(client, 'Describe', {});
  assert.match(service!.version, /^\d+\.\d+\.\d+/);
  assert.deepEqual([service?.pid, service?.store], [process.pid, 'embedded']);
  assert.ok(service!.uptimeSeconds > 0);
  const { space, maxTokens, device, retention } = service!.tower!;
  assert.equal(space?.fingerprint, tower.manifest.space.fingerprint);
  assert.deepEqual([maxTokens, device, retention], [64, 'cpu', undefined]);
});

test('Describe says how much of the teacher a student has kept', async () => {
  const { client } = await start({
    tower: new FakeTower({
      distillation: {
        teacher: 't',
        student: 'lookup',
        loss: 'mse',
        texts: 1,
        steps: 1,
        seed: 0,
        heldOutCosine: 0.9,
        retention: { ndcg10: 0.95, datasets: ['scifact'] },
      },
    }),
    store: new FakeStore(),
  });
  const { service } = await callUnary<QueryServiceDescribeResponse__Output>(client, 'Describe', {});
  assert.equal(service?.tower?.retention, 0.95);
});
