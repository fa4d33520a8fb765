import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { openStore, type QdrantConfig } from '../open.ts';
import { physicalName, type Store } from '../store.ts';
import { confirm, put, remove, rejects, SPACE, sparse, TENANT } from '../contract/stores.ts';
import { type FakeServer, reset, startFakeServer } from './testing/fake-server.ts';
import { openapiMissing, RequestChecker } from './testing/openapi.ts';
import { StandIn } from './testing/stand-in.ts';

const PHYSICAL = physicalName('docs', SPACE.fingerprint);

async function open(
  context: TestContext,
  config: Partial<QdrantConfig> = {},
): Promise<{ store: Store; server: FakeServer; standIn: StandIn }> {
  const standIn = new StandIn();
  const server = await startFakeServer(context, standIn.answer);
  const store = await openStore({ kind: 'qdrant', url: server.url, ...config });
  context.after(() => store.close());
  return { store, server, standIn };
}

/** Calls every operation of a store, most of them in several ways. */
async function useEverything(store: Store): Promise<void> {
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
  await load.end();
  await store.lookupDocuments('docs', [{ tenant: TENANT, documentId: 'one' }]);
  const filter = {
    must: [
      { field: 'metadata.a', equals: 'x' },
      { field: 'metadata.a.b c', equals: 1.5 },
      { field: 'version', range: { gte: 1, lt: Infinity } },
      { field: 'metadata.list', anyOf: ['x', 1, 2.5, true] },
    ],
    should: [{ field: 'document_id', equals: 'one' }, { filter: {} }],
    mustNot: [
      { field: 'metadata.z', exists: true as const },
      { filter: { mustNot: [{ field: 'metadata.q', equals: false }] } },
    ],
  };
  const vector = Float32Array.of(1, 2, 3, 4);
  await store.search('docs', { tenant: TENANT, vector, limit: 3, filter, scoreThreshold: 0.1, offset: 2 });
  await store.search('docs', { tenant: TENANT, vector, sparse: sparse({ 1: 2 }), limit: 3, withText: false });
  await store.count('docs', TENANT, filter);
  await store.scroll('docs', TENANT, { limit: 10, filter });
  await store.deleteByFilter('docs', TENANT, filter);
  await store.dropCollection(PHYSICAL);
}

