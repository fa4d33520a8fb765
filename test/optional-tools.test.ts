import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { findTool, OPTIONAL_TOOLS, type ToolName } from './testing/optional-tool.ts';

/**
 * The suite passes on a machine without the tools that it would like, and says in one line each what it skipped: every
 * test file that asks for a tool runs here without any.
 */

const run = promisify(execFile);
const root = fileURLToPath(new URL('../', import.meta.url));

/** Compiled files of a kind, from `dist/`, with their text. */
function files(ending: string): { path: string; text: string }[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith(ending))
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
}

/** Tools that a file asks for by name. */
function askedFor(text: string): ToolName[] {
  const names = [...text.matchAll(/\boptionalTool\('([\w-]+)'/g)].map(([, name]) => name as ToolName);
  return [...new Set(names)];
}

/** What a test file says where no tool is installed. It has to pass. */
async function withoutTools(path: string): Promise<{ lines: string[]; stdout: string }> {
  const env: NodeJS.ProcessEnv = { ...process.env, PATH: '', SCALINGNOTE_CACHE: '/nowhere' };
  // A server that tests could use instead.
  delete env['QDRANT_URL'];
  for (const { variable } of Object.values(OPTIONAL_TOOLS)) delete env[variable];
  // Otherwise Node takes it for a child of this run, and prints for a machine to read.
  delete env['NODE_TEST_CONTEXT'];
  const { stdout, stderr } = await run(process.execPath, ['--test-reporter=tap', join(root, path)], { env });
  return { lines: stderr.split('\n').filter((line) => line.startsWith('not tested: ')), stdout };
}

const users = files('.test.js')
  .map(({ path, text }) => ({ path, tools: askedFor(text) }))
  .filter(({ tools }) => tools.length > 0);

describe('a test file that needs a tool says in one line that it is absent', () => {
  for (const { path, tools } of users) {
    test(path, async () => {
      const { lines, stdout } = await withoutTools(path);
      assert.equal(lines.length, tools.length, lines.join('\n'));
      for (const tool of tools) {
        const expected = `not tested: ${path}: there is no ${tool}`;
        assert.ok(
          lines.some((line) => line.startsWith(expected)),
          `${expected}: ${lines.join('\n')}`,
        );
      }
      assert.match(stdout, /^# fail 0$/m);
      assert.match(stdout, /# SKIP there is no /);
    });
  }
});

test('there is such a test file', () => {
  assert.ok(users.some(({ tools }) => tools.includes('chromium')));
});

test('nothing in the tests starts a tool without asking for it', () => {
  const asks = /optional-tool/;
  const starts = /'(?:promtool|python3?|chromium|google-chrome)'|from 'playwright-core'/;
  const wrong = files('.js').filter(({ path, text }) => {
    const isTest = path.endsWith('.test.js') || /(^|\/)(?:test|testing)\//.test(path);
    return isTest && starts.test(text) && !asks.test(text) && !path.endsWith('optional-tool.js');
  });
  // The path of the program is an argument there.
  const given = new Set(['test/browser.js', 'test/testing/python-client.js']);
  assert.deepEqual(
    wrong.map(({ path }) => path).filter((path) => !given.has(path)),
    [],
  );
});

test('a variable that names no program is an error', () => {
  const { CHROMIUM } = process.env;
  try {
    for (const path of ['/nowhere/chromium', root]) {
      process.env['CHROMIUM'] = path;
      assert.throws(() => findTool('chromium'), /CHROMIUM names ".*", which is no file that can be executed/);
    }
    process.env['CHROMIUM'] = process.execPath;
    assert.deepEqual(findTool('chromium'), { path: process.execPath, skip: false });
  } finally {
    if (CHROMIUM === undefined) delete process.env['CHROMIUM'];
    else process.env['CHROMIUM'] = CHROMIUM;
  }
});

test('an interpreter without the modules counts as absent', () => {
  const folder = mkdtempSync(join(tmpdir(), 'scalingnote-tools-'));
  const { PYTHON } = process.env;
  try {
    const interpreter = join(folder, 'python');
    process.env['PYTHON'] = interpreter;
    writeFileSync(interpreter, '#!/bin/sh\ntest "$2" = "import json, re"\n', { mode: 0o755 });
    assert.deepEqual(findTool('python3', ['json', 're']), { path: interpreter, skip: false });
    const { path, skip } = findTool('python3', ['json', 'elsewhere']);
    assert.equal(path, undefined);
    assert.match(skip, /^there is no python3 with json, elsewhere: .* the variable PYTHON$/);
  } finally {
    if (PYTHON === undefined) delete process.env['PYTHON'];
    else process.env['PYTHON'] = PYTHON;
    rmSync(folder, { recursive: true, force: true });
  }
});
