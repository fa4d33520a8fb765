import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { Schemas } from '@qdrant/js-client-rest';
import { request } from 'undici';
import { optionalTool } from '../../test/testing/optional-tool.ts';
import { confirm, ids, put, rejects, search, SPACE, TENANT, update } from '../contract/stores.ts';
import { openStore } from '../open.ts';
import type { Store } from '../store.ts';
import { passageTexts } from '../document.ts';
import { useEngine } from './testing/engine.ts';
import { type Answer, forwardTo, reset, type Seen, startFakeServer } from './testing/fake-server.ts';
import { type Fixture, fixture, loadFixture, startRecordedServer } from './testing/recorded-server.ts';

const OLD = fixture('layout-1');

const engine = useEngine(optionalTool('qdrant-engine'));

const key = (documentId: string, tenant = TENANT) => ({ tenant, documentId });

/** A server with the collection of the fixture. */
interface Backend {
  url: string;
  metadata(): Promise<Record<string, unknown>>;
  points(): Promise<Fixture['points']>;
}

async function recorded(context: TestContext, old: Fixture): Promise<Backend> {
  const server = await startRecordedServer(context, old);
  return {
    url: server.url,
    metadata: async () => server.info.config.metadata ?? {},
    points: async () => server.points,
  };
}

async function onEngine(context: TestContext, old: Fixture): Promise<Backend> {
  const { url } = engine;
  const path = `${url}/collections/${old.collection}`;
  await loadFixture(url, old);
  context.after(async () => void (await request(path, { method: 'DELETE' })));
  const ask = async (address: string, body?: object): Promise<unknown> => {
    const options = body && { method: 'POST' as const, body: JSON.stringify(body) };
    const answer = await request(address, options);
    return ((await answer.body.json()) as { result: unknown }).result;
  };
  return {
    url,
    metadata: async () => ((await ask(path)) as Schemas['CollectionInfo']).config.metadata ?? {},
    points: async () => {
      const all = { limit: 1000, with_payload: true, with_vector: true };
      return ((await ask(`${path}/points/scroll`, all)) as { points: Fixture['points'] }).points;
    },
  };
}

