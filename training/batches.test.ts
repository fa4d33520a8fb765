import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Batches } from './batches.ts';

const items = (count: number): number[] => Array.from({ length: count }, (_, item) => item);

/** All items of an epoch, step by step. */
const epoch = (batches: Batches, number: number): number[] =>
  Array.from({ length: batches.perEpoch }, (_, i) => batches.at(number * batches.perEpoch + i)).flat();

test('batches go through all items in each epoch, in another order, from any step', () => {
  const batches = new Batches(items(10), { size: 3, seed: 1 });
  assert.equal(batches.perEpoch, 3);
  assert.equal(new Set(epoch(batches, 0)).size, 9);
  assert.equal(new Set(epoch(batches, 1)).size, 9);
  assert.notDeepEqual(epoch(batches, 0), epoch(batches, 1));
  assert.deepEqual(new Batches(items(10), { size: 3, seed: 1 }).at(4), batches.at(4));
  const few = new Batches(items(2), { size: 64, seed: 1 });
  assert.deepEqual([few.size, few.at(5).length], [2, 2]);
});

test('another seed gives another order, and the same seed the same', () => {
  const ordered = (seed: number): number[] => epoch(new Batches(items(50), { size: 5, seed }), 0);
  assert.deepEqual(ordered(1), ordered(1));
  assert.notDeepEqual(ordered(1), ordered(2));
});

test('where lengths count, the items of a batch are alike in length, and batches of all lengths are mixed', () => {
  const lengthOf = (item: number): number => item % 64;
  const batches = new Batches(items(1_024), { size: 64, seed: 1, lengthOf });
  const spans = Array.from({ length: batches.perEpoch }, (_, step) => {
    const lengths = batches.at(step).map(lengthOf);
    return Math.max(...lengths) - Math.min(...lengths);
  });
  assert.ok(Math.max(...spans) <= 8, `lengths in a batch differ by up to ${Math.max(...spans)}`);
  assert.deepEqual(
    epoch(batches, 0).sort((a, b) => a - b),
    items(1_024),
  );
  const first = Array.from({ length: batches.perEpoch }, (_, step) => lengthOf(batches.at(step)[0]!));
  assert.notDeepEqual(
    first,
    [...first].sort((a, b) => a - b),
  );
});
