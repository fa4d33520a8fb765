import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { TowerError } from '../errors.ts';
import { temporaryFolder, tinyModel } from '../testing/tiny-tower.ts';
import { openReranker } from './reranker.ts';

/** A small cross-encoder, and what Python's ONNX Runtime and `tokenizers` make of pairs with it; see `generate.py` there. */
const FOLDER = fileURLToPath(new URL('../../../towers/reference/cross-encoder/', import.meta.url));
const RECORDED = JSON.parse(readFileSync(join(FOLDER, 'scores.json'), 'utf8')) as {
  query: string;
  texts: string[];
  scores: number[];
}[];

const never = new AbortController().signal;

async function open(context: TestContext, folder = FOLDER) {
  const reranker = await openReranker(folder, { log: () => {}, threads: 1 });
  context.after(() => reranker.close());
  return reranker;
}

describe('a cross-encoder in a folder', () => {
  test('scores pairs as ONNX Runtime and tokenizers do in Python, cut ones and empty ones too', async (context) => {
    const reranker = await open(context);
    for (const { query, texts, scores } of RECORDED) {
      const found = await reranker.score(query, texts, never);
      assert.equal(found.length, scores.length);
      for (const [index, score] of found.entries()) {
        assert.ok(Math.abs(score - scores[index]!) < 1e-5, `${query} / ${texts[index]}: ${score}`);
      }
    }
  });

  test('scores the same alone and among many, whatever is padded, and calls do not mix', async (context) => {
    const reranker = await open(context);
    const [{ query, texts, scores }] = RECORDED as [(typeof RECORDED)[number]];
    const many = Array.from({ length: 21 }, (_, index) => texts[index % texts.length]!);
    const [first, second] = await Promise.all([
      reranker.score(query, many, never),
      reranker.score(query, texts, never),
    ]);
    for (const [index, score] of first.entries()) {
      assert.ok(Math.abs(score - scores[index % scores.length]!) < 1e-5);
    }
    assert.ok(second.every((score, index) => Math.abs(score - scores[index]!) < 1e-5));
    assert.deepEqual(await reranker.score(query, [], never), []);
  });

  test('stops where nobody waits, and answers the next one', async (context) => {
    const reranker = await open(context);
    await assert.rejects(reranker.score('stars', ['rye'], AbortSignal.abort()), { name: 'AbortError' });
    assert.equal((await reranker.score('stars', ['rye'], never)).length, 1);
  });

  test('is refused where the model gives no one score for a pair', async (context) => {
    const folder = temporaryFolder(context);
    cpSync(FOLDER, folder, { recursive: true });
    writeFileSync(join(folder, 'model.onnx'), tinyModel());
    await assert.rejects(
      openReranker(folder, { log: () => {} }),
      (error) => error instanceof TowerError && error.reason === 'TOWER_MODEL_UNSUPPORTED',
    );
  });
});
