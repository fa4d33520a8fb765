import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { FullDocument, SparseVector } from '../document.ts';
import { ids, put, remove, type Stores, TENANT } from './stores.ts';

const key = (documentId: string, tenant = TENANT) => ({ tenant, documentId });

/** Passages that overlap, cut from one text, with everything that a passage can have. */
function overlapping(documentId: string) {
  const text = `${documentId}: one two 😀 three\n\n four five`;
  const spans = [
    { start: 0, end: 15 },
    { start: 8, end: text.length },
  ];
  const passages = spans.map((span, index) => ({
    vector: Float32Array.of(3, 4 * index, 0, 0),
    sparse: { indices: [9, 4 + index], values: [0.1, 2] },
    text: text.slice(span.start, span.end),
    span,
  }));
  return { ...put(documentId, [], { text, version: 3, metadata: { of: documentId } }), passages };
}

/** Weights by term: the order of terms does not matter, and stores keep weights as float32. */
function weights({ indices, values }: SparseVector): Map<number, number> {
  return new Map(
    indices
      .map((index, position) => [index, Math.fround(values[position]!)] as const)
      .sort(([a], [b]) => a - b),
  );
}

/** A document without its vectors. */
function withoutVectors(document: FullDocument | undefined): FullDocument | undefined {
  if (!document) return undefined;
  const passages = document.passages.map(({ vector: _vector, sparse: _sparse, ...passage }) => passage);
  return { ...document, passages };
}

