import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { DEFAULT_FUSION } from '../../store/fusion.ts';
import { openTower } from '../../towers/open.ts';
import { openReranker } from '../../towers/reranker/reranker.ts';
import { temporaryFolder, writeTinyTower } from '../../towers/testing/tiny-tower.ts';
import { evaluateModes, type ModesRequest } from './modes.ts';

const CROSS_ENCODER = fileURLToPath(new URL('../../../towers/reference/cross-encoder/', import.meta.url));

const DOCUMENTS = [
  { _id: 'a', title: 'Stars', text: 'Stars. The stars of the night sky.' },
  { _id: 'b', title: 'Bread', text: 'Bread of rye, by the boat.' },
  { _id: 'c', title: 'Tides', text: 'The moon and the tides. The boat is old.' },
  { _id: 'd', title: 'Wheat', text: 'Wheat in the night, and bread of wheat.' },
];
const QUERIES = [
  { _id: 'q1', text: 'night sky', right: 'a' },
  { _id: 'q2', text: 'bread of rye', right: 'b' },
  { _id: 'q3', text: 'moon', right: 'c' },
];

async function request(context: TestContext): Promise<ModesRequest> {
  const [folder, tower] = [temporaryFolder(context), temporaryFolder(context)];
  const lines = (records: object[]): string => records.map((record) => JSON.stringify(record)).join('\n');
  writeFileSync(join(folder, 'corpus.jsonl'), lines(DOCUMENTS));
  writeFileSync(join(folder, 'queries.jsonl'), lines(QUERIES.map(({ _id, text }) => ({ _id, text }))));
  writeFileSync(join(folder, 'qrels.tsv'), QUERIES.map(({ _id, right }) => `${_id}\t${right}\t1`).join('\n'));
  writeTinyTower(tower, { space: { normalize: true } });
  const documentTower = await openTower(tower, { cacheDir: temporaryFolder(context) });
  context.after(() => documentTower.close());
  return {
    dataset: folder,
    documentTower,
    queryTower: documentTower,
    modes: ['dense', 'sparse', 'hybrid'],
    fusion: DEFAULT_FUSION,
    keepIdenticalIds: false,
    cacheDir: temporaryFolder(context),
  };
}

test('a reranker reads the best documents of hybrid again, with their titles', async (context) => {
  const reranker = await openReranker(CROSS_ENCODER, { log: () => {}, threads: 1 });
  context.after(() => reranker.close());
  const read: string[] = [];
  const watched = {
    name: 'watched',
    score: (query: string, texts: readonly string[], signal: AbortSignal) => {
      read.push(...texts);
      return reranker.score(query, texts, signal);
    },
    close: async () => {},
  };
  const asked = await request(context);
  const all = { ...asked, modes: ['dense', 'hybrid', 'rerank'] as const };
  const { evaluation } = await evaluateModes({ ...all, rerank: { reranker: watched, documents: 4 } });
  assert.deepEqual(
    evaluation.modes.map(({ mode }) => mode),
    ['dense', 'hybrid', 'rerank', 'BM25'],
  );
  assert.equal(evaluation.modes[2]!.ndcg10, 1, 'it prefers texts that say the words of the query');
  assert.deepEqual(evaluation.rerank, { reranker: 'watched', documents: 4 });
  assert.ok(
    read.length >= 9 && read.every((text) => /^(?:Stars|Bread|Tides|Wheat)\n./.test(text)),
    read.join('|'),
  );
  const { of, over } = evaluation.differences[0]!;
  assert.deepEqual([of, over], ['rerank', 'hybrid']);
  // It turns round what it reads, and nothing else.
  const least = {
    name: 'least',
    score: async (_: string, texts: readonly string[]) => texts.map((_, i) => i),
  };
  const one = { reranker: { ...least, close: async () => {} }, documents: 1 };
  const { evaluation: same } = await evaluateModes({ ...all, rerank: one });
  assert.equal(same.modes[2]!.ndcg10, same.modes[1]!.ndcg10);
});

test('the lexical leg stands beside BM25 of the same terms, and titles tune without labels', async (context) => {
  const { evaluation } = await evaluateModes({ ...(await request(context)), tune: 'titles' });
  assert.ok(evaluation.lexical!.bm25 > 0.9, 'every query says words of its document');
  assert.deepEqual([evaluation.tuned!.by, evaluation.tuned!.development.queries], ['titles', 4]);
  assert.equal(evaluation.tuned!.test.queries, 3);
});