describe('requests to Qdrant', { skip: openapiMissing }, () => {
  const settings: Record<string, Partial<QdrantConfig>> = {
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
  for (const [what, config] of Object.entries(settings)) {
    it(`are what the OpenAPI document of the server allows, ${what}`, async (t) => {
      const checker = new RequestChecker();
      const { store, server } = await open(t, config);
      await useEverything(store);
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

describe('a collection', () => {
  it('has its space written down, and its indexes before the first point', async (t) => {
    const { store, server, standIn } = await open(t, { indexedFields: { year: 'integer' } });
    await store.ensureCollection('docs', SPACE);
    await store.writeDocuments('docs', [put('a', [[1, 0, 0, 0]])]);
    const { metadata } = standIn.collections.get(PHYSICAL) as { metadata: Record<string, unknown> };
    assert.equal(metadata['space'], SPACE.fingerprint);
    const paths = server.seen.map(({ path }) => path.split('/').at(-1));
    assert.ok(paths.lastIndexOf('index') < paths.indexOf('points'));
    const indexed = new Set(
      server.seen
        .filter(({ path }) => path.endsWith('/index'))
        .map(({ body }) => (JSON.parse(body) as { field_name: string }).field_name),
    );
    for (const field of ['tenant', 'document_id', 'content_hash', 'version', 'metadata.year']) {
      assert.ok(indexed.has(field), field);
    }
  });

  it('is not made in a server that cannot write its space down', async (t) => {
    const { store, standIn } = await open(t);
    standIn.version = '1.15.5';
    await rejects(store.ensureCollection('docs', SPACE), 'STORE_UNSUPPORTED', /1\.15\.5.*1\.16/);
    assert.equal(standIn.collections.size, 0);
  });

  it('that somebody made by hand is refused, listed nowhere, and left alone', async (t) => {
    const { store, server, standIn } = await open(t);
    standIn.collections.set(PHYSICAL, { vectors: { size: 4, distance: 'Cosine' } });
    standIn.collections.set('theirs', { vectors: { size: 4, distance: 'Cosine' } });
    standIn.aliases.set('their-alias', 'theirs');
    await rejects(store.ensureCollection('docs', SPACE), 'COLLECTION_FOREIGN', /not made by scalingnote/);
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
    const standIn = new StandIn();
    const taken = {
      status: 409,
      headers: {},
      body: { status: { error: 'Wrong input: Collection `docs` already exists!' } },
    };
    const server = await startFakeServer(t, (seen) =>
      seen.path === '/collections/aliases' ? taken : standIn.answer(seen),
    );
    const store = await openStore({ kind: 'qdrant', url: server.url });
    t.after(() => store.close());
    await rejects(store.ensureCollection('docs', SPACE), 'COLLECTION_FOREIGN', /"docs"/);
  });

  it('gets its indexing back after a bulk load whose process died', async (t) => {
    const { store, standIn } = await open(t);
    await store.ensureCollection('docs', SPACE);
    const threshold = () => {
      const { optimizers_config: optimizer } = standIn.collections.get(PHYSICAL) as {
        optimizers_config?: { indexing_threshold: number };
      };
      return optimizer?.indexing_threshold;
    };
    const load = await store.beginBulk('docs');
    assert.equal(threshold(), 0);
    await store.ensureCollection('docs', SPACE);
    assert.equal(threshold(), 0, 'it is still loading');
    await load.end();
    assert.equal(threshold(), 10_000);

    await store.beginBulk('docs');
    const { metadata } = standIn.collections.get(PHYSICAL) as { metadata: Record<string, unknown> };
    for (const key of Object.keys(metadata)) if (key.startsWith('bulk_')) metadata[key] = Date.now() - 1;
    await store.ensureCollection('docs', SPACE);
    assert.equal(threshold(), 10_000);
    assert.deepEqual(Object.keys(standIn.collections.get(PHYSICAL)!['metadata'] as object).sort(), [
      'dimensions',
      'product',
      'space',
    ]);
  });
});

describe('a search', () => {
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

describe('a write', () => {
  it('in which the server refuses one point names its document', async (t) => {
    const standIn = new StandIn();
    const server = await startFakeServer(t, (seen) =>
      seen.method === 'PUT' && seen.body.includes('poison')
        ? { status: 400, headers: {}, body: { status: { error: 'Bad request: no' } } }
        : standIn.answer(seen),
    );
    const store = await openStore({ kind: 'qdrant', url: server.url });
    t.after(() => store.close());
    await store.ensureCollection('docs', SPACE);
    const writes = Array.from({ length: 20 }, (_, index) =>
      put(index === 13 ? 'poison' : `d${index}`, [[1, 0, 0, 0]]),
    );
    await rejects(
      store.writeDocuments('docs', writes),
      'STORE_INVALID_ARGUMENT',
      /document "poison".*refused/,
    );
  });

  it('goes in smaller pieces where one is too large for the server', async (t) => {
    const standIn = new StandIn();
    const limit = 3000;
    const tooLarge = {
      status: 400,
      headers: {},
      body: `JSON payload is larger than allowed (limit: ${limit} bytes).`,
    };
    const server = await startFakeServer(t, (seen) =>
      seen.method === 'PUT' && seen.body.length > limit ? tooLarge : standIn.answer(seen),
    );
    const store = await openStore({ kind: 'qdrant', url: server.url });
    t.after(() => store.close());
    await store.ensureCollection('docs', SPACE);
    const writes = Array.from({ length: 20 }, (_, index) => put(`d${index}`, [[1, 0, 0, 0]]));
    const results = await store.writeDocuments('docs', writes);
    assert.ok(results.every(({ outcome }) => outcome === 'indexed'));
    assert.equal(standIn.points.size, 20);
    const large = put('large', [[1, 0, 0, 0]], { metadata: { text: 'x'.repeat(limit) } });
    await rejects(
      store.writeDocuments('docs', [large]),
      'STORE_INVALID_ARGUMENT',
      /document "large" is \d+ bytes/,
    );
  });
});

describe('a document that is too large', () => {
  it('is found, too, where the server just ends the connection', async (t) => {
    const standIn = new StandIn();
    const server = await startFakeServer(t, (seen) =>
      seen.method === 'PUT' && seen.body.length > 1_500_000 ? reset : standIn.answer(seen),
    );
    const store = await openStore({ kind: 'qdrant', url: server.url });
    t.after(() => store.close());
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

describe('a collection that the cluster is still making', () => {
  it('is waited for by everybody who wants it', async (t) => {
    const standIn = new StandIn();
    // As three nodes of 1.18.3 said it to eight that made the same collection.
    const error = 'Service internal error: 0 of 0 read operations failed';
    let early = 0;
    const server = await startFakeServer(t, (seen) =>
      seen.method === 'GET' && seen.path === `/collections/${PHYSICAL}` && early-- > 0
        ? { status: 500, headers: {}, body: { status: { error } } }
        : standIn.answer(seen),
    );
    const store = await openStore({ kind: 'qdrant', url: server.url });
    t.after(() => store.close());
    const made = await store.ensureCollection('docs', SPACE);
    early = 60;
    const found = await Promise.all(Array.from({ length: 8 }, () => store.ensureCollection('docs', SPACE)));
    assert.ok(early <= 0);
    for (const one of found) assert.deepEqual(one, made);
  });
});

describe('a configuration', () => {
  const wrong: [Partial<QdrantConfig>, RegExp][] = [
    [{ url: 'localhost:6333' }, /address "localhost:6333"/],
    [{ url: 'https://key@host' }, /address "https:\/\/\.\.\.@host"/],
    [{ url: 'http://a,ftp://b' }, /"ftp:\/\/b"/],
    [{ ca: '/nowhere/ca.pem' }, /ca: cannot read/],
    [{ shards: 0 }, /shards is 0/],
    [{ replicas: 2, writeConsistency: 3 }, /writeConsistency is 3.*2 replicas/],
    [{ hnswEfConstruct: 2 }, /hnswEfConstruct/],
    [{ oversampling: 0.5 }, /oversampling/],
    [{ connections: 1.5 }, /connections/],
    [{ indexedFields: { 'a"b': 'keyword' } }, /metadata/],
  ];
  for (const [config, message] of wrong) {
    it(`is refused: ${JSON.stringify(config)}`, async () => {
      await rejects(
        openStore({ kind: 'qdrant', url: 'http://localhost', ...config }),
        'STORE_INVALID_ARGUMENT',
        message,
      );
    });
  }

  it('that sends the key unencrypted is warned of, but not on this machine', async (t) => {
    const warnings: string[] = [];
    const log = { warn: (message: string) => warnings.push(message) };
    for (const url of [
      'http://127.0.0.1:1',
      'http://localhost:1',
      'https://far.example',
      'http://far.example',
    ]) {
      const store = await openStore({ kind: 'qdrant', url, apiKey: 'secret' }, { log });
      t.after(() => store.close());
    }
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]!, /far\.example:6333 unencrypted/);
  });

  it('is taken while the server is away', async (t) => {
    const store = await openStore({ kind: 'qdrant', url: 'http://127.0.0.1:1' });
    t.after(() => store.close());
    await rejects(store.probe(), 'STORE_UNAVAILABLE', /127\.0\.0\.1:1/);
  });
});
