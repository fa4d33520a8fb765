import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpus } from 'node:os';
import { test } from 'node:test';
import { promisify } from 'node:util';
import type { Limits } from '../machine/limits.ts';
import { optionalTool } from './testing/optional-tool.ts';

/** What the scheduler lets a process use. */

const run = promisify(execFile);
const MODULE = JSON.stringify(new URL('../machine/limits.js', import.meta.url).href);
const PRINT_LIMITS = `import(${MODULE}).then(({ limits }) => console.log(JSON.stringify(limits())))`;

const taskset = optionalTool('taskset');
test('a process that is bound to one CPU gets one thread', { skip: taskset.skip }, async () => {
  const { stdout } = await run(taskset.path!, ['-c', '0', process.execPath, '-e', PRINT_LIMITS]);
  const { threads, cpusLimited } = JSON.parse(stdout) as Limits;
  assert.deepEqual([threads, cpusLimited], [1, cpus().length > 1]);
});
