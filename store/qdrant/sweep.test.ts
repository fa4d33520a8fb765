import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, afterEach, before, describe, it } from 'node:test';
import { optionalTool } from '../../test/testing/optional-tool.ts';
import { direction, put, remove, SPACE, TENANT } from '../contract/stores.ts';
import { openStore } from '../open.ts';
import { physicalName, type Store } from '../store.ts';
import { bodyId, generationAt, headId, type PointPayload } from './layout.ts';
import { Points } from './points.ts';
import { clearMark } from './settle.ts';
import { sweep } from './sweep.ts';
import { useQdrant } from './testing/engine.ts';
import { parseAddresses } from './transport/node.ts';
import { Transport } from './transport/transport.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const server = useQdrant(() => optionalTool('qdrant-engine'));
const apiKey = process.env['QDRANT_API_KEY'];

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
    const defaults = { ca: undefined, connections: 4, timeoutMs: 10_000, hedgeMs: undefined };
    transport = new Transport({ addresses: parseAddresses(url), apiKey, ...defaults });
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
