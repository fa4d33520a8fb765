import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../random.ts';
import { Columns, type LookupProblem } from './columns.ts';
import { countTokens, lengthOf, sharedFloats, sumVectors } from './counts.ts';
import { solveLookup } from './solve.ts';

function shared(values: readonly number[]): Float32Array {
  const array = sharedFloats(values.length);
  array.set(values);
  return array;
}

const random = seededRandom(5);
const noise = (length: number): number[] => Array.from({ length }, () => 2 * random() - 1);

/** Solves a · x = b by elimination with pivots. */
function solveDense(a: number[][], b: number[]): number[] {
  const rows = a.map((row, index) => [...row, b[index]!]);
  for (let at = 0; at < rows.length; at++) {
    const pivot = rows
      .slice(at)
      .reduce((best, row) => (Math.abs(row[at]!) > Math.abs(best[at]!) ? row : best));
    rows.splice(rows.indexOf(pivot), 1);
    rows.splice(at, 0, pivot);
    for (const row of rows) {
      if (row === pivot) continue;
      const factor = row[at]! / pivot[at]!;
      for (let column = at; column < row.length; column++) row[column]! -= factor * pivot[column]!;
    }
  }
  return rows.map((row, at) => row.at(-1)! / row[at]!);
}

const TEXTS = [[0, 1, 1], [2, 3], [0, 3, 4], [1, 2, 4, 4], [4], [0, 2, 2, 2]];
const TOKENS = 6;
const DIMENSIONS = 11;

function problem(ridge: number): LookupProblem {
  return {
    texts: countTokens(TEXTS),
    targets: shared(noise(TEXTS.length * DIMENSIONS)),
    dimensions: DIMENSIONS,
    prior: shared(noise(TOKENS * DIMENSIONS)),
    ridge,
  };
}

test('tokens are counted once for each text', () => {
  const texts = countTokens([[7, 3, 7], [], [3]]);
  assert.deepEqual([...texts.starts], [0, 2, 2, 3]);
  assert.deepEqual([...texts.tokens], [7, 3, 3]);
  assert.deepEqual([...texts.counts], [2, 1, 1]);
  assert.deepEqual(
    [0, 1, 2].map((row) => lengthOf(texts, row)),
    [3, 0, 1],
  );
});

test('a sum counts a token as often as the text says it', () => {
  const out = new Float32Array(2);
  sumVectors(countTokens([[1, 0, 1]]), 0, Float32Array.of(1, 2, 10, 20), out);
  assert.deepEqual([...out], [21, 42]);
});

test('a ridge regression is what elimination says it is, whichever dimensions a thread has', () => {
  const given = problem(0.3);
  const scales = shared(TEXTS.map(() => 0.5 + random()));
  const weights = shared(TEXTS.map(() => 0.5 + random()));
  const found = new Float32Array(TOKENS * DIMENSIONS);
  for (const [from, to] of [
    [0, 1],
    [1, 9],
    [9, 11],
  ] as const) {
    const columns = new Columns(given, from, to);
    columns.solve({ scales, weights }, 2 * TOKENS);
    columns.write(found);
  }
  const counts = TEXTS.map((ids, row) =>
    Array.from({ length: TOKENS }, (_, token) => scales[row]! * ids.filter((id) => id === token).length),
  );
  const normal = Array.from({ length: TOKENS }, (_, i) =>
    Array.from({ length: TOKENS }, (_, j) =>
      counts.reduce((sum, row) => sum + row[i]! * row[j]!, i === j ? given.ridge : 0),
    ),
  );
  for (let dimension = 0; dimension < DIMENSIONS; dimension++) {
    const right = Array.from({ length: TOKENS }, (_, token) =>
      counts.reduce(
        (sum, row, text) =>
          sum + row[token]! * weights[text]! * given.targets[text * DIMENSIONS + dimension]!,
        given.ridge * given.prior[token * DIMENSIONS + dimension]!,
      ),
    );
    for (const [token, expected] of solveDense(normal, right).entries()) {
      const actual = found[token * DIMENSIONS + dimension]!;
      assert.ok(
        Math.abs(actual - expected) < 1e-4,
        `token ${token}, dimension ${dimension}: ${actual}, not ${expected}`,
      );
    }
  }
});

test('a token that no text has keeps its prior', async () => {
  const given = problem(0.1);
  const vectors = await solveLookup(given, { threads: 1 });
  assert.deepEqual(vectors.subarray(5 * DIMENSIONS), given.prior.subarray(5 * DIMENSIONS));
  assert.notDeepEqual(vectors.subarray(0, DIMENSIONS), given.prior.subarray(0, DIMENSIONS));
});

test('texts whose vectors are sums of token vectors are learnt, on any number of threads', async () => {
  const tokens = 40;
  const rows = 400;
  const truth = Float32Array.from(noise(tokens * DIMENSIONS));
  const texts = countTokens(
    Array.from({ length: rows }, () =>
      Array.from({ length: 2 + Math.floor(random() * 6) }, () => Math.floor(random() * tokens)),
    ),
  );
  const targets = sharedFloats(rows * DIMENSIONS);
  const sum = new Float32Array(DIMENSIONS);
  for (let row = 0; row < rows; row++) {
    sumVectors(texts, row, truth, sum);
    const norm = Math.hypot(...sum);
    targets.set(
      sum.map((value) => value / norm),
      row * DIMENSIONS,
    );
  }
  const given = {
    texts,
    targets,
    dimensions: DIMENSIONS,
    prior: sharedFloats(tokens * DIMENSIONS),
    ridge: 1e-3,
  };
  const rounds: number[] = [];
  const alone = await solveLookup(given, { threads: 1, onRound: (round) => rounds.push(round) });
  const together = await solveLookup(given, { threads: 3 });
  assert.deepEqual(rounds, [0, 1, 2, 3, 4]);
  let cosine = 0;
  for (let row = 0; row < rows; row++) {
    sumVectors(texts, row, alone, sum);
    const norm = Math.hypot(...sum);
    for (const [dimension, value] of sum.entries()) {
      cosine += (value * targets[row * DIMENSIONS + dimension]!) / norm / rows;
    }
  }
  assert.ok(cosine > 0.99, `mean cosine ${cosine}`);
  for (const [index, value] of alone.entries()) assert.ok(Math.abs(value - together[index]!) < 1e-3);
});
