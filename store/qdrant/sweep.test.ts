import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, afterEach, before, describe, it } from 'node:test';
import { optionalTool } from '../../test/testing/optional-tool.ts';
import { direction, put, remove, search, SPACE, TENANT, update } from '../contract/stores.ts';
import { openStore } from '../open.ts';
import { physicalName, type Store } from '../store.ts';
import { bodyId, generationAt, headId, NO_PASSAGE, type PointPayload } from './layout.ts';
import { Points } from './points.ts';
import { clearMark } from './settle.ts';
import { sweep } from './sweep.ts';
import { useQdrant } from './testing/engine.ts';
import { forwardTo, startFakeServer } from './testing/fake-server.ts';
import { OutgoingTls } from '../../calls/outgoing-tls.ts';
import { parseAddresses } from './transport/node.ts';
import { Transport } from './transport/transport.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const server = useQdrant(() => optionalTool('qdrant-engine'));
const apiKey = process.env['QDRANT_API_KEY'];
const key = apiKey === undefined ? undefined : () => apiKey;

describe('a sweep', { skip: server.skip }, () => {
  const name = `sweep-${randomBytes(6).toString('hex')}`;
  const physical = physicalName(name, SPACE.fingerprint);
  let store: Store;
  let transport: Transport;
  let points: Points;

  before(async () => {
    if (server.skip !== false) return;
    const { url } = server;
    store = await openStore({ kind: 'qdrant', url, ...(apiKey !== undefined && { apiKey }) });
    const defaults = { tls: new OutgoingTls({}), connections: 4, timeoutMs: 10_000, hedgeMs: undefined };
    transport = new Transport({ addresses: parseAddresses(url), apiKey: key, ...defaults });
    points = new Points(transport, physical, false);
    await store.ensureCollection(name, SPACE);
    // The store sweeps at its first write, and not again for minutes.
    await store.writeDocuments(name, [remove('x')]);
  });
  afterEach(async () => {
    if (server.skip !== false) return;
    await points.update([{ delete: { filter: { must_not: [{ has_id: [] }] } } }], {});
  });
  after(async () => {
    if (server.skip !== false) return;
    await store.dropCollection(physical);
    await store.close();
    await transport.close();
  });

  /** Document id and passage of every point, including those that no search finds. */
  async function left(): Promise<string[]> {
    const keys = ['document_id', 'passage', 'tenant', 'settling'];
    const page = await points.scroll({ filter: {}, limit: 1000, keys }, {});
    return page.points
      .map(({ payload: { document_id: id, passage, tenant, settling } }) =>
        [id, passage, tenant === undefined ? 'hidden' : 'found', settling ? 'unsettled' : '']
          .join(' ')
          .trim(),
      )
      .sort();
  }

  /** Changes a point's payload behind the store's back. */
  async function overwrite(id: string, payload: Partial<PointPayload>): Promise<void> {
    await points.update(
      [{ set_payload: { payload: { ...payload }, filter: { must: [{ has_id: [id] }] } } }],
      {},
    );
  }

  /** Adds a passage that a writer staged some milliseconds ago, for a put that has not taken effect. */
  async function stage(documentId: string, passage: number, generation: number): Promise<string> {
    const id = bodyId(TENANT, documentId, passage, generation);
    const document = headId(TENANT, documentId);
    const payload = { document, document_id: documentId, passage, version: 1, generation };
    const json = Buffer.from(JSON.stringify({ id, vector: {}, payload }));
    await points.upsert([{ id, json, what: 'a passage' }], {}, {});
    return id;
  }

  it('leaves documents that are in order', async () => {
    await store.writeDocuments(name, [put('a', [direction(1), direction(2)], { version: 3 })]);
    assert.deepEqual(await left(), ['a 0 found', 'a 1 found']);
    for (const later of [0, 2 * HOUR_MS, 60 * DAY_MS]) await sweep(points, Date.now() + later, {});
    assert.deepEqual(await left(), ['a 0 found', 'a 1 found']);
  });

  it('deletes what was staged more than an hour ago, and nothing younger', async () => {
    const now = Date.now();
    await store.writeDocuments(name, [put('a', [direction(1)])]);
    await stage('a', 1, generationAt(now - HOUR_MS - MINUTE_MS));
    await stage('a', 2, generationAt(now - HOUR_MS + MINUTE_MS));
    await stage('b', 1, generationAt(now - HOUR_MS - MINUTE_MS));
    await sweep(points, now, {});
    assert.deepEqual(await left(), ['a 0 found', 'a 2 hidden']);
  });

  it('leaves what was staged for the put that has taken effect', async () => {
    const now = Date.now();
    const generation = generationAt(now - 2 * HOUR_MS);
    await store.writeDocuments(name, [put('a', [direction(1)])]);
    await overwrite(headId(TENANT, 'a'), { generation });
    await stage('a', 1, generation);
    await sweep(points, now, {});
    assert.deepEqual(await left(), ['a 0 found', 'a 1 hidden']);
  });

  it('finishes a put that its writer left more than a minute ago, and no younger one', async () => {
    const now = Date.now();
    for (const [documentId, age] of [
      ['old', MINUTE_MS + 10_000],
      ['young', MINUTE_MS - 10_000],
    ] as const) {
      const generation = generationAt(now - age);
      await store.writeDocuments(name, [put(documentId, [direction(1)], { version: 1 })]);
      // A confirm came since: the head's version is above that of the passages.
      await overwrite(headId(TENANT, documentId), { generation, settling: true, version: 2 });
      await stage(documentId, 1, generation);
      await stage(documentId, 2, generation - 1);
    }
    await sweep(points, now, {});
    assert.deepEqual(await left(), [
      'old 0 found',
      'old 1 found',
      'young 0 found unsettled',
      'young 1 hidden',
      'young 2 hidden',
    ]);
  });

  it('finds the mark of a put, which no other put takes away', async () => {
    const id = headId(TENANT, 'a');
    await store.writeDocuments(name, [put('a', [direction(1)])]);
    await overwrite(id, { generation: 5, settling: true });
    await points.update(clearMark([id], 4), {});
    assert.deepEqual(await left(), ['a 0 found unsettled']);
    await points.update(clearMark([id], 5), {});
    assert.deepEqual(await left(), ['a 0 found']);
  });

  it('finishes an update that its writer left more than a minute ago, and no younger one', async () => {
    const now = Date.now();
    for (const [documentId, age] of [
      ['old', MINUTE_MS + 10_000],
      ['young', MINUTE_MS - 10_000],
    ] as const) {
      await store.writeDocuments(name, [
        put(documentId, [direction(1), direction(2)], { metadata: { n: 1 } }),
      ]);
      const changed = {
        revision: generationAt(now - age),
        version: 2,
        metadata: { n: 2 },
        copying: true,
      } as const;
      await overwrite(headId(TENANT, documentId), { ...changed, generation: 5 });
      const body = {
        must: [
          { key: 'passage', range: { gte: 1 } },
          { key: 'document_id', match: { value: documentId } },
        ],
      };
      await points.update([{ set_payload: { payload: { generation: 5 }, filter: body } }], {});
    }
    await sweep(points, now, {});
    const passages = async (n: number) =>
      (await store.count(name, TENANT, { must: [{ field: 'metadata.n', equals: n }] })).passages;
    assert.deepEqual([await passages(1), await passages(2)], [1, 3]);
    const versions = (await search(store, name, direction(2))).map(({ documentId, version }) => [
      documentId,
      version,
    ]);
    assert.deepEqual(versions.sort(), [
      ['old', 2],
      ['young', 0],
    ]);
  });

  it('copies nothing over what a later update has copied', async () => {
    const id = headId(TENANT, 'a');
    await store.writeDocuments(name, [
      put('a', [direction(1), direction(2)], { version: 1, metadata: { n: 1 } }),
    ]);
    const later = { revision: generationAt(Date.now() + HOUR_MS), version: 1, metadata: { n: 3 } };
    const body = { must: [{ key: 'passage', range: { gte: 1 } }] };
    await points.update([{ set_payload: { payload: later, filter: body } }], {});
    await overwrite(id, { revision: later.revision - 1, metadata: { n: 2 }, copying: true });
    await sweep(points, Date.now() + 2 * HOUR_MS, {});
    assert.equal(
      (await store.count(name, TENANT, { must: [{ field: 'metadata.n', equals: 3 }] })).passages,
      1,
    );
    assert.deepEqual((await store.scroll(name, TENANT, { limit: 1 })).documents[0]?.metadata, { n: 2 });
  });

  it('buries what has expired, with its version, and forgets it like a delete', async () => {
    const now = Date.now();
    const expiresAt = now + HOUR_MS;
    await store.writeDocuments(name, [
      put('a', [direction(1), direction(2)], { version: 3, expiresAt }),
      put('b', [direction(3)], { expiresAt }),
      put('later', [direction(4), direction(5)], { version: 3, expiresAt: expiresAt + 1 }),
      put('kept', [direction(6), direction(7)], { version: 3, expiresAt }),
    ]);
    await store.writeDocuments(name, [update('kept', { version: 3 })]);
    await sweep(points, expiresAt - 1, {});
    assert.equal((await left()).length, 7);
    await sweep(points, expiresAt, {});
    const kept = ['kept 0 found', 'kept 1 found', 'later 0 found', 'later 1 found'];
    assert.deepEqual(await left(), ['a 0 hidden', 'b 0 hidden', ...kept]);
    assert.deepEqual((await store.scrollDeletes(name, TENANT, { limit: 5 })).deletes, [
      { tenant: TENANT, documentId: 'a', version: 3 },
    ]);
    await sweep(points, now + 2 * HOUR_MS + MINUTE_MS, {});
    assert.deepEqual(
      (await left()).filter((one) => one.endsWith('hidden')).map((one) => one[0]),
      ['a', 'l'],
    );
  });

  it('buries nothing that gets another expiry, or another put, at that moment', async (t) => {
    const now = Date.now();
    const expiresAt = now + HOUR_MS;
    const due = (documentId: string) =>
      put(documentId, [direction(1), direction(2)], { version: 3, expiresAt });
    await store.writeDocuments(name, [due('updated'), due('clock'), due('put'), due('over')]);
    let armed = true;
    const proxy = await startFakeServer(t, (seen) => {
      const forward = forwardTo(server.url);
      if (seen.method !== 'PUT' || !armed) return forward;
      armed = false;
      return (response) => {
        void store
          .writeDocuments(name, [
            update('updated', { version: 3, expiresAt: expiresAt + 1 }),
            put('put', [direction(3)], { version: 3 }),
          ])
          // By a process whose clock is behind.
          .then(() =>
            overwrite(headId(TENANT, 'clock'), { revision: generationAt(now), expires_at: expiresAt + 1 }),
          )
          .then(() => (forward as (...given: unknown[]) => void)(response, seen));
      };
    });
    const defaults = { tls: new OutgoingTls({}), connections: 4, timeoutMs: 10_000, hedgeMs: undefined };
    const behind = new Transport({ addresses: parseAddresses(proxy.url), apiKey: key, ...defaults });
    t.after(() => behind.close());
    await sweep(new Points(behind, physical, false), expiresAt, {});
    assert.equal(armed, false, 'the writes came in between');
    assert.deepEqual(await left(), [
      'clock 0 found',
      'clock 1 found',
      'over 0 hidden',
      'put 0 found',
      'updated 0 found',
      'updated 1 found',
    ]);
  });

  it('leaves a put that was under way when its predecessor was buried', async (t) => {
    let armed = true;
    const proxy = await startFakeServer(t, (seen) => {
      const forward = forwardTo(server.url);
      // The writer's head: neither its other passage, nor the tombstone of its own sweep.
      if (seen.method !== 'PUT' || !seen.body.includes('"passages":2') || !armed) return forward;
      armed = false;
      return (response) => {
        void sweep(points, Date.now(), {}).then(() =>
          (forward as (...given: unknown[]) => void)(response, seen),
        );
      };
    });
    for (const [documentId, version] of [
      ['unversioned', 0],
      ['versioned', 3],
    ] as const) {
      armed = false;
      await store.writeDocuments(name, [
        put(documentId, [direction(1), direction(2)], { version, expiresAt: 1 }),
      ]);
      armed = true;
      const writer = await openStore({
        kind: 'qdrant',
        url: proxy.url,
        ...(apiKey !== undefined && { apiKey }),
      });
      t.after(() => writer.close());
      const again = put(documentId, [direction(3), direction(4)], { version });
      assert.deepEqual(await writer.writeDocuments(name, [again]), [{ outcome: 'indexed' }]);
      assert.equal(armed, false, 'the burial came in between');
      assert.ok((await store.lookupDocuments(name, [{ tenant: TENANT, documentId }]))[0], documentId);
    }
    await sweep(points, Date.now(), {});
    const found = ['unversioned 0 found', 'unversioned 1 found', 'versioned 0 found', 'versioned 1 found'];
    assert.deepEqual(await left(), found);
  });

  it('forgets markers after a month', async () => {
    const id = bodyId('', 'marker', 0, 0);
    const payload = { passage: NO_PASSAGE, generation: generationAt(Date.now()) };
    await points.upsert(
      [{ id, json: Buffer.from(JSON.stringify({ id, vector: {}, payload })), what: '' }],
      {},
      {},
    );
    await sweep(points, Date.now() + 30 * DAY_MS, {});
    assert.equal((await left()).length, 1);
    await sweep(points, Date.now() + 32 * DAY_MS, {});
    assert.deepEqual(await left(), []);
  });

  const deletes: [string, number, number, boolean][] = [
    ['keeps a delete without a version for an hour', 0, HOUR_MS - MINUTE_MS, true],
    ['forgets it then', 0, HOUR_MS + MINUTE_MS, false],
    ['keeps a delete with a version for thirty days', 1, 30 * DAY_MS - MINUTE_MS, true],
    ['forgets that then', 1, 30 * DAY_MS + MINUTE_MS, false],
  ];
  for (const [what, version, age, kept] of deletes) {
    it(what, async () => {
      await store.writeDocuments(name, [put('a', [direction(1)], { version }), put('b', [direction(2)])]);
      await store.writeDocuments(name, [remove('a', version)]);
      await sweep(points, Date.now() + age, {});
      assert.deepEqual(await left(), [...(kept ? ['a 0 hidden'] : []), 'b 0 found']);
    });
  }
});
