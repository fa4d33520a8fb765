import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Estimator } from './estimate.ts';
import type { Tower } from './tower.ts';

/** A tower that makes a passage of each word, and a token of each letter; it counts what it encodes. */
function wordTower(): Pick<Tower, 'eachPassage' | 'encodeAll' | 'manifest'> & { encoded: number[] } {
  const encoded: number[] = [];
  return {
    encoded,
    manifest: { dimensions: 8 } as Tower['manifest'],
    async *eachPassage({ text }) {
      for (const word of text.split(' ')) {
        yield {
          text: word,
          span: { start: 0, end: word.length },
          tokens: { ids: Array.from(word, (letter) => letter.charCodeAt(0)), truncated: false },
        };
      }
    },
    encodeAll: async (inputs) => {
      encoded.push(inputs.length);
      await new Promise((resolve) => setTimeout(resolve, 5));
      return new Float32Array(8 * inputs.length);
    },
  };
}

test('passages and tokens are counted exactly, and a bounded sample is encoded', async () => {
  const tower = wordTower();
  const estimator = new Estimator(tower);
  for (let index = 0; index < 500; index++) await estimator.add({ title: '', text: 'aa bbb' });
  const estimate = await estimator.measure();
  assert.deepEqual(
    [estimate.documents, estimate.passages, estimate.tokens, estimate.vectorBytes],
    [500, 1000, 2500, 8 * 4 * 1000],
  );
  assert.equal(estimate.sample.passages, 128);
  assert.deepEqual(tower.encoded.slice(-1), [128]);
  assert.ok(estimate.tokensPerSecond > 0);
  assert.equal(estimate.seconds, estimate.tokens / estimate.tokensPerSecond);
});

test('the sample comes from all documents, and is the same in every run', async () => {
  const samples = await Promise.all(
    [1, 2].map(async () => {
      const tower = wordTower();
      const seen: number[] = [];
      const estimator = new Estimator({
        ...tower,
        encodeAll: (inputs, options) => {
          seen.push(...inputs.map(({ ids }) => ids.length));
          return tower.encodeAll(inputs, options);
        },
      });
      for (let index = 1; index <= 1000; index++) await estimator.add({ title: '', text: 'x'.repeat(index) });
      await estimator.measure();
      return seen;
    }),
  );
  assert.deepEqual(samples[0], samples[1]);
  const drawn = samples[0]!.slice(-128);
  assert.equal(new Set(drawn).size, 128);
  for (const [from, to] of [
    [1, 250],
    [251, 500],
    [501, 750],
    [751, 1000],
  ]) {
    assert.ok(drawn.filter((length) => length >= from! && length <= to!).length > 10);
  }
});

test('no documents take no time', async () => {
  const estimate = await new Estimator(wordTower()).measure();
  assert.deepEqual([estimate.passages, estimate.seconds, estimate.tokensPerSecond], [0, 0, 0]);
});
