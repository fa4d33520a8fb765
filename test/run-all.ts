import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runFiles, summaryOf } from './testing/run-files.ts';

/**
 * `npm test [-- PART...]` runs every test, or the files whose path has one of the parts. Those of the whole system come
 * first, since they take longest.
 */

/** Files at a time: tests wait more than they compute. */
const AT_ONCE = 2;

const root = fileURLToPath(new URL('../', import.meta.url));
const parts = process.argv.slice(2);
const all = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.test.js'))
  .sort();
const nothing = parts.find((part) => !all.some((path) => path.includes(part)));
if (nothing !== undefined) {
  process.stderr.write(
    `no test file has "${nothing}" in its path, as store/versions.test.js has "versions"\n`,
  );
  process.exit(2);
}
const wanted = parts.length > 0 ? all.filter((path) => parts.some((part) => path.includes(part))) : all;
const isSystem = (path: string): boolean => path.startsWith('test/');
const ordered = [...wanted.filter(isSystem), ...wanted.filter((path) => !isSystem(path))];
const result = await runFiles(
  root,
  ordered.map((path) => join(root, path)),
  AT_ONCE,
);
process.stdout.write(`${summaryOf(result)}\n`);
process.exitCode = result.failed.length > 0 ? 1 : 0;
