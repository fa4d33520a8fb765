import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MAX_ANALYSIS_BYTES } from '../names.ts';
import { type CountedWords, physicalName, type Store } from '../store.ts';
import type { DocumentWrite } from '../writes.ts';
import { direction, put, rejects, remove, search, SPACE, sparse, type Stores, TENANT } from './stores.ts';

const ALL = { limit: 1000 };

/** Words with their counts, as a store has them now. */
async function wordsOf(
  store: Store,
  collection: string,
  tenant = TENANT,
  request = ALL,
): Promise<Record<string, number>> {
  const { counted } = await store.words(collection, tenant, request);
  return read(counted!);
}

function read({ words, passages }: Required<CountedWords>['counted']): Record<string, number> {
  const all = words === '' ? [] : words.split('\n');
  assert.equal(all.length, passages.length);
  return Object.fromEntries(all.map((word, index) => [word, passages[index]!]));
}

/** A document whose passages have these words. */
function worded(documentId: string, passages: readonly string[][], rest: object = {}): DocumentWrite {
  const vectors = passages.map((_, index) => direction(index));
  const made = put(documentId, vectors, rest);
  return {
    ...made,
    passages: made.passages.map((passage, index) => ({ ...passage, words: passages[index]! })),
  };
}

export function wordContract(stores: Stores): void {
  describe('words', () => {
    it('are counted by passages, of each tenant apart, as documents come, change and go', async () => {
      const { first, second } = stores;
      const collection = await stores.collection();
      assert.deepEqual(await wordsOf(first, collection), {});
      await first.writeDocuments(collection, [
        worded('a', [['dog', 'cat'], ['dog']]),
        worded('b', [['dog', '\u0001dog', '犬', "o'clock", 'naïve']]),
        worded('c', [['secret']], { tenant: 'other' }),
      ]);
      const all = { dog: 3, cat: 1, '\u0001dog': 1, 犬: 1, "o'clock": 1, naïve: 1 };
      assert.deepEqual(await wordsOf(first, collection), all);
      assert.deepEqual(await wordsOf(second, collection), all);
      assert.deepEqual(await wordsOf(second, collection, 'other'), { secret: 1 });
      assert.deepEqual(await wordsOf(second, collection, 'nobody'), {});
      await second.writeDocuments(collection, [worded('a', [['bird']], { version: 1 }), remove('b', 1)]);
      assert.deepEqual(await wordsOf(first, collection), { bird: 1 });
      await first.deleteByFilter(collection, 'other', { must: [{ field: 'document_id', equals: 'c' }] });
      assert.deepEqual(await wordsOf(first, collection, 'other'), {});
    });

    it('of a document that is confirmed or updated stay, those of a stale one do not come', async () => {
      const { first } = stores;
      const collection = await stores.collection();
      await first.writeDocuments(collection, [worded('a', [['dog']], { version: 2 })]);
      await first.writeDocuments(collection, [
        worded('a', [['late']], { version: 1 }),
        { kind: 'confirm', tenant: TENANT, documentId: 'a', version: 3, contentHash: 'hash of a' },
      ]);
      assert.deepEqual(await wordsOf(first, collection), { dog: 1 });
    });

    it('go with their tenant and nothing of them remains', async () => {
      const { first } = stores;
      const collection = await stores.collection();
      await first.writeDocuments(collection, [
        worded('a', [['dog']]),
        worded('b', [['dog']], { tenant: 'b' }),
      ]);
      await first.dropTenant(collection, TENANT);
      assert.deepEqual(await wordsOf(first, collection), {});
      assert.equal(await first.remains(collection, TENANT), 0);
      assert.deepEqual(await wordsOf(first, collection, 'b'), { dog: 1 });
    });

    it('are bounded, and the most frequent ones stay', async () => {
      const { first } = stores;
      const collection = await stores.collection();
      await first.writeDocuments(collection, [
        worded('a', [['dog', 'cat', 'rare']]),
        worded('b', [['dog', 'cat']]),
        worded('c', [['dog']]),
      ]);
      assert.deepEqual(await wordsOf(first, collection, TENANT, { limit: 2 }), { cat: 2, dog: 3 });
      await rejects(first.words(collection, TENANT, { limit: 0 }), 'STORE_INVALID_ARGUMENT', /limit/);
    });

    it('are not sent again to who knows them', async () => {
      const { first } = stores;
      const collection = await stores.collection();
      await first.writeDocuments(collection, [worded('a', [['dog']])]);
      const known = await first.words(collection, TENANT, ALL);
      const again = await first.words(collection, TENANT, { ...ALL, known: known.stamp });
      // A store that can't tell sends them.
      if (again.counted) assert.deepEqual(read(again.counted), { dog: 1 });
      else assert.equal(again.stamp, known.stamp);
      await first.writeDocuments(collection, [worded('b', [['cat']])]);
      const changed = await first.words(collection, TENANT, { ...ALL, known: known.stamp });
      assert.deepEqual(read(changed.counted!), { cat: 1, dog: 1 });
    });

    it('come back with vectors, and a document can get other terms where it is what was read', async () => {
      const { first } = stores;
      const collection = await stores.collection();
      await first.writeDocuments(collection, [worded('a', [['dog'], ['cat']])]);
      const key = { tenant: TENANT, documentId: 'a' };
      const [plain] = await first.readDocuments(collection, [key]);
      assert.deepEqual(
        plain?.passages.map(({ words }) => words),
        [undefined, undefined],
      );
      const [whole] = await first.readDocuments(collection, [key], { withVectors: true });
      assert.deepEqual(
        whole?.passages.map(({ words }) => words),
        [['dog'], ['cat']],
      );
      const again = (contentHash: string): DocumentWrite => ({
        ...(worded('a', [['hound'], ['cat']]) as Extract<DocumentWrite, { kind: 'put' }>),
        expected: { contentHash },
      });
      assert.deepEqual(await first.writeDocuments(collection, [again('of another')]), [
        { outcome: 'changed' },
      ]);
      assert.deepEqual(await wordsOf(first, collection), { cat: 1, dog: 1 });
      assert.deepEqual(await first.writeDocuments(collection, [again('hash of a')]), [
        { outcome: 'indexed' },
      ]);
      assert.deepEqual(await wordsOf(first, collection), { cat: 1, hound: 1 });
      const gone: DocumentWrite = { ...again('hash of b'), documentId: 'b' };
      assert.deepEqual(await first.writeDocuments(collection, [gone]), [{ outcome: 'changed' }]);
      assert.equal((await search(first, collection, direction(0))).length, 1);
    });

    for (const [what, words, message] of [
      ['empty', [''], /empty/],
      ['of two lines', ['a\nb'], /control character/],
      ['of a lone surrogate', ['\ud800'], /surrogate/],
      ['there twice', ['dog', 'dog'], /twice/],
    ] as const) {
      it(`that are ${what} are refused`, async () => {
        const collection = await stores.collection();
        const write = worded('a', [[...words]]);
        await rejects(stores.first.writeDocuments(collection, [write]), 'STORE_INVALID_ARGUMENT', message);
      });
    }
  });

  describe('the analysis of a collection', () => {
    it('is what it was made with, for every process and after a reopening, until it is changed', async () => {
      const name = stores.name();
      const analysis = '{"as it":"was: ΰ"}';
      const made = await stores.first.ensureCollection(name, { ...SPACE, analysis });
      assert.equal(made.analysis, analysis);
      assert.deepEqual(made.space, SPACE, 'it is no part of the space');
      await stores.second.ensureCollection(name, { ...SPACE, analysis: 'later' });
      assert.equal((await stores.second.findCollection(name)).analysis, analysis);
      await stores.first.writeDocuments(name, [
        {
          ...put('a', [[1, 0, 0, 0]]),
          passages: [{ vector: Float32Array.of(1, 0, 0, 0), sparse: sparse({ 7: 1 }) }],
        },
      ]);
      await stores.second.setAnalysis(name, 'another');
      await stores.first.setAnalysis(name, 'a third');
      const reopened = await stores.open();
      try {
        assert.equal((await reopened.findCollection(name)).analysis, 'a third');
        const listed = await reopened.listCollections();
        assert.equal(listed.find((one) => one.name === name)?.analysis, 'a third');
      } finally {
        await reopened.close();
      }
      assert.equal((await stores.first.count(name, TENANT)).documents, 1);
      await stores.first.dropCollection(physicalName(name, SPACE.fingerprint));
      assert.equal((await stores.first.ensureCollection(name, SPACE)).analysis, undefined);
      await rejects(stores.first.setAnalysis(stores.name(), 'x'), 'COLLECTION_NOT_FOUND');
      await rejects(stores.first.words(stores.name(), TENANT, ALL), 'COLLECTION_NOT_FOUND');
      const large = 'x'.repeat(MAX_ANALYSIS_BYTES + 1);
      await rejects(stores.first.setAnalysis(name, large), 'STORE_INVALID_ARGUMENT');
    });
  });
}
