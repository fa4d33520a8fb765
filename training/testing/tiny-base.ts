import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryFolder, writeTinyTower } from '../../towers/testing/tiny-tower.ts';
import type { Model } from '../onnx/model.ts';
import { TINY, tinyBert } from './tiny-models.ts';
import { encodeModel } from '../onnx/write.ts';
import { seededRandom } from '../random.ts';

/** A folder with a tower of random weights, small enough to be trained in a test. */
export function tinyBase(
  context: Pick<TestContext, 'after'>,
  model: Model = tinyBert(),
  dimensions = TINY.width,
): string {
  const folder = temporaryFolder(context);
  writeTinyTower(folder, { model: encodeModel(model), space: { normalize: true, dimensions } });
  return folder;
}

/** Letters, and the letters half an alphabet away: what a random encoder can't know, and a trained one can. */
export function letterPairs(count: number, seed = 3): { query: string; document: string }[] {
  const random = seededRandom(seed);
  const letter = (code: number): string => String.fromCodePoint(97 + (code % 26));
  return Array.from({ length: count }, () => {
    const codes = Array.from({ length: 3 + Math.floor(random() * 6) }, () => Math.floor(random() * 26));
    return {
      query: codes.map(letter).join(' '),
      document: codes.map((code) => letter(code + 13)).join(' '),
    };
  });
}

/** A file of lines, objects as JSON. @returns its path */
export function linesFile(context: Pick<TestContext, 'after'>, lines: readonly unknown[]): string {
  const file = join(temporaryFolder(context), 'pairs.jsonl');
  const text = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line)));
  writeFileSync(file, `${text.join('\n')}\n`);
  return file;
}
