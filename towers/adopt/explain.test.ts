import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TowerManifest } from '../manifest.ts';
import { compare, passes } from './cosines.ts';
import { explain, type ExplainingTower, type Explained, verdictOf } from './explain.ts';
import { inputOf, type Layout, type StoredText } from './variants.ts';

const WIDTH = 32;

/** A number from -1 to 1 for each seed and place. */
function noise(seed: number, place: number): number {
  const mixed = Math.imul(seed ^ (place * 0x9e3779b1), 0x85ebca6b) >>> 0;
  return (Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35) >>> 0) / 2 ** 31 - 1;
}

/** What a model is made of, for these tests: a vector for each word, and how they become one. */
interface Model {
  seed: number;
  pooling: 'mean' | 'cls' | 'last';
  prompt: string;
  maxTokens: number;
  /** Added to each component, as coarser weights would. */
  error?: number;
}

const wordsOf = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '');

function wordVector(word: string, seed: number): number[] {
  const hash = [...word].reduce((sum, letter) => Math.imul(sum, 31) + letter.codePointAt(0)!, seed);
  return Array.from({ length: WIDTH }, (_, place) => noise(hash, place));
}

function encode(words: readonly string[], { seed, pooling, error = 0 }: Model): Float32Array {
  const read = pooling === 'cls' ? words.slice(0, 1) : pooling === 'last' ? words.slice(-1) : words;
  const sum = new Float32Array(WIDTH);
  for (const word of read) {
    const wrong = wordVector(word, seed + 1);
    wordVector(word, seed).forEach((value, place) => (sum[place]! += value + error * wrong[place]!));
  }
  return sum;
}

const encodeText = (text: string, model: Model): Float32Array =>
  encode(wordsOf(model.prompt + text).slice(0, model.maxTokens), model);

/** Texts of 12 to 40 words, with the vectors that a model makes of them. */
function texts(model: Model, layout: Layout = 'text'): StoredText[] {
  return Array.from({ length: 40 }, (_, text) => {
    const words = Array.from(
      { length: 12 + (text % 28) },
      (_, word) => `w${(Math.abs(noise(text + 1, word)) * 1e6) | 0}`,
    );
    const stored = {
      title: `title${text}`,
      text: words.join(' '),
      composed: `file: f${text}\n\n${words.join(' ')}`,
    };
    return {
      ...stored,
      vector: encodeText(inputOf({ ...stored, vector: new Float32Array(0) }, layout), model),
    };
  });
}

function towerOf(model: Model, opened: object[] = []) {
  return (settings: Partial<Pick<Model, 'pooling' | 'maxTokens'>>): Promise<ExplainingTower> => {
    opened.push(settings);
    const own = { ...model, ...settings };
    const ids = new Map<number, string[]>();
    return Promise.resolve({
      manifest: { ...own, dimensions: WIDTH } as unknown as TowerManifest,
      tokenize: (text, { prompt = model.prompt } = {}) => {
        const words = wordsOf(prompt + text);
        ids.set(ids.size, words.slice(0, own.maxTokens));
        const tokens = Array.from({ length: Math.min(words.length, own.maxTokens) }, () => ids.size - 1);
        return Promise.resolve({ ids: tokens, truncated: words.length > own.maxTokens });
      },
      encodeAll: (inputs) => {
        const rows = new Float32Array(inputs.length * WIDTH);
        inputs.forEach((input, row) => rows.set(encode(ids.get(input.ids[0]!)!, own), row * WIDTH));
        return Promise.resolve(rows);
      },
      close: () => Promise.resolve(),
    });
  };
}

const MODEL: Model = { seed: 1, pooling: 'mean', prompt: '', maxTokens: 64 };

async function explained(made: Model, layout?: Layout, model = MODEL): Promise<Explained> {
  return explain(towerOf(model) as never, texts(made, layout));
}

