import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { unitFactor } from '../check.ts';
import { JsonWriter } from './json.ts';

const writer = new JsonWriter();

function written(components: Float32Array, factor: number): number[] {
  return JSON.parse(writer.vector(components, factor).take().toString()) as number[];
}

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
      const read = written(components, factor);
      assert.equal(read.length, components.length);
      for (const [index, component] of read.entries()) {
        assert.ok(Math.abs(component - components[index]! * factor) <= 0.5000001e-7);
      }
    });
    fc.assert(property);
  });

  it('has the components that are easy to get wrong', () => {
    const components = Float32Array.of(1, -1, 0, -0, 0.5, -0.0000001, 0.00000004, -0.00000004, 0.99999994);
    assert.deepEqual(written(components, 1), [1, -1, 0, 0, 0.5, -0.0000001, 0, 0, 0.9999999]);
  });

  it('keeps scores to within 1e-6', () => {
    const property = fc.property(vector, vector, (a, b) => {
      const length = Math.min(a.length, b.length);
      const [x, y] = [a.subarray(0, length), b.subarray(0, length)];
      fc.pre(x.some((component) => component !== 0) && y.some((component) => component !== 0));
      const [p, q] = [unitFactor(x, 'x'), unitFactor(y, 'y')];
      const [r, s] = [x, y].map((one, index) => written(one, index === 0 ? p : q));
      const exact = x.reduce((sum, component, index) => sum + component * p * y[index]! * q, 0);
      const rounded = r!.reduce((sum, component, index) => sum + component * s![index]!, 0);
      assert.ok(Math.abs(exact - rounded) < 1e-6);
    });
    fc.assert(property);
  });
});

describe('a sparse vector as JSON', () => {
  it('has its weights as float32 has them', () => {
    const json = new JsonWriter().sparse({ indices: [3, 4294967295], values: [0.1, 2] }).take();
    assert.deepEqual(JSON.parse(json.toString()), {
      indices: [3, 4294967295],
      values: [Math.fround(0.1), 2],
    });
  });
});

describe('JSON as bytes', () => {
  it('is what was written, in pieces of any length and in any script', () => {
    const pieces = fc.array(fc.string({ unit: 'binary', maxLength: 400 }), { maxLength: 20 });
    const property = fc.property(fc.array(pieces, { maxLength: 20 }), (texts) => {
      const taken = texts.map((own) => {
        for (const piece of own) writer.raw(piece);
        return writer.take();
      });
      // Compare after everything is written: bytes that were taken must not change.
      assert.deepEqual(
        taken.map((bytes) => bytes.toString()),
        texts.map((own) => own.join('').toWellFormed()),
      );
    });
    fc.assert(property);
  });

  it('may be longer than the memory that is taken at a time', () => {
    const long = 'ä€😀'.repeat(300_000);
    const small = new JsonWriter();
    assert.equal(small.raw('[').raw(long).raw(']').take().toString(), `[${long}]`);
    assert.equal(small.raw('1').take().toString(), '1');
  });
});
