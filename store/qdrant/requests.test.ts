import assert from 'node:assert/strict';
import { afterEach, describe, it, type TestContext } from 'node:test';
import type { Schemas } from '@qdrant/js-client-rest';
import type { ServerResponse } from 'node:http';
import { request } from 'undici';
import { optionalTool } from '../../test/testing/optional-tool.ts';
import { confirm, put, remove, rejects, SPACE, sparse, TENANT, update } from '../contract/stores.ts';
import { openStore, type QdrantConfig } from '../open.ts';
import type { Filter } from '../queries.ts';
import { physicalName, type Store } from '../store.ts';
import { useEngine } from './testing/engine.ts';
import {
  type Answer,
  type FakeServer,
  forwardTo,
  reset,
  type Seen,
  startFakeServer,
} from './testing/fake-server.ts';
import { openapiMissing, RequestChecker } from './testing/openapi.ts';

const PHYSICAL = physicalName('docs', SPACE.fingerprint);

const engine = useEngine(optionalTool('qdrant-engine'));
const { skip } = engine;

/** Sends a request to the engine directly. */
async function ask<Result>(method: string, path: string, body?: object): Promise<Result> {
  const answer = await request(engine.url + path, {
    method: method as 'POST',
    body: body ? JSON.stringify(body) : null,
  });
  assert.equal(answer.statusCode, 200);
  return ((await answer.body.json()) as { result: Result }).result;
}

async function collectionNames(): Promise<string[]> {
  const { collections } = await ask<Schemas['CollectionsResponse']>('GET', '/collections');
  return collections.map(({ name }) => name);
}

/** The collection of these tests, as the engine describes it. */
function described(): Promise<Schemas['CollectionInfo']> {
  return ask('GET', `/collections/${PHYSICAL}`);
}

if (skip === false) {
  afterEach(async () => {
    for (const name of await collectionNames()) await ask('DELETE', `/collections/${name}`);
  });
}

async function open(
  context: TestContext,
  config: Partial<QdrantConfig> = {},
  answer: (seen: Seen) => Answer | undefined = () => undefined,
): Promise<{ store: Store; server: FakeServer }> {
  const server = await startFakeServer(context, (seen) => answer(seen) ?? forwardTo(engine.url));
  const store = await openStore({ kind: 'qdrant', url: server.url, ...config });
  context.after(() => store.close());
  return { store, server };
}

const FILTER: Filter = {
  must: [
    { field: 'metadata.a', equals: 'x' },
    { field: 'metadata.a.b c', equals: 1.5 },
    { field: 'version', range: { gte: 1, lt: Infinity } },
    { field: 'metadata.list', anyOf: ['x', 1, 2.5, true] },
  ],
  should: [{ field: 'document_id', equals: 'one' }, { filter: {} }],
  mustNot: [
    { field: 'metadata.z', exists: true },
    { filter: { mustNot: [{ field: 'metadata.q', equals: false }] } },
  ],
};

/** A filter on fields that {@link SETTINGS} declare. */
const STRICT_FILTER: Filter = {
  must: [
    { field: 'metadata.a.b', anyOf: ['x', 'y'] },
    { field: 'metadata.odd key', equals: 1.5 },
  ],
  should: [{ field: 'metadata.year', range: { gt: 2000 } }],
  mustNot: [{ field: 'metadata.flag', equals: true }],
};

const SETTINGS: Readonly<Record<string, Partial<QdrantConfig>>> = {
  'by default': {},
  'with everything set': {
    shards: 2,
    replicas: 3,
    quantization: 'binary',
    onDisk: true,
    hnswM: 24,
    hnswEfConstruct: 200,
    hnswEf: 128,
    oversampling: 2.5,
    strictMode: true,
    indexedFields: { year: 'integer', 'a.b': 'keyword', 'odd key': 'float', flag: 'bool' },
  },
  'for a large collection, searched exactly': { expectedPassages: 50_000_000, exact: true },
};