export function documentContract(stores: Stores): void {
  describe('whole documents', () => {
    it('come back as they were put', async () => {
      const name = await stores.collection();
      const write = overlapping('a');
      await stores.first.writeDocuments(name, [write]);
      const expected: FullDocument = {
        tenant: TENANT,
        documentId: 'a',
        title: 'Title of a',
        text: write.text!,
        textOmitted: false,
        metadata: { of: 'a' },
        version: 3,
        contentHash: 'hash of a',
        encodingHash: 'encoding hash of a',
        passages: write.passages.map(({ text, span }) => ({ text, span })),
      };
      assert.deepEqual(await stores.second.readDocuments(name, [key('a')]), [expected]);
      assert.deepEqual(await stores.second.scroll(name, TENANT, { limit: 1 }), { documents: [expected] });
      const [found] = await stores.second.lookupDocuments(name, [key('a')]);
      assert.equal(found?.textOmitted, false);
      const [read] = await stores.second.readDocuments(name, [key('a')], { withVectors: true });
      const scrolled = await stores.second.scroll(name, TENANT, { limit: 1, withVectors: true });
      for (const document of [read, scrolled.documents[0]]) {
        assert.deepEqual(withoutVectors(document), expected);
        for (const [index, passage] of document!.passages.entries()) {
          const length = Math.hypot(3, 4 * index);
          assert.ok(passage.vector instanceof Float32Array);
          for (const [at, component] of [3 / length, (4 * index) / length, 0, 0].entries()) {
            assert.ok(Math.abs(passage.vector[at]! - component) < 1e-6, `component ${at} of ${index}`);
          }
          assert.deepEqual(weights(passage.sparse!), weights(write.passages[index]!.sparse));
        }
      }
    });

    it('may have a whole text that is their only passage, or empty, or longer than any page', async () => {
      const name = await stores.collection();
      const texts = ['the only passage', '', 'a\0b\u{10ffff}', 'long '.repeat(40_000)];
      await stores.first.writeDocuments(
        name,
        texts.map((text, index) => ({
          ...put(`d${index}`, [], { text }),
          passages: [{ vector: Float32Array.of(1, 0, 0, 0), text, span: { start: 0, end: text.length } }],
        })),
      );
      const read = await stores.second.readDocuments(
        name,
        texts.map((_, index) => key(`d${index}`)),
      );
      for (const [index, document] of read.entries()) {
        const text = texts[index]!;
        assert.equal(document?.text, text);
        assert.deepEqual(document.passages, [{ text, span: { start: 0, end: text.length } }]);
      }
    });

    it('may have a whole text though passages have none, and the reverse', async () => {
      const name = await stores.collection();
      const vector = Float32Array.of(1, 0, 0, 0);
      await stores.first.writeDocuments(name, [
        { ...put('whole', [], { text: 'whole' }), passages: [{ vector }] },
        { ...put('passage', []), passages: [{ vector, text: 'passage' }] },
        { ...put('neither', []), passages: [{ vector, span: { start: 2, end: 5 } }] },
      ]);
      const read = await stores.second.readDocuments(
        name,
        ['whole', 'passage', 'neither'].map((documentId) => key(documentId)),
      );
      assert.deepEqual(
        read.map((document) => [document?.text, document?.textOmitted, document?.passages]),
        [
          ['whole', false, [{}]],
          [undefined, true, [{ text: 'passage' }]],
          [undefined, true, [{ span: { start: 2, end: 5 } }]],
        ],
      );
      assert.equal('text' in read[1]!, false);
    });

    it('lose their text when they are put again without one', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [overlapping('a'), overlapping('b')]);
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]], { version: 4 }), remove('b', 4)]);
      const [a, b] = await stores.second.readDocuments(name, [key('a'), key('b')]);
      assert.deepEqual([a?.text, a?.textOmitted, a?.passages], [undefined, true, [{ text: 'a passage 0' }]]);
      assert.equal(b, undefined);
    });

    it('are read in the order asked for', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [
        overlapping('a'),
        { ...overlapping('b'), tenant: 'other' },
        overlapping('c'),
      ]);
      const asked = [key('c'), key('nobody'), key('b', 'other'), key('b'), key('a'), key('c'), key('a', 'x')];
      for (const withVectors of [false, true]) {
        const read = await stores.second.readDocuments(name, asked, { withVectors });
        assert.deepEqual(
          read.map((document) => document && [document.tenant, document.documentId]),
          [[TENANT, 'c'], undefined, ['other', 'b'], undefined, [TENANT, 'a'], [TENANT, 'c'], undefined],
        );
        for (const { passages } of read.flatMap((document) => document ?? [])) {
          for (const { vector, sparse } of passages) {
            assert.equal(vector !== undefined, withVectors);
            assert.equal(sparse !== undefined, withVectors);
          }
        }
      }
      assert.deepEqual(await stores.second.readDocuments(name, []), []);
    });

    it('have no sparse vector where a passage has no terms', async () => {
      const name = await stores.collection();
      const vector = Float32Array.of(1, 0, 0, 0);
      const empty = { indices: [], values: [] };
      await stores.first.writeDocuments(name, [
        { ...put('a', []), passages: [{ vector }, { vector, sparse: empty }] },
      ]);
      const [read] = await stores.second.readDocuments(name, [key('a')], { withVectors: true });
      for (const passage of read!.passages) assert.deepEqual(Object.keys(passage), ['vector']);
    });
  });

  describe('a page of a scroll', () => {
    /** Ids on each page of a scroll. */
    const pages = async (name: string, rest: { limit: number; bytes?: number; withVectors?: boolean }) => {
      const sizes: number[] = [];
      const seen: string[] = [];
      let after: string | undefined;
      do {
        const page = await stores.second.scroll(name, TENANT, {
          ...rest,
          ...(after !== undefined && { after }),
        });
        sizes.push(page.documents.length);
        seen.push(...ids(page.documents));
        after = page.next;
      } while (after !== undefined);
      assert.equal(new Set(seen).size, seen.length, 'each document once');
      return sizes;
    };

    it('ends after the document that passes the bytes asked for', async () => {
      const name = await stores.collection();
      const vector = Float32Array.of(1, 0, 0, 0);
      await stores.first.writeDocuments(
        name,
        Array.from({ length: 10 }, (_, index) => ({
          ...put(`d${index}`, [], { text: '字'.repeat(400) }),
          passages: [{ vector }, { vector }],
        })),
      );
      // 1200 bytes of text each, and 32 bytes of vectors.
      assert.deepEqual(await pages(name, { limit: 100 }), [10]);
      assert.deepEqual(await pages(name, { limit: 4 }), [4, 4, 2]);
      assert.deepEqual(
        await pages(name, { limit: 100, bytes: 1 }),
        Array.from({ length: 10 }, () => 1),
      );
      assert.deepEqual(await pages(name, { limit: 100, bytes: 3000 }), [3, 3, 3, 1]);
      assert.deepEqual(await pages(name, { limit: 2, bytes: 3000 }), [2, 2, 2, 2, 2]);
      assert.deepEqual(await pages(name, { limit: 100, bytes: 6080 }), [6, 4]);
      assert.deepEqual(await pages(name, { limit: 100, bytes: 6080, withVectors: true }), [5, 5]);
      assert.deepEqual(await pages(name, { limit: 100, bytes: 50_000 }), [10]);
    });
  });
}
