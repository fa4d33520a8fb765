import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Pair, unavailable } from '../system.ts';

/** `clients/python`, from `dist/test/testing`. */
const PYTHON_CLIENT = fileURLToPath(new URL('../../../clients/python', import.meta.url));

/**
 * Interpreters that `npm run python-client -- --all` made beside the one of `npm run python-client`: other versions of
 * Python, and the oldest packages.
 */
export function others(python: string): string[] {
  if (process.env['PYTHON_CLIENT'] !== undefined) return [];
  // FOLDER/python-client/bin/python; the others are FOLDER/python-client-NAME/bin/python.
  const folder = dirname(dirname(python));
  const names = readdirSync(dirname(folder)).filter((name) => name.startsWith(`${basename(folder)}-`));
  const paths = names.map((name) => join(dirname(folder), name, 'bin', 'python'));
  return paths.filter((path) => existsSync(path));
}

/** All test files of the Python client. */
export function pythonTestFiles(): string[] {
  return readdirSync(join(PYTHON_CLIENT, 'tests')).filter((file) => /^test_.*\.py$/.test(file));
}

/**
 * Declares a test that runs a test file of the Python client against a pair.
 *
 * @param atLeast - as many tests have to pass
 */
export function testPython(
  python: string,
  file: string,
  pair: () => Pair | undefined,
  atLeast: number = 1,
): void {
  test(`Python, ${basename(dirname(dirname(python)))}: ${file}`, async (context) => {
    if (unavailable()) return context.skip(unavailable());
    const { document, query } = pair()!.addresses;
    const environment = { DOCUMENT_ADDRESS: document, QUERY_ADDRESS: query, PYTHONDONTWRITEBYTECODE: '1' };
    const child = spawn(python, ['-m', 'pytest', '-q', '-p', 'no:cacheprovider', `tests/${file}`], {
      cwd: PYTHON_CLIENT,
      env: { ...process.env, ...environment },
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk));
    const [code] = (await once(child, 'close')) as [number | null];
    const missing = /not tested: .*$/m.exec(said)?.[0];
    if (missing !== undefined) {
      process.stderr.write(`${missing}\n`);
      return context.skip(missing);
    }
    assert.equal(code, 0, said);
    const passed = Number(/(\d+) passed/.exec(said)?.[1]);
    assert.ok(passed >= atLeast, said);
  });
}
