import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { passageTexts } from '../document.ts';
import type { DocumentWrite } from '../writes.ts';
import { put, remove, search, type Stores, TENANT } from './stores.ts';

/** A put whose texts, title and metadata all tell which one it is. */
function labelled(documentId: string, label: string, passages: number, version = 0): DocumentWrite {
  const write = put(documentId, [], {
    version,
    title: label,
    contentHash: label,
    metadata: { label, passages },
  });
  return {
    ...write,
    passages: Array.from({ length: passages }, (_, index) => ({
      vector: Float32Array.of(1, index, passages, 0),
      text: `${label}/${index}`,
    })),
  };
}

const textsOf = (label: string, passages: number) =>
  Array.from({ length: passages }, (_, index) => `${label}/${index}`);

export function raceContract(stores: Stores): void {
  describe('writers and readers at the same time', () => {
    it('see each document as a single put left it', async () => {
      const name = await stores.collection();
      const ids = ['a', 'b', 'c'];
      const rounds = 12;
      await stores.first.writeDocuments(
        name,
        ids.map((id) => labelled(id, `${id} first`, 3)),
      );
      const done = new AbortController();
      const write = async (writer: number) => {
        const store = writer === 0 ? stores.first : stores.second;
        for (let round = 0; round < rounds; round++) {
          const steps = ids.map((id, index) =>
            labelled(id, `${id} ${writer}.${round}`, 1 + ((round + index + writer) % 5)),
          );
          const results = await store.writeDocuments(name, steps);
          assert.deepEqual(
            results.map(({ outcome }) => outcome),
            ids.map(() => 'indexed'),
          );
        }
      };
      const read = async () => {
        while (!done.signal.aborted) {
          const page = await stores.second.scroll(name, TENANT, { limit: 10 });
          assert.equal(page.documents.length, ids.length);
          for (const document of page.documents) {
            const { title, metadata } = document;
            assert.equal(metadata['label'], title);
            assert.deepEqual(passageTexts(document), textsOf(title, metadata['passages'] as number));
          }
          const hits = await search(stores.first, name, [1, 2, 3, 0]);
          assert.deepEqual(hits.map(({ documentId }) => documentId).sort(), ids);
          for (const { title, text, passage, metadata } of hits) {
            assert.equal(text, `${title}/${passage}`);
            assert.equal(metadata?.['label'], title);
          }
        }
      };
      const reading = read();
      await Promise.all([write(0), write(1)]);
      done.abort();
      await reading;

      const { documents } = await stores.first.scroll(name, TENANT, { limit: 10 });
      const passages = documents.reduce((sum, { passages: own }) => sum + own.length, 0);
      assert.deepEqual(await stores.first.count(name, TENANT), { documents: ids.length, passages });
    });

    it('leave the highest version, put or delete, and nothing else', async () => {
      const name = await stores.collection();
      const versions = Array.from({ length: 24 }, (_, index) => ((index * 7) % 24) + 1);
      await Promise.all(
        versions.map((version, index) => {
          const store = index % 2 === 0 ? stores.first : stores.second;
          const last = labelled('kept', `put ${version}`, 1 + (version % 4), version);
          const gone =
            version % 3 === 0 ? remove('gone', version) : labelled('gone', 'x', version % 4 || 2, version);
          return store.writeDocuments(name, [last, gone]);
        }),
      );
      const { documents } = await stores.second.scroll(name, TENANT, { limit: 10 });
      assert.deepEqual(
        documents.map((document) => [document.documentId, document.version, passageTexts(document)]),
        [['kept', 24, ['put 24/0']]],
      );
      assert.deepEqual(await stores.second.count(name, TENANT), { documents: 1, passages: 1 });
      assert.deepEqual(await stores.second.writeDocuments(name, [labelled('gone', 'late', 2, 23)]), [
        { outcome: 'stale', storedVersion: 24 },
      ]);
    });
  });

  describe('a bulk load', () => {
    it('does not change what writes and searches do, alone or beside another load', async () => {
      const name = await stores.collection();
      const load = await stores.first.beginBulk(name);
      const other = await stores.second.beginBulk(name);
      await stores.first.writeDocuments(name, [labelled('a', 'a', 3)]);
      await stores.second.writeDocuments(name, [labelled('b', 'b', 1)]);
      assert.equal((await search(stores.first, name, [1, 0, 0, 0])).length, 2);
      await load.end();
      await stores.second.writeDocuments(name, [labelled('c', 'c', 2)]);
      await other.end();
      assert.deepEqual(await stores.first.count(name, TENANT), { documents: 3, passages: 6 });
      assert.equal((await search(stores.second, name, [1, 0, 0, 0])).length, 3);
    });
  });
}
