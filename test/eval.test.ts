import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { writeTinyTower } from '../towers/testing/tiny-tower.ts';
import type { HybridGain, ModesEvaluation } from '../cli/evaluation/modes.ts';
import type { Evaluation } from '../training/evaluation/evaluate.ts';
import { cli, folder } from './system.ts';

interface Reference {
  documents: Record<string, string>;
  queries: Record<string, string>;
  qrels: Record<string, Record<string, number>>;
  /** By pytrec_eval, of what bm25s finds, each query: queries whose id a document has are not answered by it. */
  measures: Record<string, Record<'ndcg_cut_3' | 'ndcg_cut_10' | 'recall_50' | 'recall_100', number>>;
}

const reference = JSON.parse(
  readFileSync(new URL('../../training/reference/evaluation.json', import.meta.url), 'utf8'),
) as Reference;

const tower = join(folder, 'tower');
const dataset = join(folder, 'letters');

before(() => {
  mkdirSync(tower);
  mkdirSync(dataset);
  writeTinyTower(tower, { space: { normalize: true }, queryPrompt: '' });
  const lines = (texts: Record<string, string>): string =>
    Object.entries(texts)
      .map(([id, text]) => JSON.stringify({ _id: id, text }))
      .join('\n');
  writeFileSync(join(dataset, 'corpus.jsonl'), lines(reference.documents));
  writeFileSync(join(dataset, 'queries.jsonl'), lines(reference.queries));
  const judgments = Object.entries(reference.qrels).flatMap(([query, grades]) =>
    Object.entries(grades).map(([document, grade]) => `${query}\t${document}\t${grade}`),
  );
  writeFileSync(join(dataset, 'qrels.tsv'), `query-id\tcorpus-id\tscore\n${judgments.join('\n')}\n`);
});

const flags = ['--dataset', dataset, '--document-tower', `file:${tower}`];

