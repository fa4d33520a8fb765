import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Lanes } from './lanes.ts';

interface Item {
  sequence: number;
  id: string;
  size: number;
}

async function* source(count: number, onRead: (sequence: number) => void = () => {}): AsyncGenerator<Item> {
  for (let sequence = 1; sequence <= count; sequence++) {
    onRead(sequence);
    yield { sequence, id: String(sequence % 10), size: 10 };
  }
}

function lanesOf(items: AsyncIterable<Item>, count: number): Lanes<Item> {
  return new Lanes(items, count, { idOf: ({ id }) => id, sizeOf: ({ size }) => size, after: 0 });
}

test('the same id always goes the same way, in order, and nothing is lost', async () => {
  const lanes = lanesOf(source(5000), 3);
  const read = await Promise.all(
    [0, 1, 2].map(async (index) => {
      const items: Item[] = [];
      for await (const item of lanes.items(index)) items.push(item);
      return items;
    }),
  );
  const ways = new Map<string, number>();
  for (const [lane, items] of read.entries()) {
    assert.ok(items.length > 0, 'every lane has something');
    let last = 0;
    for (const { id, sequence } of items) {
      assert.equal(ways.get(id) ?? lane, lane);
      ways.set(id, lane);
      assert.ok(sequence > last);
      last = sequence;
    }
  }
  assert.equal(read.flat().length, 5000);
});

test('everything is durable up to the first item that is not', async () => {
  const lanes = lanesOf(source(100), 2);
  const items = await Promise.all(
    [0, 1].map(async (index) => {
      const taken: Item[] = [];
      for await (const item of lanes.items(index)) taken.push(item);
      return taken;
    }),
  );
  const firstOf = (lane: number): number => items[lane]![0]!.sequence;
  const later = firstOf(0) === 1 ? 1 : 0;
  assert.equal(lanes.durable(later, 100), 0, 'the first item of all is not durable');
  assert.equal(lanes.durable(1 - later, 1), items[1 - later]![1]!.sequence - 1);
  assert.equal(lanes.durable(1 - later, 100), 100);
});

test('a lane that nobody reads holds back the source, and memory stays bounded', async () => {
  let read = 0;
  const lanes = lanesOf(
    source(100_000, (sequence) => (read = sequence)),
    2,
  );
  const one = lanes.items(0);
  for (let taken = 0; taken < 20; taken++) await one.next();
  const stuck = one.next();
  for (let turns = 0; turns < 100; turns++) await turn();
  assert.ok(read < 1000, `${read} items were read`);
  lanes.close();
  await stuck;
});

test('what the source throws reaches every lane', async () => {
  async function* broken(): AsyncGenerator<Item> {
    yield { sequence: 1, id: 'a', size: 1 };
    throw new Error('broken');
  }
  const lanes = lanesOf(broken(), 2);
  const outcomes = await Promise.allSettled(
    [0, 1].map(async (index) => {
      for await (const _ of lanes.items(index));
    }),
  );
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
});