/** Points by id, without those that are no documents. */
function documentPoints(points: Fixture['points']): Map<string, unknown> {
  const own = points.filter(({ payload }) => payload['passage'] !== -1);
  return new Map(
    own
      .map(({ id, vector, payload }) => [id, { vector, payload }] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

async function open(context: TestContext, url: string): Promise<Store> {
  const store = await openStore({ kind: 'qdrant', url, exact: true });
  context.after(() => store.close());
  return store;
}

/** Asserts that the documents that the old version wrote are there. */
async function hasDocuments(store: Store): Promise<void> {
  const read = await store.readDocuments(
    'docs',
    [key('one'), key('three'), key('omitted'), key('dead'), key('gone'), key('other', 'other')],
    { withVectors: true },
  );
  assert.deepEqual(
    read.map((document) => document && [document.title, document.version, passageTexts(document)]),
    [
      ['Title of one', 3, ['the only passage']],
      ['Title of three', 0, ['first', 'second', 'third']],
      ['Title of omitted', 0, ['', '']],
      // The head of its last put had changed when its writer died.
      ['Title of dead', 2, ['new first', 'new second', 'new third']],
      undefined,
      ['Title of other', 0, ['of another tenant']],
    ],
  );
  for (const document of read) {
    if (!document) continue;
    assert.equal(document.text, undefined, 'the old version kept no whole text');
    assert.equal(document.encodingHash, undefined);
    assert.equal(document.textOmitted, document.documentId === 'omitted');
    assert.deepEqual(document.metadata, { of: document.documentId, price: 10 });
    const [first, second] = document.passages;
    assert.deepEqual(first?.vector, Float32Array.of(1, 0, 0, 0));
    assert.deepEqual(first.sparse, { indices: [7, 9], values: [0.5, 2] });
    assert.equal(second?.sparse, undefined);
  }
  const stored = await store.lookupDocuments('docs', [key('one'), key('omitted'), key('gone')]);
  assert.deepEqual(stored, [
    { version: 3, contentHash: 'hash of one', textOmitted: false, passages: 1 },
    { version: 0, contentHash: 'hash of omitted', textOmitted: true, passages: 2 },
    undefined,
  ]);
  const { documents } = await store.scroll('docs', TENANT, { limit: 10 });
  assert.deepEqual(ids(documents).sort(), ['dead', 'omitted', 'one', 'three']);
}

const BACKENDS: [string, typeof recorded, string | false][] = [
  ['recorded answers', recorded, false],
  ['the engine', onEngine, engine.skip],
];

for (const [name, start, skip] of BACKENDS) {
  describe(`a collection of version 0.1.0, on ${name}`, { skip }, () => {
    it('gets an identity when it is opened, and keeps its points', async (t) => {
      const backend = await start(t, OLD);
      const store = await open(t, backend.url);
      const { identity } = await store.findCollection('docs');
      assert.match(identity, /^col_[0-9a-f]{32}$/);
      const { space, product, ...rest } = await backend.metadata();
      assert.deepEqual(
        [space, product, rest],
        [SPACE.fingerprint, 'scalingnote', { dimensions: 4, layout: 3, identity }],
      );
      assert.deepEqual(documentPoints(await backend.points()), documentPoints(OLD.points));
      await hasDocuments(store);
      const again = await open(t, backend.url);
      assert.equal((await again.ensureCollection('docs', SPACE)).identity, identity);
      assert.deepEqual((await again.listCollections())[0]?.identity, identity);
      await hasDocuments(again);
    });

    it('keeps the identity that a restore gave it', async (t) => {
      const identity = `col_${'0'.repeat(32)}`;
      const old = structuredClone(OLD);
      const metadata = { ...(old.create['metadata'] as object), identity };
      old.create['metadata'] = metadata;
      old.described.config.metadata = metadata;
      const { url } = await start(t, old);
      assert.equal((await (await open(t, url)).findCollection('docs')).identity, identity);
    });

    it('gets one identity when several open it at the same time', async (t) => {
      const { url } = await start(t, OLD);
      const stores = await Promise.all(Array.from({ length: 5 }, () => open(t, url)));
      const found = await Promise.all(
        stores.flatMap((store) => [store.findCollection('docs'), store.freshness('docs')]),
      );
      assert.equal(new Set(found.map(({ identity }) => identity)).size, 1);
    });

    it('is old or new after a crash at any moment, and new with the next that opens it', async (t) => {
      for (let requests = 1; ; requests++) {
        let done = false;
        await t.test(`after ${requests} requests`, async (one) => {
          const backend = await start(one, OLD);
          let left = requests;
          const proxy = await startFakeServer(one, () => (left-- > 0 ? forwardTo(backend.url) : reset));
          const dying = await open(one, proxy.url);
          done = await dying.findCollection('docs').then(
            () => true,
            () => false,
          );
          const { layout, identity } = await backend.metadata();
          assert.equal(typeof layout === 'number' && layout > 1, identity !== undefined);
          assert.deepEqual(documentPoints(await backend.points()), documentPoints(OLD.points));
          const store = await open(one, backend.url);
          const after = await store.findCollection('docs');
          if (identity !== undefined) assert.equal(after.identity, identity);
          assert.equal((await backend.metadata())['layout'], 3);
          await hasDocuments(store);
        });
        if (done) {
          assert.ok(requests > 5, `it took ${requests} requests`);
          break;
        }
      }
    });

    it('keeps the identity that one gave it while another was on its way', async (t) => {
      const backend = await start(t, OLD);
      // Both have seen the old layout; the first one's last step comes after the second is done.
      let identity: string | undefined;
      const late = (seen: Seen): Answer => {
        if (seen.method !== 'PATCH' || identity !== undefined) return forwardTo(backend.url);
        return (response) => {
          void open(t, backend.url)
            .then((second) => second.findCollection('docs'))
            .then((found) => {
              identity = found.identity;
              (forwardTo(backend.url) as (...given: unknown[]) => void)(response, seen);
            });
        };
      };
      const proxy = await startFakeServer(t, late);
      const first = await (await open(t, proxy.url)).findCollection('docs');
      assert.equal(first.identity, identity);
      assert.equal((await backend.metadata())['identity'], identity);
    });

    it('is refused where the key may not change it, with what to do', async (t) => {
      const { url } = await start(t, OLD);
      const forbidden = { status: 403, headers: {}, body: { status: { error: 'Forbidden' } } };
      const proxy = await startFakeServer(t, ({ method }) => (method === 'GET' ? forwardTo(url) : forbidden));
      const store = await open(t, proxy.url);
      await rejects(store.findCollection('docs'), 'COLLECTION_LAYOUT', /layout 1.*start a document service/);
    });

    for (const layout of [4, 0, 1.5, 'two']) {
      it(`is refused if its layout is ${JSON.stringify(layout)}, and left alone`, async (t) => {
        const old = structuredClone(OLD);
        const metadata = { ...(old.create['metadata'] as object), layout };
        old.create['metadata'] = metadata;
        old.described.config.metadata = metadata;
        const backend = await start(t, old);
        const store = await open(t, backend.url);
        const calls: (() => Promise<unknown>)[] = [
          () => store.findCollection('docs'),
          () => store.ensureCollection('docs', SPACE),
          () => store.writeDocuments('docs', [put('a', [[1, 0, 0, 0]])]),
          () => search(store, 'docs', [1, 0, 0, 0]),
        ];
        for (const call of calls) await rejects(call(), 'COLLECTION_LAYOUT', /layouts up to 3/);
        assert.deepEqual(await store.listCollections(), []);
        assert.deepEqual(await backend.metadata(), metadata);
        assert.deepEqual(documentPoints(await backend.points()), documentPoints(OLD.points));
      });
    }
  });
}

describe('a collection of version 0.1.0 that has been opened', { skip: engine.skip }, () => {
  it('does everything that a new one does', async (t) => {
    const { url } = await onEngine(t, OLD);
    const store = await open(t, url);
    await store.ensureCollection('docs', SPACE);
    const answer = await request(`${url}/collections/${OLD.collection}`);
    const { result } = (await answer.body.json()) as { result: Schemas['CollectionInfo'] };
    for (const field of ['expires_at', 'deleted_tenant', 'tenant'])
      assert.ok(result.payload_schema[field], field);
    assert.deepEqual(await store.tenants('docs'), ['other', 'tenant']);
    // A tombstone of the old version names no tenant.
    for (const [tenant, deletes] of [
      [TENANT, [{ ...key('gone'), version: 5 }]],
      ['other', []],
    ] as const) {
      assert.deepEqual(await store.scrollDeletes('docs', tenant, { limit: 10 }), { deletes });
    }
    assert.deepEqual(ids(await search(store, 'docs', [1, 2, 0, 0], { limit: 1 })), ['three']);
    assert.deepEqual(
      await store.writeDocuments('docs', [
        // It does not know what was encoded.
        update('one', { version: 4, expected: { encodingHash: 'encoding hash of one' } }),
        update('three', { expected: { contentHash: 'hash of three' }, metadata: { price: 11 } }),
        confirm('omitted', 2),
        update('dead', {
          version: 3,
          expected: { contentHash: 'new hash of dead' },
          metadata: { price: 12 },
        }),
        put('gone', [[1, 0, 0, 0]], { version: 4 }),
        put('new', [[1, 0, 0, 0]], { text: 'whole' }),
      ]),
      [
        { outcome: 'changed' },
        { outcome: 'updated' },
        { outcome: 'unchanged' },
        { outcome: 'updated' },
        { outcome: 'stale', storedVersion: 5 },
        { outcome: 'indexed' },
      ],
    );
    const hits = await search(store, 'docs', [1, 2, 0, 0], { limit: 2 });
    assert.deepEqual(
      hits.map(({ documentId, passage, text, metadata }) => [documentId, passage, text, metadata]),
      [
        ['dead', 2, 'new third', { price: 12 }],
        ['three', 2, 'third', { price: 11 }],
      ],
    );
    assert.deepEqual(await store.count('docs', TENANT), { documents: 5, passages: 10 });
    assert.equal(await store.deleteByFilter('docs', TENANT, {}), 5);
  });
});
