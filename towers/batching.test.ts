import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { BatchQueue, planBatches } from './batching.ts';

interface Input {
  length: number;
}

const inputs = fc.array(fc.record({ length: fc.nat(300) }), { maxLength: 200 });
const budgets = fc.integer({ min: 1, max: 4_096 });

function queueOf(items: readonly Input[]): BatchQueue<Input> {
  const queue = new BatchQueue<Input>();
  for (const item of items) queue.push(item, item.length);
  return queue;
}

function positions(batch: readonly Input[]): number {
  return batch.length * Math.max(...batch.map(({ length }) => length));
}

test('every input is taken exactly once, in batches that keep to the budget', () => {
  fc.assert(
    fc.property(inputs, budgets, (items, budget) => {
      const queue = queueOf(items);
      const taken = new Set<Input>();
      while (queue.size > 0) {
        const batch = queue.take(budget);
        assert.ok(batch.length > 0);
        assert.ok(batch.length === 1 || positions(batch) <= budget);
        for (const item of batch) {
          assert.ok(!taken.has(item));
          taken.add(item);
        }
      }
      assert.equal(taken.size, items.length);
      assert.equal(queue.tokens, 0);
      assert.deepEqual(queue.take(budget), []);
    }),
  );
});

test('the oldest input is in the next batch, whatever else waits', () => {
  fc.assert(
    fc.property(inputs, budgets, (items, budget) => {
      const queue = queueOf(items);
      while (queue.size > 0) {
        const oldest = queue.oldest;
        assert.ok(oldest !== undefined && queue.take(budget).includes(oldest));
      }
    }),
  );
});

test('inputs of one length come in the order of their arrival', () => {
  const queue = new BatchQueue<string>();
  for (const item of ['a', 'b', 'c', 'd']) queue.push(item, 7);
  assert.deepEqual(queue.take(14), ['a', 'b']);
  assert.deepEqual(queue.take(28), ['c', 'd']);
});

test('a batch grows to the side that adds less padding to all of it', () => {
  const queue = new BatchQueue<string>();
  // The oldest two have length 10. A third one of 6 adds 4 positions of padding, one of 13 adds 3 to each of the two.
  for (const [item, length] of [
    ['first', 10],
    ['second', 10],
    ['shorter', 6],
    ['longer', 13],
  ] as const) {
    queue.push(item, length);
  }
  assert.deepEqual(queue.take(39), ['shorter', 'first', 'second']);
});

function taken(lengths: Readonly<Record<string, number>>, budget: number): string[] {
  const queue = new BatchQueue<string>();
  for (const [item, length] of Object.entries(lengths)) queue.push(item, length);
  return queue.take(budget);
}

test('a batch grows to the side that adds less padding, and to the longer one if both add the same', () => {
  assert.deepEqual(taken({ first: 10, shorter: 6, longer: 11 }, 22), ['first', 'longer']);
  assert.deepEqual(taken({ first: 10, shorter: 9, longer: 12 }, 24), ['shorter', 'first']);
  assert.deepEqual(taken({ first: 10, shorter: 7, longer: 13 }, 26), ['first', 'longer']);
  // Of three of length 10, one of 11 adds 1 to each of three, one of 8 adds 2.
  assert.deepEqual(taken({ a: 10, b: 10, c: 10, shorter: 8, longer: 11 }, 44), ['shorter', 'a', 'b', 'c']);
});

test('a batch may fill the budget exactly, on either side', () => {
  assert.deepEqual(taken({ first: 10, shorter: 6 }, 20), ['shorter', 'first']);
  assert.deepEqual(taken({ first: 10, shorter: 6 }, 19), ['first']);
  assert.deepEqual(taken({ first: 10, longer: 12 }, 24), ['first', 'longer']);
  assert.deepEqual(taken({ first: 10, longer: 12 }, 23), ['first']);
});

