import assert from 'node:assert/strict';
import { test } from 'node:test';
import { simulate } from './simulate.ts';

/** Few enough to run for each mutant of `npm run mutate`. */
const SEEDS = 12;

for (let seed = 1; seed <= SEEDS; seed++) {
  test(`a history with faults keeps what ingest and search promise: seed ${seed}`, async () => {
    const { verdict } = await simulate(seed);
    assert.deepEqual(verdict.violations, []);
  });
}
