import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DocumentWrite } from '../store/writes.ts';
import { MemoryStore } from '../store/testing/memory-store.ts';
import { Analyser } from '../towers/lexical/analyser.ts';
import { readRecord } from '../towers/lexical/analysis.ts';
import { readQuery } from '../towers/lexical/query.ts';
import { passageTerms } from '../towers/terms.ts';
import { analysisIn, reanalyse } from './reanalyse.ts';

const SPACE = { fingerprint: `sp1_${'0123456789abcdef'.repeat(2)}`, dimensions: 2 };
const ENGLISH = { language: 'en', keepDiacritics: false };
const { signal } = new AbortController();

function write(documentId: string, text: string | undefined, tenant = ''): DocumentWrite {
  return {
    kind: 'put',
    tenant,
    documentId,
    version: 1,
    contentHash: documentId,
    encodingHash: documentId,
    title: '',
    metadata: { kept: true },
    passages: [
      {
        vector: Float32Array.of(1, 0),
        sparse: passageTerms('dogs'),
        ...(text !== undefined && { text }),
      },
    ],
  };
}

/** Documents that a word finds, as the collection is analysed. */
async function found(store: MemoryStore, word: string, tenant = ''): Promise<string[]> {
  const { analysis } = await store.findCollection('docs');
  const analyser = new Analyser(readRecord(analysis!));
  const { sparse } = readQuery(word, { analyser, prefix: false });
  const hits = await store.search('docs', { tenant, sparse, limit: 10 });
  return hits.map(({ documentId }) => documentId).sort();
}

test('a collection of before gets new terms of its stored texts, in every tenant, and keeps all else', async () => {
  const store = new MemoryStore();
  await store.ensureCollection('docs', SPACE);
  await store.writeDocuments('docs', [
    write('a', 'dogs'),
    write('b', undefined),
    write('c', 'dogs', 'other'),
  ]);
  const key = { tenant: '', documentId: 'a' };
  const [before] = await store.readDocuments('docs', [key], { withVectors: true });
  const progress: number[] = [];
  const report = await reanalyse({
    store,
    collection: 'docs',
    analysis: ENGLISH,
    signal,
    settleMs: 0,
    onProgress: (documents) => progress.push(documents),
  });
  assert.deepEqual([report.documents, report.withoutText, report.changed], [2, 1, 0]);
  assert.equal(progress.at(-1), 3);
  assert.deepEqual(await found(store, 'dog'), ['a']);
  assert.deepEqual(await found(store, 'dog', 'other'), ['c']);
  assert.deepEqual(await found(store, 'dogs'), ['a', 'b'], 'what has no text is found as it is written');
  const [after] = await store.readDocuments('docs', [key], { withVectors: true });
  const [passage] = after!.passages;
  assert.deepEqual({ ...after, passages: [] }, { ...before, passages: [] });
  assert.deepEqual(passage?.vector, before!.passages[0]?.vector);
  assert.equal(passage?.text, 'dogs');
  const { counted } = await store.words('docs', '', { limit: 10 });
  assert.ok(counted!.words.split('\n').includes('dogs'));
  const { analysis } = await store.findCollection('docs');
  assert.equal(analysisIn(analysis)?.unfinished, undefined);
});

test('a document that others change meanwhile is left to them, and a broken-off run says so', async () => {
  let interfere = true;
  const store: MemoryStore = new MemoryStore({
    before: async ({ operation, writes }) => {
      if (operation !== 'writeDocuments' || !interfere || !writes.some((one) => 'expected' in one)) return;
      interfere = false;
      await store.writeDocuments('docs', [{ ...write('a', 'cats'), contentHash: 'newer' } as DocumentWrite]);
      throw new Error('the process ends here');
    },
  });
  await store.ensureCollection('docs', SPACE);
  await store.writeDocuments('docs', [write('a', 'dogs')]);
  const options = { store, collection: 'docs', analysis: ENGLISH, signal, settleMs: 0 };
  await assert.rejects(reanalyse(options), /the process ends here/);
  assert.equal(analysisIn((await store.findCollection('docs')).analysis)?.unfinished, true);
  const report = await reanalyse(options);
  assert.deepEqual([report.documents, report.changed], [1, 0]);
  const [after] = await store.readDocuments('docs', [{ tenant: '', documentId: 'a' }]);
  assert.equal(after?.contentHash, 'newer');
  assert.deepEqual(await found(store, 'cat'), ['a']);
});

test('a record that nobody can read is no analysis', () => {
  assert.equal(analysisIn('{"language":"??"}'), undefined);
  assert.equal(analysisIn(undefined), undefined);
});
