import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import { familyFiles, readReference } from './testing/families.ts';
import { TextTokenizer, type TextLimits } from './tokenizer.ts';

/** What the reference made of hostile strings, as `towers/tokenizer/reference/generate.py` recorded it in Python. */
interface Recorded {
  /** Ids without special tokens of every hundredth string. */
  clear: Record<string, number[]>;
  /** Eight hexadecimal digits for each string: the ids without special tokens, then cut on either side. */
  ids: string;
  right: string;
  left: string;
}

const DIGITS = 8;

function digest(ids: readonly number[]): string {
  return hash('sha256', JSON.stringify(ids)).slice(0, DIGITS);
}

const strings = readReference('strings') as string[];
const { maxTokens, families } = readReference('ids') as {
  maxTokens: number;
  families: Record<string, Recorded>;
};
const files = familyFiles();

test('ten families and more, two thousand strings', () => {
  assert.ok(Object.keys(families).length >= 10);
  assert.equal(new Set(strings).size, 2_000);
  assert.deepEqual(Object.keys(families).sort(), Object.keys(files).sort());
});

for (const [name, recorded] of Object.entries(families)) {
  test(`${name}: every id is the reference's, whole and cut on either side`, async () => {
    const load = (most: number, truncation: TextLimits['truncation']): Promise<TextTokenizer> =>
      TextTokenizer.load(files[name]!, { maxTokens: most, truncation });
    const whole = await load(1_000_000, 'right');
    for (const [index, ids] of Object.entries(recorded.clear)) {
      assert.deepEqual(await whole.ids(strings[Number(index)]!), ids, JSON.stringify(strings[Number(index)]));
    }
    const sides = { right: await load(maxTokens, 'right'), left: await load(maxTokens, 'left') };
    const differing: string[] = [];
    const stated = (digests: string, index: number): string =>
      digests.slice(index * DIGITS, (index + 1) * DIGITS);
    const compare = (what: 'ids' | 'right' | 'left', ids: readonly number[], index: number): void => {
      if (digest(ids) !== stated(recorded[what], index)) {
        differing.push(`${what} of ${JSON.stringify(strings[index])}`);
      }
    };
    await Promise.all(
      strings.map(async (text, index) => {
        compare('ids', await whole.ids(text), index);
        compare('right', (await sides.right.encode(text)).ids, index);
        compare('left', (await sides.left.encode(text)).ids, index);
      }),
    );
    // The second time, what is kept by heart answers.
    for (const [index, text] of strings.entries()) {
      const ids = whole.ids(text);
      if (!(ids instanceof Promise)) compare('ids', ids, index);
    }
    assert.deepEqual(differing, []);
  });
}