/** Calls every method of a store, most of them in several ways. */
async function useEverything(store: Store, filter: Filter): Promise<void> {
  await store.probe();
  await store.ensureCollection('docs', SPACE);
  await store.ensureCollection(PHYSICAL, SPACE);
  await store.findCollection('docs');
  await store.listCollections();
  await store.aliases();
  await store.switchAlias('docs-2', PHYSICAL);
  const load = await store.beginBulk('docs');
  const several = put('several', [
    [1, 0, 0, 0],
    [0, 1, 0, 0],
  ]);
  await store.writeDocuments('docs', [
    put('one', [[1, 0, 0, 0]], { metadata: { list: [1, 'a', null], 'a.b': { c: 1.5 } } }),
    { ...several, passages: several.passages.map((passage) => ({ ...passage, sparse: sparse({ 7: 0.5 }) })) },
    remove('gone', 4),
  ]);
  await store.writeDocuments('docs', [confirm('one', 3), confirm('several', 5), remove('several', 6)]);
  await store.writeDocuments('docs', [
    update('one', { version: 4, metadata: { year: 2001 }, expiresAt: Date.now() + 60_000 }),
    put('expired', [[1, 0, 0, 0]], { text: 'of one passage', expiresAt: 1 }),
  ]);
  await store.writeDocuments('docs', [put('expired', [[1, 0, 0, 0]]), update('expired')]);
  await load.end();
  await store.lookupDocuments('docs', [{ tenant: TENANT, documentId: 'one' }]);
  await store.readDocuments('docs', [{ tenant: TENANT, documentId: 'one' }], { withVectors: true });
  await store.tenants('docs');
  await store.scrollDeletes('docs', TENANT, { limit: 3 });
  const vector = Float32Array.of(1, 2, 3, 4);
  await store.search('docs', { tenant: TENANT, vector, limit: 3, filter, scoreThreshold: 0.1, offset: 2 });
  await store.search('docs', { tenant: TENANT, vector, sparse: sparse({ 1: 2 }), limit: 3, withText: false });
  const atLeast = await store.freshness('docs');
  await store.search('docs', { tenant: TENANT, vector, limit: 3, atLeast });
  await store.count('docs', TENANT, filter);
  await store.scroll('docs', TENANT, { limit: 10, filter, withVectors: true, bytes: 100 });
  await store.deleteByFilter('docs', TENANT, filter);
  await store.dropCollection(PHYSICAL);
}

describe('requests to Qdrant', { skip: skip || (openapiMissing ?? false) }, () => {
  for (const [what, config] of Object.entries(SETTINGS)) {
    it(`are what the OpenAPI document of the server allows, ${what}`, async (t) => {
      const checker = new RequestChecker();
      const { store, server } = await open(t, config);
      await useEverything(store, config.strictMode ? STRICT_FILTER : FILTER);
      for (const seen of server.seen) assert.equal(checker.check(seen), undefined);
      const operations = new Set(
        server.seen.map(({ method, path }) => `${method} ${path.replace(PHYSICAL, 'C')}`),
      );
      for (const operation of [
        'PUT /collections/C',
        'PUT /collections/C/index',
        'PUT /collections/C/points',
        'POST /collections/C/points/batch',
        'POST /collections/C/points/query',
        'PATCH /collections/C',
      ]) {
        assert.ok(operations.has(operation), `${operation} was checked`);
      }
    });
  }

  it('would be found out by a field that the server does not know', () => {
    const checker = new RequestChecker();
    const seen = {
      method: 'POST',
      path: '/collections/c/points/query',
      query: new URLSearchParams(),
      headers: {},
    };
    assert.equal(checker.check({ ...seen, body: '{"query":[1],"limit":3}' }), undefined);
    assert.match(checker.check({ ...seen, body: '{"query":[1],"limitt":3}' }) ?? '', /limit/);
    assert.match(
      checker.check({ ...seen, body: '{"query":[1],"filter":{"must":[{"kee":"x"}]}}' }) ?? '',
      /must/,
    );
    assert.match(
      checker.check({ ...seen, query: new URLSearchParams('timeout=0'), body: '{}' }) ?? '',
      /timeout/,
    );
    assert.match(
      checker.check({ ...seen, query: new URLSearchParams('wait=true'), body: '{}' }) ?? '',
      /wait/,
    );
  });
});

