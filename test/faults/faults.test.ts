import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { FAULTS } from './judge.ts';

/** More runs, with more operations: `npm run test:faults`. */
const RUNS = 2;
const OPERATIONS = 400;

test(`${RUNS} runs of real processes under faults: nothing is lost, doubled, resurrected or stale`, async (context) => {
  const run = fileURLToPath(new URL('run.js', import.meta.url));
  const flags = ['--runs', String(RUNS), '--operations', String(OPERATIONS), '--seed', '8', '--json'];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [run, ...flags]).catch(
    (error: { stdout: string; stderr: string }) => error,
  );
  for (const line of stderr.split('\n')) if (line !== '') context.diagnostic(line);
  const result = JSON.parse(stdout) as Record<string, unknown>;
  assert.equal(result['operations'], RUNS * OPERATIONS);
  assert.ok(Number(result['acknowledged']) >= RUNS * OPERATIONS, 'all was acknowledged');
  for (const fault of FAULTS) assert.equal(result[fault], 0, `${fault}: ${stderr}`);
});
