import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { verifyTower } from './catalog.ts';
import { TowerError } from './errors.ts';
import { KNOWN_TOWERS } from './known.ts';
import { openTower } from './open.ts';
import type { BatchStats, Tower } from './tower.ts';

/** The default document tower itself, fetched through the cache: 54 MB, once. */
let tower: Tower | undefined;
let absent = '';

before(async () => {
  try {
    tower = await openTower('all-MiniLM-L6-v2', { device: 'cpu' });
  } catch (error) {
    if (!(error instanceof TowerError && error.reason === 'TOWER_SOURCE_UNREACHABLE')) throw error;
    absent = `the model can't be had: ${error.message}`;
  }
});

after(() => tower?.close());

function golden(name: string, check: (tower: Tower) => Promise<void> | void): void {
  test(name, async (context) => {
    if (tower === undefined) context.skip(absent);
    else await check(tower);
  });
}

async function encode(text: string): Promise<Float32Array> {
  return (await tower!.encode(tower!.tokenize(text))).vector;
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, index) => sum + value * b[index]!, 0);
}

golden(
  'the cache holds the files that the manifest names, and the space that is known',
  async ({ directory, manifest }) => {
    assert.deepEqual((await verifyTower(directory)).problems, []);
    assert.equal(
      manifest.space.fingerprint,
      KNOWN_TOWERS.find(({ name }) => name === manifest.name)!.fingerprint,
    );
    assert.deepEqual(manifest.space.passageWindow, { tokens: 254, overlap: 32 });
    assert.equal(manifest.license, 'Apache-2.0');
  },
);

golden('token ids are those of the published tokenizer', (minilm) => {
  for (const [text, ids] of [
    ['hello world', [101, 7592, 2088, 102]],
    ['', [101, 102]],
    ['Hello, World!', [101, 7592, 1010, 2088, 999, 102]],
    ['naïve café', [101, 15743, 7668, 102]],
    ['unaffable', [101, 14477, 20961, 3468, 102]],
    ['東京', [101, 1879, 1755, 102]],
  ] as const) {
    assert.deepEqual(minilm.tokenize(text).ids, ids, text);
  }
  const long = minilm.tokenize('word '.repeat(1_000));
  assert.equal(long.ids.length, 256);
  assert.equal(long.truncated, true);
  assert.deepEqual([long.ids[0], long.ids[255]], [101, 102]);
});

const SENTENCES = [
  'a person who studies stars',
  'an astronomer looks at the night sky',
  'a recipe for banana bread',
  'How do I bake a cake?',
  'The cat sits on the mat.',
];

/** Cosines of the sentences, by ONNX Runtime on the same file in a loop without any of our code. */
const COSINES = [
  [1, 0.5697, 0.0385, -0.0329, 0.0114],
  [0.5697, 1, 0.0667, -0.0249, 0.0983],
  [0.0385, 0.0667, 1, 0.3907, 0.1097],
  [-0.0329, -0.0249, 0.3907, 1, 0.0537],
  [0.0114, 0.0983, 0.1097, 0.0537, 1],
];

golden('vectors are those of the model, mean pooled and of unit length', async () => {
  const vectors = await Promise.all(SENTENCES.map(encode));
  const first = [0.00038, -0.0278, -0.04934, 0.02841, -0.07018, -0.02214, 0.08161, 0.04988];
  for (const [index, value] of first.entries()) assert.ok(Math.abs(vectors[0]![index]! - value) < 1e-3);
  for (const [i, row] of COSINES.entries()) {
    for (const [j, cosine] of row.entries())
      assert.ok(Math.abs(dot(vectors[i]!, vectors[j]!) - cosine) < 1e-3);
  }
});

golden('padding does not move a vector', async (minilm) => {
  const texts = ['stars', ...SENTENCES, 'word '.repeat(200)];
  const stats: BatchStats[] = [];
  minilm.onBatch((each) => stats.push(each));
  const together = await minilm.encodeAll(texts.map((text) => minilm.tokenize(text)));
  assert.ok(stats.some(({ paddingRatio }) => paddingRatio > 0));
  for (const [row, text] of texts.entries()) {
    const alone = await encode(text);
    assert.ok(dot(alone, together.subarray(row * 384, (row + 1) * 384)) > 0.9999);
  }
});

golden('the shipped student answers in the space of this tower', async (minilm) => {
  const student = await openTower('all-MiniLM-L6-v2-lookup');
  try {
    assert.equal(student.manifest.space.fingerprint, minilm.manifest.space.fingerprint);
    const query = (await student.encode(student.tokenize('a person who studies stars'))).vector;
    const [near, far] = [await encode('astronomer'), await encode('banana bread')];
    assert.ok(dot(query, near) > dot(query, far) + 0.2);
  } finally {
    await student.close();
  }
});
