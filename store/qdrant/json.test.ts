import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { unitFactor } from '../check.ts';
import { sparseJson, vectorJson } from './json.ts';

const vector = fc
  .float32Array({
    minLength: 1,
    maxLength: 600,
    noNaN: true,
    noDefaultInfinity: true,
    min: -(2 ** 50),
    max: 2 ** 50,
  })
  .filter((components) => components.some((component) => Math.abs(component) > 1e-15));

describe('a vector as JSON', () => {
  it('is the unit vector, to seven decimals', () => {
    const property = fc.property(vector, (components) => {
      const factor = unitFactor(components, 'vector');
      const read = JSON.parse(vectorJson(components, factor)) as number[];
      assert.equal(read.length, components.length);
      for (const [index, component] of read.entries()) {
        assert.ok(Math.abs(component - components[index]! * factor) <= 0.5000001e-7);
      }
    });
    fc.assert(property);
  });

  it('has the components that are easy to get wrong', () => {
    const components = Float32Array.of(1, -1, 0, -0, 0.5, -0.0000001, 0.00000004, -0.00000004, 0.99999994);
    assert.deepEqual(JSON.parse(vectorJson(components, 1)), [1, -1, 0, 0, 0.5, -0.0000001, 0, 0, 0.9999999]);
  });

  it('keeps scores to within 1e-6', () => {
    const property = fc.property(vector, vector, (a, b) => {
      const length = Math.min(a.length, b.length);
      const [x, y] = [a.subarray(0, length), b.subarray(0, length)];
      fc.pre(x.some((component) => component !== 0) && y.some((component) => component !== 0));
      const [p, q] = [unitFactor(x, 'x'), unitFactor(y, 'y')];
      const [r, s] = [x, y].map((one, index) => JSON.parse(vectorJson(one, index === 0 ? p : q)) as number[]);
      const exact = x.reduce((sum, component, index) => sum + component * p * y[index]! * q, 0);
      const rounded = r!.reduce((sum, component, index) => sum + component * s![index]!, 0);
      assert.ok(Math.abs(exact - rounded) < 1e-6);
    });
    fc.assert(property);
  });
});

describe('a sparse vector as JSON', () => {
  it('has its weights as float32 has them', () => {
    const json = sparseJson({ indices: [3, 4294967295], values: [0.1, 2] });
    assert.deepEqual(JSON.parse(json), { indices: [3, 4294967295], values: [Math.fround(0.1), 2] });
  });
});