test('planned batches are as large as budget and size allow', () => {
  const plan = (lengths: number[], maxBatchTokens: number, maxBatchSize = 64): number[][] =>
    planBatches(lengths, { maxBatchTokens, maxBatchSize });
  assert.deepEqual(plan([1, 1, 1], 3), [[0, 1, 2]]);
  assert.deepEqual(plan([0, 0, 0], 2), [[0, 1], [2]]);
  assert.deepEqual(plan([3, 9, 4], 12), [[1], [2, 0]]);
  assert.deepEqual(plan([5, 5, 5], 10), [[0, 1], [2]]);
  assert.deepEqual(plan([5, 5, 5], 100, 2), [[0, 1], [2]]);
  assert.deepEqual(plan([20, 1], 10), [[0], [1]]);
});

test('a long input does not starve while short ones keep arriving', () => {
  const queue = new BatchQueue<Input>();
  const long = { length: 300 };
  queue.push({ length: 5 }, 5);
  queue.push(long, long.length);
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 100; i++) queue.push({ length: 5 }, 5);
    if (queue.take(310).includes(long)) return;
  }
  assert.fail('the long input still waits');
});

test('a batch is a run of neighbours in length: nobody outside would have fitted better', () => {
  fc.assert(
    fc.property(inputs, budgets, (items, least) => {
      const all = items.reduce((sum, { length }) => sum + length, 0);
      // So few that none is far from the oldest one.
      const budget = Math.max(least, Math.ceil(all / 2));
      const queue = queueOf(items);
      const left = new Set(items);
      while (queue.size > 0) {
        const batch = queue.take(budget);
        for (const item of batch) left.delete(item);
        const lengths = batch.map(({ length }) => length);
        assert.deepEqual(
          lengths,
          lengths.toSorted((a, b) => a - b),
        );
        const shortest = lengths[0]!;
        const longest = lengths.at(-1)!;
        for (const { length } of left) assert.ok(length <= shortest || length >= longest);
        const next = [...left].filter(({ length }) => length >= longest).map(({ length }) => length);
        assert.ok(next.length === 0 || (batch.length + 1) * Math.min(...next) > budget);
      }
    }),
  );
});

/** Inputs of forty lengths, one after the other. */
function manyLengths(count: number): Input[] {
  return Array.from({ length: count }, (_, index) => ({ length: 10 + ((index * 17) % 40) }));
}

/** How many inputs a caller has that wants them in their order. */
function doneInOrder(items: readonly Input[], done: ReadonlySet<Input>): number {
  const waits = items.findIndex((item) => !done.has(item));
  return waits < 0 ? items.length : waits;
}

for (const budget of [256, 1_024]) {
  test(`the first inputs are done soon, however many wait, in batches of ${budget}`, () => {
    const items = manyLengths(2_000);
    const queue = queueOf(items);
    const done = new Set<Input>();
    for (const share of [0.05, 0.1, 0.2, 0.5]) {
      while (done.size < share * items.length) {
        for (const item of queue.take(budget, { maxPadding: 6 })) done.add(item);
      }
      const inOrder = doneInOrder(items, done);
      assert.ok(inOrder > 0.3 * done.size, `${inOrder} of the ${done.size} that are done`);
    }
  });
}

test('a batch looks for neighbours the farther the longer the queue has been full', () => {
  const queue = new BatchQueue<Input>();
  const add = (items: readonly Input[]): void => items.forEach((item) => queue.push(item, item.length));
  const take = (): Input[] => queue.take(512, { maxPadding: 6 });
  const long = (): Input => ({ length: 200 });
  const [first, second] = [long(), long()];
  add([first, ...manyLengths(100), second]);
  assert.deepEqual(take(), [first], 'at first the other one is too far away');
  const [third, fourth] = [long(), long()];
  add([...manyLengths(300), third, ...manyLengths(100), fourth]);
  let batch: Input[] = [];
  while (!batch.includes(third)) batch = take();
  assert.deepEqual(batch, [third, fourth]);
});

