import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { FilesRun } from './testing/run-files.ts';

/** What runs all tests fails where one does: it is tried on files that pass, fail always, and fail once. */

const MODULE = fileURLToPath(new URL('testing/run-files.js', import.meta.url));

const PASSES = `
  import { test } from 'node:test';
  test('passes', () => {});
  test('is skipped', { skip: 'no tool' }, () => {});`;

const FAILS = `
  import { describe, test } from 'node:test';
  describe('a suite', () => {
    test('passes', () => {});
    test('fails', () => { throw new Error('as it should'); });
  });`;

const FAILS_ONCE = `
  import { existsSync, writeFileSync } from 'node:fs';
  import { test } from 'node:test';
  const mark = new URL('mark', import.meta.url);
  test('fails once', () => {
    if (existsSync(mark)) return;
    writeFileSync(mark, '');
    throw new Error('the first time');
  });`;

const FAILS_AFTERWARDS = `
  import { after, describe, test } from 'node:test';
  describe('a suite that cleans up', () => {
    after(() => { throw new Error('the hook'); });
    test('passes', () => {});
  });`;

/** Runs files by their sources in a process of its own, since Node takes runs within a test for a part of it. */
async function runAll(sources: Record<string, string>): Promise<{ result: FilesRun; stdout: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'scalingnote-run-files-'));
  try {
    const files = Object.entries(sources).map(([name, source]) => {
      writeFileSync(join(folder, name), source);
      return join(folder, name);
    });
    const env = { ...process.env };
    delete env['NODE_TEST_CONTEXT'];
    const script =
      `const { runFiles, summaryOf } = await import(${JSON.stringify(MODULE)});` +
      `const result = await runFiles(${JSON.stringify(folder)}, ${JSON.stringify(files)}, 2);` +
      `process.stdout.write(summaryOf(result) + '\\n' + JSON.stringify(result));`;
    writeFileSync(join(folder, 'run.mjs'), script);
    const { stdout } = await promisify(execFile)(process.execPath, [join(folder, 'run.mjs')], { env });
    return { stdout, result: JSON.parse(stdout.slice(stdout.lastIndexOf('\n') + 1)) as FilesRun };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('a file that fails twice fails the run, and one that passes alone is told', async () => {
  const { result, stdout } = await runAll({
    'passes.test.mjs': PASSES,
    'fails.test.mjs': FAILS,
    'hook.test.mjs': FAILS_AFTERWARDS,
    'once.test.mjs': FAILS_ONCE,
    'no-module.test.mjs': 'throw new Error("at once");',
  });
  assert.deepEqual(result, {
    ran: 7,
    skipped: 1,
    failed: [
      'fails.test.mjs: fails',
      'hook.test.mjs: a suite that cleans up',
      'no-module.test.mjs: the file itself',
    ],
    passedAlone: ['once.test.mjs'],
  });
  assert.match(stdout, /^passed passes\.test\.mjs \(1 tests, .* s\); skipped: no tool$/m);
  assert.match(stdout, /as it should/);
  assert.match(stdout, /^failed beside others, and passed alone: once\.test\.mjs$/m);
  assert.match(stdout, /^7 tests ran, 3 failed, 1 were skipped$/m);
});

test('where many files fail, none is run again', async () => {
  const names = Array.from({ length: 6 }, (_, index) => `fails-${index}.test.mjs`);
  const { result, stdout } = await runAll(Object.fromEntries(names.map((name) => [name, FAILS])));
  assert.equal(result.failed.length, 6);
  assert.doesNotMatch(stdout, /once more/);
});
