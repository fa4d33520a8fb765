import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { request } from 'undici';
import { findTool } from './testing/optional-tool.ts';
import { runFiles, summaryOf } from './testing/run-files.ts';
import { Engine, engineFolder } from '../store/qdrant/testing/engine.ts';

/**
 * `npm run test:qdrant` runs the store contract, the crash tests, the document service's tests and those of
 * the whole system on a Qdrant server: the one at `QDRANT_URL`, or Qdrant's own engine. The last line says
 * which, and how many tests the contract had.
 */

const CONTRACT = 'store/qdrant/qdrant-store.test.js';
const OTHERS = ['store/qdrant/crash.test.js', 'test/e2e.test.js'];
const SERVICE = 'services/document';

const root = fileURLToPath(new URL('../', import.meta.url));

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
  const inRoot = (files: readonly string[]): string[] => files.map((file) => join(root, file));
  const contract = await runFiles(root, inRoot([CONTRACT]));
  const rest = await runFiles(root, inRoot([...OTHERS, ...service]));
  process.stdout.write(
    `contract: ${summaryOf(contract)}\nthe rest: ${summaryOf(rest)}\n` +
      `Qdrant contract: ${title} (API of ${version}), ${contract.ran} tests; ` +
      `crashes, document service, system: ${rest.ran} tests; failed: ${contract.failed.length + rest.failed.length}\n`,
  );
  return contract.failed.length + rest.failed.length === 0 && contract.ran > 0;
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
