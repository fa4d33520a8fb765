import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { float32, type Tensor } from '../onnx/tensor.ts';

/** A vector, a matrix, ... of numbers, as JSON has it. */
export type Numbers = readonly (number | Numbers)[];

/** What `training/reference/generate.py` worked out with libraries that are not ours. */
export function readReference<T>(name: string): T {
  return JSON.parse(
    readFileSync(new URL(`../../../training/reference/${name}.json`, import.meta.url), 'utf8'),
  ) as T;
}

/** All numbers, one after the other. */
function flatten(values: Numbers): number[] {
  return values.flatMap((value) => (typeof value === 'number' ? [value] : flatten(value)));
}

/** Nested lists as a float32 tensor. */
export function tensorOf(values: Numbers): Tensor {
  const dims: number[] = [];
  for (let at: number | Numbers | undefined = values; Array.isArray(at); at = at[0] as number | Numbers) {
    dims.push(at.length);
  }
  return float32(dims, flatten(values));
}

/** Asserts that numbers agree, by the larger of an absolute and a relative error. */
export function assertClose(
  actual: ArrayLike<number>,
  expected: number | Numbers | Tensor,
  what: string,
  tolerance = 1e-5,
): void {
  const wanted =
    typeof expected === 'number'
      ? [expected]
      : 'data' in expected
        ? Array.from(expected.data as Float32Array)
        : flatten(expected);
  assert.equal(actual.length, wanted.length, what);
  for (const [index, value] of wanted.entries()) {
    const error = Math.abs(actual[index]! - value) / Math.max(1, Math.abs(value));
    assert.ok(error <= tolerance, `${what}[${index}] is ${actual[index]}, the reference has ${value}`);
  }
}
