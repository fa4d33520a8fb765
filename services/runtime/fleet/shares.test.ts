import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { Config } from '../config.ts';
import { heapShare } from './member.ts';
import { ownShares, requireShares } from './shares.ts';

const NAMES = ['querySlots', 'queryQueue', 'queryCache', 'maxTokensSpent', 'threads'] as const;

test('the shares of all processes make the whole, and no two differ by more than one', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 64 }),
      fc.array(fc.nat(), { minLength: 5, maxLength: 5 }),
      (processes, all) => {
        const config = Object.fromEntries(
          NAMES.map((name, index) => [name, all[index]]),
        ) as unknown as Config;
        const shares = Array.from({ length: processes }, (_, index) =>
          ownShares(config, { number: index + 1, processes }),
        );
        for (const name of NAMES) {
          const own = shares.map((share) => share[name]);
          assert.equal(
            own.reduce((sum, each) => sum + each, 0),
            config[name],
          );
          assert.ok(Math.max(...own) - Math.min(...own) <= 1);
        }
      },
    ),
  );
});

test('what is off stays off, and what is too little for all is refused', () => {
  const config = { querySlots: 4, maxTokensSpent: 0, threads: 0 };
  requireShares(config, 4);
  assert.throws(() => requireShares(config, 5), /--query-slots is 4, which 5 processes can't share/);
  // A share of 0 would be no limit at all.
  assert.throws(() => requireShares({ ...config, maxTokensSpent: 3 }, 4), /--max-tokens-spent is 3/);
});

test('a limit of the heap is of all processes together', () => {
  assert.equal(heapShare('--max-old-space-size=4096', 2), '--max-old-space-size=2048');
  assert.equal(
    heapShare('--enable-source-maps --max_old_space_size=300 --x', 4),
    '--enable-source-maps --max_old_space_size=75 --x',
  );
  assert.equal(heapShare('--max-semi-space-size=2', 2), '--max-semi-space-size=2');
});