test('of equal length, the older input goes first', () => {
  const items = Array.from({ length: 5 }, () => ({ length: 10 }));
  assert.deepEqual(queueOf(items).take(30), items.slice(0, 3));
});

test('an input that is removed is never taken', () => {
  fc.assert(
    fc.property(inputs, fc.func(fc.boolean()), (items, isDropped) => {
      const queue = queueOf(items);
      const dropped = items.filter((_, index) => isDropped(index));
      for (const item of dropped) assert.equal(queue.remove(item), true);
      for (const item of dropped) assert.equal(queue.remove(item), false);
      const taken = queue.take(Number.POSITIVE_INFINITY);
      assert.deepEqual(new Set(taken), new Set(items.filter((item) => !dropped.includes(item))));
    }),
  );
});

test('planned batches hold each index once, longest first, within budget and size', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(300)),
      budgets,
      fc.integer({ min: 1, max: 64 }),
      (lengths, maxBatchTokens, maxBatchSize) => {
        const batches = planBatches(lengths, { maxBatchTokens, maxBatchSize });
        const order = batches.flat();
        assert.deepEqual(
          order.toSorted((a, b) => a - b),
          [...lengths.keys()],
        );
        assert.deepEqual(
          order.map((index) => lengths[index]),
          lengths.toSorted((a, b) => b - a),
        );
        for (const batch of batches) {
          assert.ok(batch.length >= 1 && batch.length <= maxBatchSize);
          assert.ok(
            batch.length === 1 ||
              positions(batch.map((index) => ({ length: lengths[index]! }))) <= maxBatchTokens,
          );
        }
      },
    ),
  );
});

test('a group with nothing left does not hold up the others', () => {
  const queue = new BatchQueue<string>();
  const [few, many] = [{ group: {} }, { group: {} }];
  queue.push('few', 10, few);
  for (const item of ['many 1', 'many 2', 'many 3']) queue.push(item, 100, many);
  const taken = Array.from({ length: 4 }, () => queue.take(1000, { maxBatchSize: 1 }));
  assert.deepEqual(taken, [['few'], ['many 1'], ['many 2'], ['many 3']]);
});

/** Lengths of all batches of a queue. */
function batchesOf(lengths: readonly number[], maxPadding: number): number[][] {
  const queue = queueOf(lengths.map((length) => ({ length })));
  const batches: number[][] = [];
  while (queue.size > 0) batches.push(queue.take(1000, { maxPadding }).map(({ length }) => length));
  return batches;
}

test('an input that would add more padding than a run costs waits for another run', () => {
  assert.deepEqual(batchesOf([10, 11, 13, 9], 4), [[9, 10, 11], [13]]);
  assert.deepEqual(batchesOf([10, 20, 10, 20], 4), [
    [10, 10],
    [20, 20],
  ]);
  assert.deepEqual(batchesOf([10, 20], 0), [[10], [20]]);
  // Three of length 10 would each be padded by two.
  assert.deepEqual(batchesOf([10, 10, 10, 12], 5), [[10, 10, 10], [12]]);
  const plan = planBatches([10, 20, 11, 18, 14], { maxBatchTokens: 1000, maxPadding: 4 });
  assert.deepEqual(plan, [[1, 3], [4, 2], [0]]);
});

test('no batch has more padding than allowed, planned or taken', () => {
  fc.assert(
    fc.property(inputs, budgets, fc.nat(50), (items, maxBatchTokens, maxPadding) => {
      const padding = (batch: readonly Input[]): number =>
        positions(batch) - batch.reduce((sum, { length }) => sum + length, 0);
      const queue = queueOf(items);
      while (queue.size > 0) assert.ok(padding(queue.take(maxBatchTokens, { maxPadding })) <= maxPadding);
      const lengths = items.map(({ length }) => length);
      const planned = planBatches(lengths, { maxBatchTokens, maxPadding });
      assert.equal(planned.flat().length, items.length);
      for (const batch of planned) assert.ok(padding(batch.map((index) => items[index]!)) <= maxPadding);
    }),
  );
});
