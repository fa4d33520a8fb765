import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../towers/testing/tiny-tower.ts';
import { findLayers } from '../gradient/layers.ts';
import { parameterCount } from '../onnx/parameters.ts';
import { toPlain } from '../onnx/rewrite/plain.ts';
import { runAsIs } from '../onnx/run.ts';
import { elementCount, float32, toNumbers } from '../onnx/tensor.ts';
import { noise } from '../testing/noise.ts';
import { TINY, tinyBatch, tinyLlama } from '../testing/tiny-models.ts';
import { letterPairs, linesFile, tinyBase } from '../testing/tiny-base.ts';
import { sweepPage } from './sweep-page.ts';
import { factorize, factorizeProducts } from './low-rank.ts';
import { shapeOf, sweep, type SweepRequest } from './sweep.ts';

test('a matrix of a rank is the product of two of that width, and any is nearer with more', () => {
  const product = (left: ArrayLike<number>, right: ArrayLike<number>, rank: number): Float32Array =>
    Float32Array.from({ length: 20 * 30 }, (_, i) => {
      let sum = 0;
      for (let k = 0; k < rank; k++) sum += left[Math.floor(i / 30) * rank + k]! * right[k * 30 + (i % 30)]!;
      return sum;
    });
  const errorOf = (matrix: Float32Array, rank: number): number => {
    const { left, right } = factorize(float32([20, 30], matrix), rank);
    assert.deepEqual(
      [left.dims, right.dims],
      [
        [20, rank],
        [rank, 30],
      ],
    );
    const again = product(toNumbers(left), toNumbers(right), rank);
    return Math.hypot(...again.map((x, i) => x - matrix[i]!)) / Math.hypot(...matrix);
  };
  const narrowOne = product(toNumbers(noise([20, 4], 1)), toNumbers(noise([4, 30], 2)), 4);
  assert.ok(errorOf(narrowOne, 4) < 1e-5);
  const any = toNumbers(noise([20, 30], 3)) as Float32Array;
  const errors = [2, 6, 12, 19].map((rank) => errorOf(any, rank));
  assert.deepEqual(
    errors,
    [...errors].sort((a, b) => b - a),
  );
  assert.ok(errors.at(-1)! < 0.2 && errors[0]! > 0.5);
});

test('a narrowed encoder has fewer weights, the same inputs and outputs, and nearly the same results', async () => {
  const shape = { ...TINY, width: 24, heads: 2 };
  const wide = await toPlain(tinyLlama(shape));
  const output = 'last_hidden_state';
  const { weights } = await findLayers(wide, output);
  const feeds = tinyBatch(wide, 4, 6, 1);
  const [expected] = await runAsIs(wide, [feeds]);
  const errors: number[] = [];
  const counts: number[] = [];
  for (const width of [2, 6, 11]) {
    const narrowed = factorizeProducts(wide, weights, width);
    const found = await findLayers(narrowed, output);
    assert.equal(found.boundaries.length, shape.layers + 1);
    counts.push(parameterCount(narrowed, found.weights));
    const [results] = await runAsIs(narrowed, [feeds]);
    const [a, b] = [toNumbers(results![output]!), toNumbers(expected![output]!)];
    errors.push(Math.hypot(...Array.from(a, (x, i) => x - b[i]!)) / Math.hypot(...b));
  }
  assert.ok(counts[0]! < counts[1]! && counts[1]! < counts[2]! && counts[2]! < parameterCount(wide, weights));
  assert.ok(errors[2]! < errors[0]!);
  const same = factorizeProducts(wide, weights, 24);
  assert.equal(
    [...same.graph.initializers.values()].reduce((sum, { dims }) => sum + elementCount(dims), 0),
    [...wide.graph.initializers.values()].reduce((sum, { dims }) => sum + elementCount(dims), 0),
  );
});

test('a sweep measures its points once, fits the laws, predicts what it has not seen, and draws it', async (context) => {
  const folder = temporaryFolder(context);
  const lines: string[] = [];
  const pairs = letterPairs(1_000).map((pair, i) => ({ ...pair, split: i < 300 ? 'held-out' : 'train' }));
  const request: SweepRequest = {
    base: tinyBase(context),
    pairs: linesFile(context, pairs),
    out: join(folder, 'sweep'),
    points: [
      { layers: 1, width: 1, pairs: 320 },
      { layers: 1, width: 2, pairs: 320 },
      { layers: 2, width: 2, pairs: 320 },
      { layers: 2, width: 'full', pairs: 320 },
      { layers: 1, width: 1, pairs: 160 },
      { layers: 2, width: 'full', pairs: 160 },
    ],
    heldOut: { layers: 2, width: 3, pairs: 320 },
    batch: 32,
    rate: 0.01,
    seed: 1,
    threads: 1,
    cacheDir: folder,
    log: (line) => lines.push(line),
  };
  assert.deepEqual(await shapeOf(request.base, folder), { layers: TINY.layers, width: TINY.width });
  const report = await sweep(request);
  assert.equal(report.points.length, 6);
  assert.deepEqual(
    report.points.map(({ steps }) => steps),
    [10, 10, 10, 10, 5, 5],
  );
  assert.ok(report.points[0]!.parameters < report.points[2]!.parameters);
  assert.ok(report.points.every(({ entropy }) => entropy > 0 && entropy < Math.log(256) + 3));
  const { predicted, within, entropy } = report.heldOut;
  assert.equal(within, predicted.interval[0] <= entropy && entropy <= predicted.interval[1]);
  assert.equal(report.size.points, 4);
  const trained = lines.length;
  assert.deepEqual(await sweep(request), report);
  assert.equal(lines.length, trained, 'nothing is trained again');
  const page = sweepPage(report);
  assert.match(page, /<svg.*circle.*<\/svg>/s);
  assert.ok(!/NaN|undefined|https?:/.test(page));
});
