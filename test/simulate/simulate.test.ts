import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { FAULTS } from '../faults/judge.ts';
import { MUTANTS } from './mutants.ts';
import { simulate } from './simulate.ts';

/** Each rare path comes several times in so many histories. */
const SEEDS = 200;

/** Most histories until a fault of the product has to be found. */
const UNTIL_FOUND = 200;

test(`${SEEDS} histories: nothing is lost, doubled, resurrected or stale, and the rare paths have run`, async () => {
  const run = fileURLToPath(new URL('run.js', import.meta.url));
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [
    run,
    '--seeds',
    String(SEEDS),
    '--json',
  ]).catch((error: { stdout: string; stderr: string }) => error);
  assert.equal(stderr, '');
  const result = JSON.parse(stdout) as Record<string, unknown>;
  assert.equal(result['histories'], SEEDS);
  assert.ok(Number(result['acknowledged']) >= Number(result['operations']), 'all was acknowledged');
  for (const fault of FAULTS) assert.equal(result[fault], 0, fault);
});

test('a seed decides everything that happens, whatever ran before it', async () => {
  const digest = async (seed: number): Promise<string> => {
    const { history } = await simulate(seed);
    return createHash('sha256').update(JSON.stringify(history)).digest('hex');
  };
  const alone = [await digest(11), await digest(12), await digest(13)];
  assert.deepEqual([await digest(11), await digest(12), await digest(13)], alone);
  assert.equal(await digest(13), alone[2]);
  assert.equal(new Set(alone).size, 3);
});

for (const [name, mutant] of Object.entries(MUTANTS)) {
  test(`a service that ${name} is found out`, async () => {
    const { found } = mutant();
    for (let seed = 1; seed <= UNTIL_FOUND; seed++) {
      const { verdict } = await simulate(seed, { mutant: name });
      if (verdict.violations.some(({ fault }) => found.includes(fault))) return;
    }
    assert.fail(`${UNTIL_FOUND} histories, and the judge has not noticed`);
  });
}
