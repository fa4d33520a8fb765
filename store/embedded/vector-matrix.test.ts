import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { VectorMatrix } from './vector-matrix.ts';

const DIMENSIONS = 6;

/** Unit vectors that repeat, so that scores tie. */
function vectors(count: number, distinct: number): Float32Array[] {
  const base = Array.from({ length: distinct }, (_, index) => {
    const vector = Float32Array.from({ length: DIMENSIONS }, (_, axis) =>
      Math.sin(index * 12.9898 + axis * 78.233),
    );
    const norm = Math.hypot(...vector);
    return vector.map((component) => component / norm);
  });
  return Array.from({ length: count }, (_, index) => base[index % distinct]!);
}

function matrixOf(rows: readonly Float32Array[]): VectorMatrix {
  const matrix = new VectorMatrix(DIMENSIONS);
  for (const row of rows) matrix.append(new Uint8Array(row.buffer));
  return matrix;
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, component, axis) => sum + component * b[axis]!, 0);
}

function unit(vector: Float32Array): Float32Array {
  const norm = Math.hypot(...vector);
  return vector.map((component) => component / norm);
}

describe('VectorMatrix', () => {
  it('visits every row that scores above the bound, however many rows tie', () => {
    const cases = fc.record({
      count: fc.constantFrom(0, 1, 63, 64, 65, 1000, 4096, 4097, 9000),
      distinct: fc.constantFrom(1, 3, 50, 2000),
      wanted: fc.integer({ min: 1, max: 40 }),
      enough: fc.double({ min: -1, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(cases, ({ count, distinct, wanted, enough }) => {
        const rows = vectors(count, distinct);
        const query = vectors(8, 8)[7]!;
        const visited = new Map<number, number>();
        matrixOf(rows).nearest(
          query,
          wanted,
          (row, atMost) => visited.set(row, atMost),
          (atMost) => atMost < enough,
        );
        for (const [row, vector] of rows.entries()) {
          const score = dot(vector, query);
          if (score >= enough) assert.ok(visited.has(row), `row ${row} scores ${score}`);
          assert.ok((visited.get(row) ?? score) >= score, `row ${row} scores ${score}`);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('finds the rows of the highest scores, whatever few numbers the vectors are made of', () => {
    const noise = (seed: number): number => Math.sin(seed * 12.9898) % 0.05;
    const { dimensions, count, wanted } = { dimensions: 96, count: 9000, wanted: 10 };
    // Near each other, so that a code says little; and some of one number alone, so that the scale is wide.
    const rows = Array.from({ length: count }, (_, row) =>
      unit(
        Float32Array.from({ length: dimensions }, (__, axis) =>
          row % 1000 === 999 ? Number(axis === row % dimensions) : 1 + noise(row * dimensions + axis),
        ),
      ),
    );
    const matrix = new VectorMatrix(dimensions);
    for (const row of rows) matrix.append(new Uint8Array(row.buffer));
    for (const query of [rows[17]!, rows[999]!, unit(rows[5]!.map((value) => value - 0.1))]) {
      const top: number[] = [];
      const scores = rows.map((row) => dot(row, query));
      matrix.nearest(
        query,
        wanted,
        (row) => {
          if (top.includes(row)) return;
          top.push(row);
          top.sort((a, b) => scores[b]! - scores[a]!);
          top.length = Math.min(top.length, wanted);
        },
        (atMost) => top.length === wanted && atMost < scores[top.at(-1)!]!,
      );
      const best = scores.toSorted((a, b) => b - a).slice(0, wanted);
      assert.deepEqual(
        top.map((row) => scores[row]!),
        best,
      );
    }
  });

  it('finds the same where a second thread scans half of the rows, also after they have changed', () => {
    const query = unit(Float32Array.of(1, 2, 3, 4, 5, 6));
    const rows = [...vectors(69_999, 2000), query];
    const matrix = matrixOf(rows);
    for (const change of ['none', 'moved']) {
      if (change === 'moved') {
        // Into a chunk that the other thread has a copy of.
        matrix.move(69_999, 4100, 1);
        rows[4100] = query;
      }
      const enough = rows.map((row) => dot(row, query)).toSorted((a, b) => b - a)[200]!;
      const visited = new Set<number>();
      matrix.nearest(
        query,
        200,
        (row) => visited.add(row),
        (atMost) => atMost < enough,
      );
      for (const [row, vector] of rows.entries()) {
        if (dot(vector, query) >= enough) assert.ok(visited.has(row), `row ${row}, ${change}`);
      }
    }
  });

  it('keeps rows while it grows, and gives their dot products', () => {
    const rows = vectors(9000, 9000);
    const matrix = matrixOf(rows);
    assert.equal(matrix.length, 9000);
    const query = vectors(3, 3)[2]!;
    for (const row of [0, 63, 64, 4095, 4096, 8191, 8192, 8999]) {
      assert.ok(Math.abs(matrix.dot(row, query) - dot(rows[row]!, query)) < 1e-6);
    }
  });

  it('moves rows, forgets the last ones and appends after that', () => {
    const rows = vectors(9000, 9000);
    const matrix = matrixOf(rows);
    matrix.move(8999, 10, 1);
    for (const length of [4097, 4096, 11, 0]) {
      matrix.truncate(length);
      assert.equal(matrix.length, length);
      const next = vectors(5000, 5000)[4999]!;
      matrix.append(new Uint8Array(next.buffer));
      assert.ok(Math.abs(matrix.dot(length, next) - 1) < 1e-6);
      if (length > 10) assert.ok(Math.abs(matrix.dot(10, rows[8999]!) - 1) < 1e-6);
      const visited = new Set<number>();
      matrix.nearest(
        next,
        1,
        (row) => visited.add(row),
        () => false,
      );
      assert.equal(visited.size, length + 1);
    }
  });
});
