import assert from 'node:assert/strict';
import { test } from 'node:test';
import { numberToFloat16, toHalves } from './float16.ts';

test('many numbers become the half-precision ones that a library makes of each', () => {
  const edges = [
    0,
    -0,
    1,
    -1,
    65_504,
    65_519.99,
    65_520,
    70_000,
    2 ** -14,
    2 ** -24,
    2 ** -25,
    2 ** -25 * 1.0001,
    1e-9,
  ];
  const ties = [
    1 + 2 ** -11,
    1 + 3 * 2 ** -11,
    1.5 * 2 ** -24,
    2.5 * 2 ** -24,
    2 ** -14 - 2 ** -25,
    2049,
    2051,
  ];
  const patterns = Array.from({ length: 50_000 }, (_, index) => (index * 85_899) >>> 0);
  const spread = new Float32Array(Uint32Array.from(patterns).buffer);
  const values = Float32Array.from([
    ...edges,
    ...ties,
    ...ties.map((tie) => -tie),
    Infinity,
    -Infinity,
    ...spread,
  ]);
  const halves = toHalves(values);
  for (const [index, value] of values.entries()) {
    const expected = Number.isNaN(value) ? 0x7e00 : numberToFloat16(value);
    const found = Number.isNaN(value) ? halves[index]! & 0x7fff : halves[index]!;
    assert.equal(found, expected, String(value));
  }
});
