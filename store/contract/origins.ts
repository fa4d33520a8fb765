import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Ingested } from '../document.ts';
import { isCovered } from '../freshness.ts';
import { confirm, matching, put, rejects, remove, type Stores, TENANT, update } from './stores.ts';

const TRACE = '0123456789abcdef0123456789abcdef';
const FIRST: Ingested = { at: 1_700_000_000_123, sequence: 7, trace: TRACE };
const LATER: Ingested = { at: 1_700_000_999_999, sequence: 1 };

const LARGE = [
  [1, 0, 0, 0],
  [0, 1, 0, 0],
  [0, 0, 1, 0],
];

export function originContract(stores: Stores): void {
  describe('origins', () => {
    const origin = async (name: string, documentId: string, tenant = TENANT) =>
      (await stores.second.findOrigins(name, [{ tenant, documentId }]))[0];
    const read = async (name: string, documentId: string) => {
      const [document] = await stores.second.readDocuments(name, [{ tenant: TENANT, documentId }]);
      return document!;
    };

    it('say how each document came in, in the order asked for', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [
        put('a', LARGE, { ingested: FIRST }),
        put('b', LARGE, { ingested: LATER }),
        put('silent', LARGE),
        put('gone', LARGE, { ingested: FIRST, version: 1 }),
        put('over', LARGE, { ingested: FIRST, expiresAt: 1 }),
        remove('gone', 2),
      ]);
      const keys = ['b', 'nobody', 'a', 'silent', 'gone', 'over', 'b'];
      const found = await stores.second.findOrigins(
        name,
        keys.map((documentId) => ({ tenant: TENANT, documentId })),
      );
      assert.deepEqual(
        found.map((one) => one && one.ingested),
        [LATER, undefined, FIRST, undefined, undefined, undefined, LATER],
      );
      assert.deepEqual(
        found.map((one) => one?.position !== undefined),
        [true, false, true, true, false, false, true],
      );
      assert.equal(await origin(name, 'a', 'another tenant'), undefined);
      assert.deepEqual(await stores.second.findOrigins(name, []), []);
    });

    it('are of the last put or update, and stay where a document is confirmed', async () => {
      const name = await stores.collection();
      const write = async (...writes: Parameters<typeof stores.first.writeDocuments>[1]) =>
        (await stores.first.writeDocuments(name, writes)).map(({ outcome }) => outcome);
      for (const [id, passages] of [
        ['small', LARGE.slice(0, 1)],
        ['large', LARGE],
      ] as const) {
        assert.deepEqual(await write(put(id, passages, { ingested: FIRST })), ['indexed']);
        const before = await origin(name, id);
        assert.deepEqual(await write(confirm(id, 3)), ['unchanged']);
        assert.deepEqual(await origin(name, id), before, 'a confirm leaves it');
        assert.deepEqual(await write(update(id, { version: 3, ingested: LATER })), ['updated']);
        assert.deepEqual((await origin(name, id))?.ingested, LATER);
        assert.deepEqual((await read(name, id)).ingested, LATER);
        const silent = update(id, { version: 3, contentHash: 'third' });
        assert.deepEqual(await write(silent), ['updated']);
        assert.equal((await origin(name, id))?.ingested, undefined, 'an update that says nothing');
        assert.equal((await read(name, id)).ingested, undefined);
        // Both in one write: the update has the last word.
        const both = [
          put(id, passages, { version: 4, ingested: LATER }),
          update(id, { version: 4, ingested: FIRST }),
        ];
        assert.deepEqual(await write(...both), ['indexed', 'updated']);
        assert.deepEqual((await origin(name, id))?.ingested, FIRST);
        assert.deepEqual(await write(put(id, passages, { version: 3, ingested: LATER })), ['stale']);
        assert.deepEqual((await origin(name, id))?.ingested, FIRST, 'a stale put leaves it');
      }
    });

    it('say which freshness has the document', async () => {
      const name = await stores.collection();
      const freshness = [await stores.first.freshness(name, { tenant: TENANT })];
      await stores.first.writeDocuments(name, [put('a', LARGE), put('b', LARGE)]);
      freshness.push(await stores.second.freshness(name, { tenant: TENANT }));
      await stores.second.writeDocuments(name, [update('a'), put('c', LARGE)]);
      freshness.push(await stores.first.freshness(name, { tenant: TENANT }));
      const covered = async (id: string) => {
        const { position } = (await origin(name, id))!;
        return freshness.map((one) => isCovered(position!, one));
      };
      assert.deepEqual(await covered('a'), [false, false, true]);
      assert.deepEqual(await covered('b'), [false, true, true]);
      assert.deepEqual(await covered('c'), [false, false, true]);
    });

    it('are read with the whole document, and are no metadata', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [
        put('a', LARGE, { ingested: FIRST, metadata: { kind: 'x' } }),
        put('own', LARGE, { ingested: FIRST, metadata: { ingested: 'mine', position: 5 } }),
      ]);
      const { documents } = await stores.second.scroll(name, TENANT, { limit: 10 });
      for (const document of [...documents, await read(name, 'a')])
        assert.deepEqual(document.ingested, FIRST);
      assert.deepEqual((await read(name, 'a')).metadata, { kind: 'x' });
      assert.deepEqual((await read(name, 'own')).metadata, { ingested: 'mine', position: 5 });
      const withField = (field: string) => matching(stores.second, name, [{ field, exists: true }]);
      assert.deepEqual(await withField('metadata.ingested'), ['own']);
      for (const field of ['metadata.ingested_at', 'metadata.trace', 'metadata.sequence']) {
        assert.deepEqual(await withField(field), []);
      }
      for (const field of ['ingested', 'ingested.at', 'position']) {
        await rejects(withField(field), 'STORE_INVALID_ARGUMENT', /field/);
      }
    });

    it('that no store could keep are refused', async () => {
      const name = await stores.collection();
      for (const [bad, message] of [
        [{ ...FIRST, at: Number.NaN }, /"at".*NaN/],
        [{ ...FIRST, at: -1 }, /"at".*-1/],
        [{ ...FIRST, sequence: 1.5 }, /"sequence".*1\.5/],
        [{ ...FIRST, trace: 'x' }, /trace/],
      ] as const) {
        const write = stores.first.writeDocuments(name, [put('a', LARGE, { ingested: bad })]);
        await rejects(write, 'STORE_INVALID_ARGUMENT', message);
      }
      assert.equal(await origin(name, 'a'), undefined);
    });
  });
}
