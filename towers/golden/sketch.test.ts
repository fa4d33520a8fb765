import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TowerError } from '../errors.ts';
import { recordGolden, TOLERANCE_FLOOR } from './golden.ts';
import {
  compareSketch,
  measureAll,
  measuredOf,
  measureSome,
  parseSketch,
  SKETCH_DIMENSIONS,
  sketchText,
} from './sketch.ts';
import { MovingTower } from './testing/moving-tower.ts';

const turnedBy = (dimensions: number, distance: number): MovingTower => {
  const tower = new MovingTower({ dimensions });
  tower.turn = Math.acos(1 - distance);
  return tower;
};

describe('what a collection keeps of how the model encoded', () => {
  for (const dimensions of [16, SKETCH_DIMENSIONS, 1024]) {
    test(`tells a model that turned from one that did not, in ${dimensions} dimensions`, async () => {
      const still = new MovingTower({ dimensions });
      const sketch = parseSketch(sketchText(await measureSome(still), still));
      assert.equal(sketch.tolerance, TOLERANCE_FLOOR);
      for (const [distance, drifted] of [
        [0, false],
        [0.0015, false],
        [0.0035, true],
        [0.02, true],
        [1, true],
      ] as const) {
        const drift = compareSketch(await measureSome(turnedBy(dimensions, distance)), sketch);
        assert.equal(drift.drifted, drifted, `${distance} looks like ${drift.worst}`);
        // A projection shows the distance to within four standard deviations.
        const slack = dimensions > SKETCH_DIMENSIONS ? 4 * Math.sqrt(2 / SKETCH_DIMENSIONS) : 0.01;
        assert.ok(Math.abs(drift.median - distance) < slack * distance + 1e-4, `${drift.median}`);
      }
    });
  }

  test('takes 11 KB whatever the model', async () => {
    for (const [dimensions, bytes] of [
      [384, 11_200],
      [4096, 11_200],
    ] as const) {
      const tower = new MovingTower({ dimensions });
      assert.ok(sketchText(await measureSome(tower), tower).length < bytes);
    }
  });

  test('is what the tower came with, where it came with golden vectors', async () => {
    const tower = new MovingTower();
    tower.neighbours = Math.acos(1 - 0.004);
    const golden = await recordGolden(tower);
    const sketch = parseSketch(sketchText(measuredOf(golden), tower, golden));
    assert.deepEqual(
      [sketch.recordedAt, sketch.recordedOn, sketch.tolerance],
      [golden.recordedAt, golden.recordedOn, golden.tolerance],
    );
    assert.equal(compareSketch(await measureAll(tower, golden.probes), sketch).worst < 1e-4, true);
    // Encoded alone, the texts lie where the neighbours do not move them: within the tolerance that was measured.
    const alone = compareSketch(await measureSome(tower), sketch);
    assert.ok(!alone.drifted && Math.abs(alone.worst - 0.004) < 1e-4);
  });

  test('is refused with a flaw, which is named', async () => {
    const tower = new MovingTower();
    const value = JSON.parse(sketchText(await measureSome(tower), tower)) as Record<string, unknown>;
    for (const [changes, words] of [
      [{ probes: 99 }, /list 99/],
      [{ vectors: 'AAAA' }, /numbers/],
      [{ tolerance: 1 }, /tolerance/],
      [{ more: 1 }, /more/],
    ] as const) {
      assert.throws(
        () => parseSketch(JSON.stringify({ ...value, ...changes })),
        (error) => error instanceof TowerError && words.test(error.message),
      );
    }
  });

  test('is not made of a vector without direction', async () => {
    const tower = new MovingTower();
    tower.change = (vector) => vector.fill(0);
    const measured = await measureSome(tower);
    assert.throws(() => sketchText(measured, tower), /without direction/);
  });
});