describe('a collection', { skip }, () => {
  it('has its space written down, and its indexes before the first point', async (t) => {
    const { store, server } = await open(t, { indexedFields: { year: 'integer' } });
    await store.ensureCollection('docs', SPACE);
    await store.writeDocuments('docs', [put('a', [[1, 0, 0, 0]])]);
    const { config, payload_schema: indexed } = await described();
    assert.equal(config.metadata?.['space'], SPACE.fingerprint);
    const paths = server.seen.map(({ path }) => path.split('/').at(-1));
    assert.ok(paths.lastIndexOf('index') < paths.indexOf('points'));
    for (const field of ['tenant', 'document_id', 'content_hash', 'version', 'metadata.year']) {
      assert.ok(indexed[field], field);
    }
  });

  it('is not made in a server that cannot write its space down', async (t) => {
    const old = { status: 200, headers: {}, body: { title: 'qdrant', version: '1.15.5' } };
    const { store } = await open(t, {}, ({ path }) => (path === '/' ? old : undefined));
    await rejects(store.ensureCollection('docs', SPACE), 'STORE_UNSUPPORTED', /1\.15\.5.*1\.16/);
    assert.deepEqual(await collectionNames(), []);
  });

  it('that somebody made by hand is refused, listed nowhere, and left alone', async (t) => {
    const { store, server } = await open(t);
    const byHand = { vectors: { size: 4, distance: 'Cosine' } };
    await ask('PUT', `/collections/${PHYSICAL}`, byHand);
    await ask('PUT', '/collections/theirs', byHand);
    const alias = { create_alias: { alias_name: 'their-alias', collection_name: 'theirs' } };
    await ask('POST', '/collections/aliases', { actions: [alias] });
    await rejects(store.ensureCollection('docs', SPACE), 'COLLECTION_FOREIGN', /scalingnote did not make it/);
    await rejects(store.writeDocuments(PHYSICAL, [put('a', [[1, 0, 0, 0]])]), 'COLLECTION_FOREIGN');
    await rejects(store.switchAlias('docs', PHYSICAL), 'COLLECTION_FOREIGN');
    await rejects(store.findCollection('their-alias'), 'COLLECTION_FOREIGN');
    assert.deepEqual(await store.listCollections(), []);
    assert.deepEqual([...(await store.aliases())], []);
    assert.deepEqual(
      server.seen.filter(({ method }) => method !== 'GET'),
      [],
    );
  });

  it('under the name of which somebody made one by hand is refused', async (t) => {
    await ask('PUT', '/collections/docs', { vectors: { size: 4, distance: 'Cosine' } });
    const { store } = await open(t);
    await rejects(store.ensureCollection('docs', SPACE), 'COLLECTION_FOREIGN', /"docs"/);
  });

  it('gets its indexing back after a bulk load whose process died', async (t) => {
    const { store } = await open(t);
    await store.ensureCollection('docs', SPACE);
    const threshold = async () => (await described()).config.optimizer_config.indexing_threshold;
    const load = await store.beginBulk('docs');
    assert.equal(await threshold(), 0);
    await store.ensureCollection('docs', SPACE);
    assert.equal(await threshold(), 0, 'it is still loading');
    await load.end();
    assert.equal(await threshold(), 10_000);

    await store.beginBulk('docs');
    const leases = Object.keys((await described()).config.metadata!).filter((key) => key.startsWith('bulk_'));
    assert.equal(leases.length, 1);
    await ask('PATCH', `/collections/${PHYSICAL}`, { metadata: { [leases[0]!]: Date.now() - 1 } });
    await store.ensureCollection('docs', SPACE);
    assert.equal(await threshold(), 10_000);
    const { metadata } = (await described()).config;
    assert.deepEqual(Object.keys(metadata!).sort(), ['dimensions', 'identity', 'layout', 'product', 'space']);
  });
});

