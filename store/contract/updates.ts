import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { confirm, matching, put, remove, search, stored, type Stores, TENANT, update } from './stores.ts';

const key = (documentId: string) => ({ tenant: TENANT, documentId });

/** Two passages, a whole text, terms and metadata. */
function priced(documentId: string, price: number, version = 0) {
  const text = `${documentId} first. ${documentId} second.`;
  const end = documentId.length + 7;
  const document = put(documentId, [], { version, text, metadata: { price, old: true } });
  return {
    ...document,
    passages: [
      {
        vector: Float32Array.of(1, 0, 0, 0),
        text: text.slice(0, end),
        span: { start: 0, end },
        sparse: { indices: [7], values: [0.5] },
      },
      {
        vector: Float32Array.of(0, 1, 0, 0),
        text: text.slice(end + 1),
        span: { start: end + 1, end: text.length },
      },
    ],
  };
}

export function updateContract(stores: Stores): void {
  describe('an update', () => {
    it('keeps every digit of a number, as a put does', async () => {
      const name = await stores.collection();
      const first = {
        ints: [2 ** 53 - 1, -(2 ** 53 - 1), 0],
        reals: [0.1 + 0.2, 117.63331139400017, 1.5777777777770001, -8.990567403888024e-203, 1.5e-300],
        deep: { least: Number.MIN_VALUE, most: Number.MAX_VALUE, large: 1.2345678901234568e25 },
        price: 10,
      };
      const second = { ...first, reals: [0.9215686321258545, 17.922589369123898], price: 20 };
      await stores.first.writeDocuments(name, [priced('a', 1, 1)]);
      for (const [version, metadata] of [first, second, { price: 0.5 }, first].entries()) {
        const write =
          version < 3 ? update('a', { version: version + 2, metadata }) : { ...priced('a', 1, 9), metadata };
        await stores.second.writeDocuments(name, [write]);
        for (const store of [stores.first, stores.second]) {
          const [document] = await store.readDocuments(name, [key('a')], {});
          assert.deepEqual(document?.metadata, metadata);
          const hits = [
            ...(await search(store, name, [1, 0, 0, 0])),
            ...(await search(store, name, [0, 1, 0, 0])),
          ];
          assert.deepEqual(
            hits.map(({ passage, metadata: own }) => [passage, own]),
            [
              [0, metadata],
              [1, metadata],
            ],
          );
        }
      }
    });

    it('replaces metadata, content hash and version, and keeps the rest', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [priced('a', 10, 1), priced('b', 20, 1)]);
      const [before] = await stores.first.readDocuments(name, [key('a')], { withVectors: true });
      // A search in between: what the store keeps in memory has to follow.
      assert.deepEqual(await matching(stores.second, name, [{ field: 'metadata.price', equals: 10 }]), ['a']);
      assert.deepEqual(
        await stores.first.writeDocuments(name, [update('a', { version: 2, metadata: { price: 30 } })]),
        [{ outcome: 'updated' }],
      );
      for (const store of [stores.first, stores.second]) {
        assert.deepEqual(await matching(store, name, [{ field: 'metadata.price', equals: 10 }]), []);
        assert.deepEqual(await matching(store, name, [{ field: 'metadata.price', equals: 30 }]), ['a']);
        assert.deepEqual(await matching(store, name, [{ field: 'metadata.old', exists: true }]), ['b']);
        assert.deepEqual(await matching(store, name, [{ field: 'version', equals: 2 }]), ['a']);
        const hit = (await search(store, name, [0, 1, 0, 0])).find(({ documentId }) => documentId === 'a');
        assert.deepEqual(
          [hit?.metadata, hit?.version, hit?.passage, hit?.title, hit?.text],
          [{ price: 30 }, 2, 1, 'Title of a', 'a second.'],
        );
        const terms = await store.search(name, {
          tenant: TENANT,
          sparse: { indices: [7], values: [1] },
          filter: { must: [{ field: 'metadata.price', equals: 30 }] },
          limit: 5,
        });
        assert.deepEqual(
          terms.map(({ documentId, passage, metadata }) => [documentId, passage, metadata]),
          [['a', 0, { price: 30 }]],
        );
        const [after] = await store.readDocuments(name, [key('a')], { withVectors: true });
        assert.deepEqual(after, {
          ...before,
          version: 2,
          contentHash: 'new hash of a',
          metadata: { price: 30 },
        });
      }
      assert.deepEqual(await stores.second.lookupDocuments(name, [key('a')]), [
        stored('a', { version: 2, contentHash: 'new hash of a', textOmitted: false, passages: 2 }),
      ]);
      assert.deepEqual(await stores.second.count(name, TENANT), { documents: 2, passages: 4 });
    });

    it('needs the encoding hash or the content hash that it expects', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]], { version: 1, metadata: { n: 0 } })]);
      const attempts = [
        update('a', { version: 1, expected: { encodingHash: 'another' }, metadata: { n: 1 } }),
        update('a', { version: 2, expected: { contentHash: 'another' }, metadata: { n: 2 } }),
        update('a', { version: 3, expected: { contentHash: 'encoding hash of a' }, metadata: { n: 3 } }),
        update('nobody', { version: 3 }),
      ];
      assert.deepEqual(
        await stores.first.writeDocuments(name, attempts),
        attempts.map(() => ({ outcome: 'changed' })),
      );
      assert.deepEqual(await stores.second.lookupDocuments(name, [key('a'), key('nobody')]), [
        stored('a', { version: 1 }),
        undefined,
      ]);
      assert.deepEqual((await search(stores.second, name, [1, 0, 0, 0]))[0]?.metadata, { n: 0 });
      assert.deepEqual(
        await stores.second.writeDocuments(name, [
          update('a', { version: 1, expected: { contentHash: 'hash of a' }, metadata: { n: 4 } }),
          // The content is another one now, the title and text are not.
          update('a', { version: 1, expected: { contentHash: 'hash of a' }, metadata: { n: 5 } }),
          update('a', { version: 1, contentHash: 'third', metadata: { n: 6 } }),
        ]),
        [{ outcome: 'updated' }, { outcome: 'changed' }, { outcome: 'updated' }],
      );
      assert.deepEqual((await search(stores.first, name, [1, 0, 0, 0]))[0]?.metadata, { n: 6 });
    });

    it('obeys the version rule', async () => {
      const name = await stores.collection();
      assert.deepEqual(
        await stores.first.writeDocuments(name, [
          put('a', [[1, 0, 0, 0]], { version: 3, metadata: { n: 0 } }),
          update('a', { version: 2, metadata: { n: 1 } }),
          update('a', { version: 2, expected: { contentHash: 'another' } }),
          update('a', { version: 5, metadata: { n: 2 } }),
          put('a', [[1, 0, 0, 0]], { version: 4 }),
          confirm('a', 6, 'new hash of a'),
          update('a', { version: 5, metadata: { n: 3 } }),
          put('b', [[1, 0, 0, 0]], { version: 1 }),
          remove('b', 2),
          update('b', { version: 1 }),
          update('b', { version: 3 }),
        ]),
        [
          { outcome: 'indexed' },
          { outcome: 'stale', storedVersion: 3 },
          { outcome: 'stale', storedVersion: 3 },
          { outcome: 'updated' },
          { outcome: 'stale', storedVersion: 5 },
          { outcome: 'unchanged' },
          { outcome: 'stale', storedVersion: 6 },
          { outcome: 'indexed' },
          { outcome: 'deleted' },
          { outcome: 'stale', storedVersion: 2 },
          { outcome: 'changed' },
        ],
      );
      const hits = await search(stores.second, name, [1, 0, 0, 0]);
      assert.deepEqual(
        hits.map(({ documentId, version, metadata }) => [documentId, version, metadata]),
        [['a', 6, { n: 2 }]],
      );
    });

    it('follows a put of the same write, and a put follows it', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [
        put('a', [[1, 0, 0, 0]], { metadata: { n: 1 } }),
        update('a', { metadata: { n: 2 } }),
        put('b', [[1, 0, 0, 0]], { metadata: { n: 1 } }),
        update('b', { metadata: { n: 2 } }),
        put('b', [[1, 0, 0, 0]], { metadata: { n: 3 } }),
      ]);
      assert.deepEqual(await matching(stores.second, name, [{ field: 'metadata.n', equals: 2 }]), ['a']);
      assert.deepEqual(await matching(stores.second, name, [{ field: 'metadata.n', equals: 3 }]), ['b']);
    });

    it('lets one of two patches of the same content win', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]], { metadata: { n: 0 } })]);
      const patch = (n: number) =>
        update('a', {
          expected: { contentHash: 'hash of a' },
          contentHash: `patched ${n}`,
          metadata: { n },
        });
      const results = await Promise.all(
        [1, 2, 3, 4, 5, 6].map((n) =>
          (n % 2 === 0 ? stores.first : stores.second).writeDocuments(name, [patch(n)]),
        ),
      );
      const outcomes = results.map(([result]) => result!.outcome);
      assert.deepEqual(outcomes.toSorted(), [...Array.from({ length: 5 }, () => 'changed'), 'updated']);
      const winner = outcomes.indexOf('updated') + 1;
      assert.deepEqual((await search(stores.first, name, [1, 0, 0, 0]))[0]?.metadata, { n: winner });
    });

    it('refuses nothing but what a put refuses', async () => {
      const name = await stores.collection();
      await assert.rejects(stores.first.writeDocuments(name, [update('a', { version: -1 })]), /version/);
      await assert.rejects(stores.first.writeDocuments(name, [update('a', { expiresAt: 1.5 })]), /expiry/);
      await assert.rejects(stores.first.writeDocuments(name, [update('')]), /empty/);
    });
  });
}
