import assert from 'node:assert/strict';
import { test } from 'node:test';
import { costsOf } from './budget.ts';
import { type Measured, planOf } from './plan.ts';

const MEASURED: Measured = {
  dimensions: 1000,
  passages: 1,
  encodedTokens: 360,
  tokensPerSecond: { low: 500, middle: 1000, high: 2000 },
  queryMs: { low: 0.5, middle: 1, high: 2 },
  scanNs: { low: 20, middle: 40, high: 80 },
};
/** A core is 73 a month. */
const PRICES = { coreHour: 0.1, gbMonth: 2, diskGbMonth: 0.5 };
const NODE = { memoryGb: 50, cores: 4 };
const costs = (documents: number, budget: number) =>
  costsOf(planOf({ documents, tokens: 200, qps: 1000 }, MEASURED, NODE), {
    budget,
    prices: PRICES,
    node: NODE,
    cores: 2,
  });

test('a budget pays for machines, cores of queries and disk, by formulae that a reader can follow', () => {
  const { offers, encodeOnce, fits } = costs(10_000_000, 1000);
  // 60 GB as float32 are two machines of 4 × 73 + 50 × 2 each, and 40 GB of disk; queries take 1 to 2 cores.
  const machine = 392;
  assert.deepEqual(offers, [
    {
      store: 'qdrant',
      kind: 'float32',
      shards: 2,
      money: { low: 73 + 2 * machine + 20, middle: 73 + 2 * machine + 20, high: 146 + 2 * machine + 20 },
      fits: 'yes',
      replicas: 1,
    },
    {
      store: 'qdrant',
      kind: 'int8',
      shards: 1,
      money: { low: 73 + machine + 20, middle: 73 + machine + 20, high: 146 + machine + 20 },
      fits: 'yes',
      replicas: 2,
    },
    {
      store: 'qdrant',
      kind: 'bits',
      shards: 1,
      money: { low: 73 + machine + 20, middle: 73 + machine + 20, high: 146 + machine + 20 },
      fits: 'yes',
      replicas: 2,
    },
  ]);
  assert.ok(fits);
  // 1000 hours of two cores, half and twice.
  assert.deepEqual(encodeOnce, { low: 100, middle: 200, high: 400 });
});

test('what only the fastest measurement pays for fits perhaps, which is no yes', () => {
  const { offers, fits } = costs(10_000_000, 490);
  assert.deepEqual(
    offers.map((each) => [each.kind, each.fits, each.replicas]),
    [
      ['float32', 'no', 0],
      ['int8', 'perhaps', 0],
      ['bits', 'perhaps', 0],
    ],
  );
  assert.equal(fits, false);
});

test('the embedded store has a copy of the vectors for each core', () => {
  const { offers } = costs(100_000, 100_000);
  const embedded = offers.at(-1)!;
  // 100 000 × 1000 × 5 bytes are 0.5 GB; 1000 searches of 2 to 8 ms and 0.5 to 2 ms take 3, 5 or 10 cores.
  const copy = 73 + 0.5 * 2;
  assert.deepEqual(embedded.money, { low: 3 * copy, middle: 5 * copy, high: 10 * copy });
  assert.equal(embedded.store, 'embedded');
});