describe('a search', { skip }, () => {
  const vector = Float32Array.of(1, 0, 0, 0);
  const cases: [string, Partial<QdrantConfig>, number | undefined, number | undefined][] = [
    ['of bits compares as many in full as the query says', { quantization: 'binary' }, 6, 6],
    ['of bits has a default', { quantization: 'binary' }, undefined, 3],
    ['goes by the setting before all else', { quantization: 'binary', oversampling: 2 }, 6, 2],
    ['of whole vectors has nothing to compare again', {}, 6, undefined],
  ];
  for (const [what, config, oversampling, expected] of cases) {
    it(what, async (t) => {
      const { store, server } = await open(t, config);
      await store.ensureCollection('docs', SPACE);
      const query = { tenant: TENANT, vector, limit: 3, ...(oversampling !== undefined && { oversampling }) };
      await store.search('docs', query);
      const { body } = server.seen.findLast(({ path }) => path.endsWith('/points/query'))!;
      const { params } = JSON.parse(body) as { params: { quantization?: { oversampling: number } } };
      assert.equal(params.quantization?.oversampling, expected);
    });
  }
});

describe('the payload of hits', { skip }, () => {
  const vector = Float32Array.of(1, 0, 0, 0);
  const hybrid = { tenant: TENANT, vector, sparse: sparse({ 1: 1 }), limit: 2 };
  const documents = ['a', 'b', 'c', 'd'].map((id, index) =>
    put(id, [[1, index / 10, 0, 0]], { title: `title of ${id}`, metadata: { group: 'mine' } }),
  );
  const isText = ({ path, body }: Seen): boolean =>
    /points.(query|scroll)/.test(path) && body.includes('"text"');

  it('is asked for after the search, for them alone, where many more points are looked at', async (t) => {
    const { store, server } = await open(t);
    await store.ensureCollection('docs', SPACE);
    await store.writeDocuments('docs', documents);
    const plain = await store.search('docs', { tenant: TENANT, vector, limit: 2 });
    assert.equal(server.seen.findLast(isText)!.path.includes('query'), true);
    const before = server.seen.length;
    const hits = await store.search('docs', hybrid);
    assert.deepEqual(
      hits.map(({ documentId, title, text, metadata }) => ({ documentId, title, text, metadata })),
      plain.map(({ documentId, title, text, metadata }) => ({ documentId, title, text, metadata })),
    );
    const asked = server.seen.slice(before).filter(isText);
    assert.equal(asked.length, 1);
    const { filter, limit } = JSON.parse(asked[0]!.body) as Schemas['ScrollRequest'];
    assert.equal(limit, 2);
    assert.ok(JSON.stringify(filter).includes(TENANT));
  });

  it('is never that of a document that the filter does not hold for any more', async (t) => {
    let change: (() => Promise<unknown>) | undefined;
    const { store } = await open(t, {}, (seen) => {
      if (!change || !isText(seen) || !seen.path.endsWith('/scroll')) return undefined;
      const changed = change();
      change = undefined;
      const forward = forwardTo(engine.url) as (response: ServerResponse, seen: Seen) => void;
      return (response) => void changed.then(() => forward(response, seen));
    });
    await store.ensureCollection('docs', SPACE);
    await store.writeDocuments('docs', documents);
    const filter = { must: [{ field: 'metadata.group', equals: 'mine' }] } satisfies Filter;
    const ids = async (): Promise<string[]> =>
      (await store.search('docs', { ...hybrid, filter })).map(({ documentId }) => documentId);
    assert.deepEqual(await ids(), ['a', 'b']);
    const theirs = put('a', [[1, 0, 0, 0]], { title: 'secret', metadata: { group: 'theirs' } });
    change = () => store.writeDocuments('docs', [theirs]);
    assert.deepEqual(await ids(), ['b', 'c']);
    assert.equal(change, undefined, 'it changed in between');
    change = () => store.writeDocuments('docs', [remove('b')]);
    assert.deepEqual(await ids(), ['c', 'd']);
  });
});

