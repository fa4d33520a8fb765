import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { float16ToNumber, numberToFloat16 } from './float16.ts';
import { arrayOf, scalar, tensor, toNumbers } from './tensor.ts';

describe('float16', () => {
  test('has the values of IEEE 754 binary16', () => {
    const known: [bits: number, value: number][] = [
      [0x0000, 0],
      [0x3c00, 1],
      [0xc000, -2],
      [0x7bff, 65504],
      [0x0400, 2 ** -14],
      [0x0001, 2 ** -24],
      [0x3555, 0.333251953125],
      [0x7c00, Infinity],
      [0xfc00, -Infinity],
    ];
    for (const [bits, value] of known) {
      assert.equal(float16ToNumber(bits), value);
      assert.equal(numberToFloat16(value), bits);
    }
    assert.ok(Number.isNaN(float16ToNumber(numberToFloat16(NaN))));
  });

  test('comes back from every bit pattern', () => {
    for (let bits = 0; bits < 65536; bits++) {
      const value = float16ToNumber(bits);
      if (!Number.isNaN(value)) assert.equal(numberToFloat16(value), bits);
    }
  });

  test('is the nearest there is', () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true, min: -65504, max: 65504 }), (value) => {
        const bits = numberToFloat16(value);
        const error = Math.abs(float16ToNumber(bits) - value);
        for (const other of [bits - 1, bits + 1]) {
          const neighbour = float16ToNumber(other & 0xffff);
          if (Number.isFinite(neighbour)) assert.ok(error <= Math.abs(neighbour - value));
        }
      }),
    );
  });
});

describe('toNumbers', () => {
  test('unpacks two 4-bit integers from a byte, low half first', () => {
    const data = arrayOf('uint4', [0x2f, 0x08]);
    assert.deepEqual([...toNumbers(tensor('uint4', [3], data))], [15, 2, 8]);
    assert.deepEqual([...toNumbers(tensor('int4', [3], data))], [-1, 2, -8]);
  });

  test('decodes half precision and 64-bit integers', () => {
    assert.deepEqual([...toNumbers(scalar('float16', -1.5))], [-1.5]);
    assert.deepEqual([...toNumbers(tensor('bfloat16', [1], Uint16Array.of(0xbfc0)))], [-1.5]);
    assert.deepEqual([...toNumbers(tensor('int64', [1], BigInt64Array.of(-7n)))], [-7]);
  });
});
