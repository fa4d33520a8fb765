import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Measured, planOf, rangeOf } from './plan.ts';

const MEASURED: Measured = {
  dimensions: 1000,
  passages: 2,
  encodedTokens: 250,
  tokensPerSecond: { low: 500, middle: 1000, high: 2000 },
  queryMs: { low: 0.05, middle: 0.1, high: 0.2 },
  scanNs: { low: 20, middle: 40, high: 80 },
};

test('a plan follows from its formulae, and slow measurements make long ranges', () => {
  const plan = planOf({ documents: 36_000_000, tokens: 200, qps: 5000 }, MEASURED, { memoryGb: 64 });
  assert.equal(plan.vectors, 72_000_000);
  assert.equal(plan.encodedTokens, 9_000_000_000);
  assert.deepEqual(plan.encodeHours, { low: 1250, middle: 2500, high: 5000 });
  assert.deepEqual(plan.queryCores, { low: 0.25, middle: 0.5, high: 1 });
  assert.equal(plan.qdrant.diskGb, 288);
  assert.deepEqual(plan.qdrant.kept, [
    { kind: 'float32', memoryGb: 432, shards: 7 },
    { kind: 'int8', memoryGb: 108, shards: 2 },
    { kind: 'bits', memoryGb: 13.5, shards: 1 },
  ]);
  assert.equal(plan.embedded, undefined);
});

test('few vectors have a plan for the embedded store', () => {
  const { embedded } = planOf({ documents: 150_000, tokens: 200, qps: 10 }, MEASURED, { memoryGb: 64 });
  assert.deepEqual(embedded, {
    memoryGb: 1.5,
    scanMs: { low: 6, middle: 12, high: 24 },
    scanCores: { low: 0.06, middle: 0.12, high: 0.24 },
  });
});

test('a range goes from the lowest measurement to the highest', () => {
  assert.deepEqual(rangeOf([3, 1, 2]), { low: 1, middle: 2, high: 3 });
});