describe('eval', () => {
  test('scores what bm25s finds as pytrec_eval does, on each query, and writes it down', async () => {
    const [runs, perQuery] = [join(folder, 'runs'), join(folder, 'queries.jsonl')];
    const files = ['--runs', runs, '--per-query', perQuery];
    const queryTower = ['--query-tower', `file:${tower}`];
    const result = await cli(
      'eval',
      ...flags,
      ...queryTower,
      '--ndcg',
      '3',
      '--ndcg',
      '20',
      ...files,
      '--json',
    );
    assert.equal(result.code, 0, result.stderr);
    assert.match(
      result.stderr,
      /letters: 5 of 15 queries have the id of a document; .* --keep-identical-ids/,
    );
    const { results, identicalIds, queries } = JSON.parse(result.stdout) as Evaluation;
    assert.deepEqual([queries, identicalIds], [15, 5]);
    const lines = readFileSync(perQuery, 'utf8').trimEnd().split('\n');
    const rows = lines.map((line) => JSON.parse(line) as Evaluation['results'][0] & { query: string });
    assert.equal(rows.length, 45);
    const close = (found: number | undefined, expected: number, what: string): void =>
      assert.ok(Math.abs(found! - expected) < 1e-6, `${what} is ${found}, pytrec_eval has ${expected}`);
    const byWording = rows.filter((row) => row.queryTower === 'BM25');
    const mean = { ndcg_cut_3: 0, ndcg_cut_10: 0, recall_50: 0, recall_100: 0 };
    for (const { query, ndcg10, ndcg, recall50, recall100 } of byWording) {
      const found = {
        ndcg_cut_3: ndcg!['3']!,
        ndcg_cut_10: ndcg10,
        recall_50: recall50,
        recall_100: recall100,
      };
      for (const [measure, value] of Object.entries(reference.measures[query]!)) {
        close(found[measure as keyof typeof found], value, `${measure} of ${query}`);
        mean[measure as keyof typeof mean] += value / 15;
      }
    }
    const wording = results.at(-1)!;
    close(wording.ndcg10, mean.ndcg_cut_10, 'mean nDCG@10');
    close(wording.ndcg!['3'], mean.ndcg_cut_3, 'mean nDCG@3');
    close(wording.recall50, mean.recall_50, 'mean Recall@50');

    assert.deepEqual(readdirSync(runs).sort(), [
      'letters.BM25.run',
      'letters.qrels',
      'letters.tiny-2.run',
      'letters.tiny.run',
    ]);
    const run = readFileSync(join(runs, 'letters.tiny.run'), 'utf8').trimEnd().split('\n');
    // All 31 documents answer each of 15 queries, but for the five that have the query's id.
    assert.equal(run.length, 15 * 31 - 5);
    assert.ok(run.every((line) => /^\S+ Q0 \S+ \d+ -?[\d.e-]+ tiny$/.test(line)));
    const judged = readFileSync(join(runs, 'letters.qrels'), 'utf8');
    assert.equal(
      judged.trimEnd().split('\n').length,
      Object.values(reference.qrels).flatMap(Object.keys).length,
    );
  });

  test('--keep-identical-ids keeps what BEIR leaves out, and the table has a column for each cut-off', async () => {
    const result = await cli('eval', ...flags, '--keep-identical-ids', '--ndcg', '7');
    assert.equal(result.code, 0, result.stderr);
    assert.doesNotMatch(result.stderr, /identical/);
    assert.match(result.stdout, /nDCG@10 +nDCG@7 +MRR@10/);
  });

  test('--mode compares both legs and their fusion, on the same queries', async () => {
    const result = await cli('eval', ...flags, '--mode', 'hybrid,dense,sparse', '--tune', '--json');
    assert.equal(result.code, 0, result.stderr);
    const { evaluations, hybridGain } = JSON.parse(result.stdout) as {
      evaluations: ModesEvaluation[];
      hybridGain: HybridGain;
    };
    const { modes, differences, tuned } = evaluations[0]!;
    assert.deepEqual(
      modes.map(({ mode }) => mode),
      ['dense', 'sparse', 'hybrid', 'BM25'],
    );
    const of = new Map(modes.map(({ mode, ndcg10 }) => [mode, ndcg10]));
    const wording = Object.values(reference.measures).reduce((sum, one) => sum + one.ndcg_cut_10 / 15, 0);
    assert.ok(Math.abs(of.get('BM25')! - wording) < 1e-6, 'the yardstick is that of bm25s');
    assert.equal(differences.length, 6);
    for (const { of: one, over, ndcg10, interval, wins, losses, ties } of differences) {
      assert.ok(Math.abs(ndcg10 - (of.get(one)! - of.get(over)!)) < 1e-9);
      assert.ok(interval[0] <= ndcg10 && ndcg10 <= interval[1], `${one} over ${over}`);
      assert.equal(wins + losses + ties, 15);
    }
    const better = Math.max(of.get('dense')!, of.get('BM25')!);
    assert.ok(Math.abs(hybridGain.mean - (of.get('hybrid')! - better)) < 1e-9);
    assert.equal(tuned!.development.queries + tuned!.test.queries, 15);
  });

  test('refuses what can not be, in one line', async () => {
    const fails = async (code: number, message: RegExp, ...more: string[]): Promise<void> => {
      const result = await cli('eval', ...flags, ...more);
      assert.equal(result.code, code, result.stderr);
      assert.match(result.stderr, message);
    };
    for (const rank of ['0', '-1', '2.5', 'x', '1001'])
      await fails(2, /--ndcg <k>.*It must be/, `--ndcg=${rank}`);
    await fails(2, /two of them are called "letters"/, '--dataset', dataset, '--runs', join(folder, 'twice'));
    await fails(
      1,
      /^scalingnote: --per-query: .*ENOENT/,
      '--per-query',
      join(folder, 'no', 'such', 'folder'),
    );
    await fails(2, /--tune belongs to --mode/, '--tune');
    await fails(2, /"fused" is no mode; known are dense, sparse, hybrid/, '--mode', 'dense,fused');
    await fails(2, /--tune .* add hybrid/, '--mode', 'dense', '--tune');
    await fails(2, /--report does not fit --mode/, '--mode', 'dense', '--report', join(folder, 'x.html'));
    await fails(2, /does not fit --probe/, '--probe', 'words', '--collection', 'c');
    await fails(1, /^scalingnote: --runs: .*/, '--runs', join(dataset, 'corpus.jsonl'));
  });
});
