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
  return (await tower!.encode(await tower!.tokenize(text))).vector;
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

golden('token ids are those of the published tokenizer', async (minilm) => {
  for (const [text, ids] of [
    ['hello world', [101, 7592, 2088, 102]],
    ['', [101, 102]],
    ['Hello, World!', [101, 7592, 1010, 2088, 999, 102]],
    ['naïve café', [101, 15743, 7668, 102]],
    ['unaffable', [101, 14477, 20961, 3468, 102]],
    ['東京', [101, 1879, 1755, 102]],
  ] as const) {
    assert.deepEqual((await minilm.tokenize(text)).ids, ids, text);
  }
  const long = await minilm.tokenize('word '.repeat(1_000));
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

/**
 * Cosines of the sentences and the first components of the first vector, in float32 arithmetic on the same 4-bit weights:
 * by Python's `onnxruntime`, with the `accuracy_level` of each `MatMulNBits` set to 1, and `tokenizers`. Any processor
 * gets these digits.
 */
const COSINES = [
  [1, 0.5677, 0.035, -0.0363, 0.0095],
  [0.5677, 1, 0.0642, -0.024, 0.1009],
  [0.035, 0.0642, 1, 0.3863, 0.1082],
  [-0.0363, -0.024, 0.3863, 1, 0.052],
  [0.0095, 0.1009, 0.1082, 0.052, 1],
];
const FIRST_COMPONENTS = [0.00156, -0.02713, -0.04751, 0.0271, -0.07139, -0.02338, 0.08128, 0.05013];

/**
 * How far a vector may be from the one in float32 arithmetic. The model asks for 8-bit accumulation, so that activations
 * are rounded to 8 bits, and how depends on the instruction set. x86-64 rounds blocks of 32: half a step, uniform, where a
 * step is 1/127 of the largest of 32 values (about 2.1 standard deviations), is noise of 0.5 % in each of the 36 products.
 * Together that is a distance of 0.017 to 0.026 between unit vectors, measured on AVX2 without VNNI; the same rounding
 * emulated in the graph gives 0.018 to 0.026. Kernels of arm64 round whole rows: emulated, 0.030 to 0.050.
 */
const DISTANCE = 0.05;

/**
 * The noise has no preferred direction among 384: of its length, 1/√384 falls on a component, and √(2/384) moves the
 * cosine of two vectors. Four standard deviations of each: 0.010 and 0.014. Measured: cosines move by 0.0042 on AVX2, by
 * 0.0044 on AVX-512; emulated for arm64, by 0.0093.
 */
const COMPONENT_TOLERANCE = (4 * DISTANCE) / Math.sqrt(384);
const COSINE_TOLERANCE = 4 * DISTANCE * Math.sqrt(2 / 384);

golden('vectors are those of the model, mean pooled and of unit length', async () => {
  const vectors = await Promise.all(SENTENCES.map(encode));
  for (const [index, value] of FIRST_COMPONENTS.entries()) {
    assert.ok(Math.abs(vectors[0]![index]! - value) < COMPONENT_TOLERANCE, `component ${index}`);
  }
  for (const [i, row] of COSINES.entries()) {
    assert.ok(Math.abs(Math.hypot(...vectors[i]!) - 1) < 1e-6, SENTENCES[i]);
    for (const [j, expected] of row.entries()) {
      const cosine = dot(vectors[i]!, vectors[j]!);
      assert.ok(Math.abs(cosine - expected) < COSINE_TOLERANCE, `${i}, ${j}: ${cosine} is not ${expected}`);
    }
  }
});

/** Questions, each with the passage that answers it; the wrong passages share words with them. */
const ANSWERS = [
  ['who studies the stars?', 'An astronomer observes celestial bodies.'],
  ['who is the star of the film?', 'The leading role is played by a famous actress.'],
  ['how do I bake a cake?', 'Mix flour, sugar and eggs, and put it into the oven for half an hour.'],
  ['how do I bring up a puppy?', 'Young dogs need patience, sleep and short walks.'],
  ['where do bees live?', 'A hive houses the queen, the workers and their honey.'],
  ['where do banks keep money?', 'Cash lies in a vault behind a steel door.'],
] as const;

golden('the passage that answers a question ranks first', async () => {
  const passages = await Promise.all(ANSWERS.map(([, passage]) => encode(passage)));
  for (const [expected, [question]] of ANSWERS.entries()) {
    const query = await encode(question);
    const scores = passages.map((passage) => dot(query, passage));
    assert.equal(scores.indexOf(Math.max(...scores)), expected, `${question} ${scores.join(' ')}`);
  }
});

golden('padding does not move a vector', async (minilm) => {
  const texts = ['stars', ...SENTENCES, 'word '.repeat(200)];
  const stats: BatchStats[] = [];
  minilm.onBatch((each) => stats.push(each));
  const together = await minilm.encodeAll(await minilm.tokenizeAll(texts));
  assert.ok(stats.some(({ paddingRatio }) => paddingRatio > 0));
  for (const [row, text] of texts.entries()) {
    const alone = await encode(text);
    // One text may take another kernel than many: each is within DISTANCE of float32 arithmetic.
    const cosine = dot(alone, together.subarray(row * 384, (row + 1) * 384));
    assert.ok(cosine > 1 - (2 * DISTANCE) ** 2 / 2, `${text.slice(0, 20)}: ${cosine}`);
  }
});

golden('the shipped student answers in the space of this tower', async (minilm) => {
  const student = await openTower('all-MiniLM-L6-v2-lookup');
  try {
    assert.equal(student.manifest.space.fingerprint, minilm.manifest.space.fingerprint);
    const query = (await student.encode(await student.tokenize('a person who studies stars'))).vector;
    const [near, far] = [await encode('astronomer'), await encode('banana bread')];
    assert.ok(dot(query, near) > dot(query, far) + 0.2);
  } finally {
    await student.close();
  }
});