describe('a tower explains stored vectors', () => {
  it('as its own, and opens nothing but itself', async () => {
    const opened: object[] = [];
    const found = await explain(towerOf(MODEL, opened) as never, texts(MODEL));
    assert.equal(verdictOf(found), 'same');
    assert.ok(found.own.cosines.median > 0.9999);
    assert.equal(found.own.cosines.texts, 40);
    assert.deepEqual(opened, [{}]);
  });

  it('as its own, of titles and texts, or of metadata and texts', async () => {
    for (const layout of ['title and text', 'metadata and text'] as const) {
      const found = await explained(MODEL, layout);
      assert.deepEqual([verdictOf(found), found.own.variant.layout], ['same', layout]);
    }
  });

  it('by another prompt, pooling or length, which it names', async () => {
    const others: [Partial<Model>, Partial<Explained['best']['variant']>][] = [
      [{ prompt: 'passage: ' }, {}],
      [{ prompt: 'query: ' }, {}],
      [{ pooling: 'cls' }, { pooling: 'cls' }],
      [{ pooling: 'last' }, { pooling: 'last' }],
      [{ maxTokens: 16 }, { maxTokens: 16 }],
    ];
    for (const [change, wanted] of others) {
      // The length that is tried has to be one that programs use, so the tower is the one that cuts.
      const isLength = change.maxTokens !== undefined;
      const found = isLength
        ? await explained({ ...MODEL, maxTokens: 128 }, 'text', { ...MODEL, maxTokens: 16 })
        : await explained({ ...MODEL, ...change });
      assert.equal(verdictOf(found), 'variant', JSON.stringify(change));
      const { variant } = found.best;
      if (change.prompt !== undefined) assert.equal(variant.prompt.text, change.prompt);
      if (isLength) assert.ok(variant.maxTokens >= 128, `${variant.maxTokens}`);
      else for (const [key, value] of Object.entries(wanted)) assert.equal(Reflect.get(variant, key), value);
      assert.ok(found.best.cosines.median > 0.9999, JSON.stringify(change));
    }
  });

  it('by its own prompt, where the vectors were made without', async () => {
    const found = await explained(MODEL, 'text', { ...MODEL, prompt: 'passage: ' });
    assert.deepEqual([verdictOf(found), found.best.variant.prompt.text], ['variant', '']);
  });

  it('not, where they are of another model, or of coarser weights', async () => {
    const other = await explained({ ...MODEL, seed: 2 });
    assert.equal(verdictOf(other), 'other');
    assert.ok(other.best.cosines.median < 0.6);
    const coarse = await explained({ ...MODEL, error: 0.3 });
    assert.equal(verdictOf(coarse), 'other');
    assert.ok(coarse.own.cosines.median > 0.9 && coarse.own.cosines.median < 0.99);
  });
});

describe('cosines', () => {
  const rows = (angles: readonly number[]): Float32Array =>
    Float32Array.from(angles.flatMap((angle) => [Math.cos(angle), Math.sin(angle)]));
  const stored = (count: number): Float32Array[] =>
    Array.from({ length: count }, () => Float32Array.of(2, 0));

  it('pass with a median from 0.99, and up to one in twenty below 0.95', () => {
    const far = Math.acos(0.94);
    const near = Math.acos(0.991);
    const mixed = (count: number) => [
      ...Array.from({ length: 20 - count }, () => near),
      ...Array.from({ length: count }, () => far),
    ];
    assert.equal(passes(compare(rows(mixed(1)), stored(20), 2)), true);
    assert.equal(passes(compare(rows(mixed(2)), stored(20), 2)), false);
    const below = Array.from({ length: 20 }, () => Math.acos(0.989));
    assert.equal(passes(compare(rows(below), stored(20), 2)), false);
    assert.equal(passes(compare(rows([]), [], 2)), false);
  });

  it('are counted in bars, and a vector without a direction is far from all', () => {
    const { histogram, lowest, median, below95 } = compare(
      Float32Array.of(1, 0, 0, 0, Number.NaN, 1),
      stored(3),
      2,
    );
    assert.deepEqual(histogram, [2, 0, 0, 0, 0, 0, 1]);
    assert.deepEqual([lowest, median], [-1, -1]);
    assert.equal(below95, 2 / 3);
  });
});
