import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';
import { request } from 'undici';
import { findTool } from '../../../test/testing/optional-tool.ts';
import { Engine, engineFolder } from './engine.ts';

/**
 * `npm run test:qdrant` runs the store contract, the crash tests, the document service's tests and those of
 * the whole system on a Qdrant server: the one at `QDRANT_URL`, or Qdrant's own engine. The last line says
 * which, and how many tests the contract had.
 */

const CONTRACT = 'store/qdrant/qdrant-store.test.js';
const OTHERS = ['store/qdrant/crash.test.js', 'test/e2e.test.js'];
const SERVICE = 'services/document';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/**
 * Runs test files one after the other. Returns how many tests ran, and how many of them failed. A file whose process does not
 * end is run once more: seen twice in some twenty runs of the crash tests, after the last of them; why is not known. What
 * always keeps a process alive does so again.
 */
async function runTests(files: readonly string[], again = true): Promise<{ ran: number; failed: number }> {
  const counts = { ran: 0, failed: 0 };
  const endless: string[] = [];
  const tests = run({ files: files.map((file) => join(root, file)), concurrency: 1, timeout: 300_000 });
  tests.on('test:pass', ({ skip, details }) => {
    if (skip === undefined && details.type !== 'suite') counts.ran++;
  });
  tests.on('test:fail', ({ name, details }) => {
    if (details.type === 'suite') return;
    const file = files.find((each) => name === join(root, each));
    const { failureType } = details.error as { failureType?: string };
    if (again && file !== undefined && failureType === 'testTimeoutFailure') {
      endless.push(file);
      return;
    }
    counts.ran++;
    counts.failed++;
  });
  for await (const text of tests.compose(new spec())) process.stdout.write(String(text));
  if (endless.length === 0) return counts;
  process.stdout.write(`did not end, and is run once more: ${endless.join(', ')}\n`);
  const second = await runTests(endless, false);
  return { ran: counts.ran + second.ran, failed: counts.failed + second.failed };
}

/** Runs everything on the server at an address. Returns whether all passed. */
async function testOn(url: string): Promise<boolean> {
  const { title, version } = (await (await request(url)).body.json()) as { title: string; version: string };
  Object.assign(process.env, {
    QDRANT_URL: url,
    SCALINGNOTE_STORE: 'qdrant',
    SCALINGNOTE_TEST_STORE: 'qdrant',
  });
  const service = readdirSync(join(root, SERVICE), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.test.js'))
    .map((path) => join(SERVICE, path))
    .sort();
  const contract = await runTests([CONTRACT]);
  const rest = await runTests([...OTHERS, ...service]);
  const failed = contract.failed + rest.failed;
  process.stdout.write(
    `Qdrant contract: ${title} (API of ${version}), ${contract.ran} tests; ` +
      `crashes, document service, system: ${rest.ran} tests; failed: ${failed}\n`,
  );
  return failed === 0 && contract.ran > 0;
}

const url = process.env['QDRANT_URL'];
const { path: python, skip } = findTool('qdrant-engine');
if (url !== undefined) {
  process.exitCode = (await testOn(url)) ? 0 : 1;
} else if (python === undefined) {
  process.stderr.write(
    `not tested: the Qdrant store: ${skip}; or set QDRANT_URL to the address of a server\n`,
  );
} else {
  const folder = engineFolder();
  const engine = await Engine.start(python, folder.path);
  try {
    process.exitCode = (await testOn(engine.url)) ? 0 : 1;
  } finally {
    await engine.kill();
    folder.remove();
  }
}