describe('a write', { skip }, () => {
  it('in which the server refuses one point names its document', async (t) => {
    const no = { status: 400, headers: {}, body: { status: { error: 'Bad request: no' } } };
    const { store } = await open(t, {}, ({ method, body }) =>
      method === 'PUT' && body.includes('poison') ? no : undefined,
    );
    await store.ensureCollection('docs', SPACE);
    const writes = Array.from({ length: 20 }, (_, index) =>
      put(index === 13 ? 'poison' : `d${index}`, [[1, 0, 0, 0]]),
    );
    await rejects(
      store.writeDocuments('docs', writes),
      'STORE_INVALID_ARGUMENT',
      /document "poison".*rejected by the server/,
    );
  });

  it('goes in smaller pieces where one is too large for the server', async (t) => {
    const limit = 3000;
    const tooLarge = {
      status: 400,
      headers: {},
      body: `JSON payload is larger than allowed (limit: ${limit} bytes).`,
    };
    const { store } = await open(t, {}, ({ method, body }) =>
      method === 'PUT' && body.length > limit ? tooLarge : undefined,
    );
    await store.ensureCollection('docs', SPACE);
    const writes = Array.from({ length: 20 }, (_, index) => put(`d${index}`, [[1, 0, 0, 0]]));
    const results = await store.writeDocuments('docs', writes);
    assert.ok(results.every(({ outcome }) => outcome === 'indexed'));
    assert.equal((await described()).points_count, 20);
    const large = put('large', [[1, 0, 0, 0]], { metadata: { text: 'x'.repeat(limit) } });
    await rejects(
      store.writeDocuments('docs', [large]),
      'STORE_INVALID_ARGUMENT',
      /document "large" is \d+ bytes/,
    );
  });
});

describe('a document that is too large', { skip }, () => {
  it('is found, too, where the server just ends the connection', async (t) => {
    const { store } = await open(t, {}, ({ method, body }) =>
      method === 'PUT' && body.length > 1_500_000 ? reset : undefined,
    );
    await store.ensureCollection('docs', SPACE);
    const large = put('large', [[1, 0, 0, 0]], { metadata: { text: 'x'.repeat(2_000_000) } });
    const writes = [put('small', [[1, 0, 0, 0]]), large];
    await rejects(
      store.writeDocuments('docs', writes),
      'STORE_INVALID_ARGUMENT',
      /document "large" is 2000\d+ bytes/,
    );
  });
});

describe('a collection that the cluster is still making', { skip }, () => {
  it('is waited for by everybody who wants it', async (t) => {
    // The answer of three nodes of 1.18.3 to eight processes that made the same collection.
    const error = 'Service internal error: 0 of 0 read operations failed';
    let early = 0;
    const { store } = await open(t, {}, ({ method, path }) =>
      method === 'GET' && path === `/collections/${PHYSICAL}` && early-- > 0
        ? { status: 500, headers: {}, body: { status: { error } } }
        : undefined,
    );
    const made = await store.ensureCollection('docs', SPACE);
    early = 60;
    const found = await Promise.all(Array.from({ length: 8 }, () => store.ensureCollection('docs', SPACE)));
    assert.ok(early <= 0);
    for (const one of found) assert.deepEqual(one, made);
  });
});
