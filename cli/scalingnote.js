#!/usr/bin/env node
// The command `scalingnote`. It starts what `npm run build` compiled. In a clone of the sources it first builds, where
// nothing is built yet or a source file is newer than the build; the package on npm holds the build alone.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
/** The last step of a build puts it there, with the time at which the build began. */
const stamp = join(root, 'dist', '.built');

/** The build makes them, after it has begun. */
const made = new Set([join(root, 'proto', 'contract.ts'), join(root, 'clients', 'web', 'contract.ts')]);

const reason = whyToBuild();
if (reason !== undefined) {
  process.stderr.write(`scalingnote: ${reason}; running "npm run build" first\n`);
  const { status, error } = spawnSync('npm', ['run', '-s', 'build'], {
    cwd: root,
    // Standard output belongs to the command.
    stdio: ['ignore', process.stderr, process.stderr],
    shell: process.platform === 'win32',
  });
  if (status !== 0) {
    const why = error === undefined ? '' : ` (${error.message})`;
    process.stderr.write(`scalingnote: the build failed${why}; "npm ci" installs what it needs\n`);
    process.exit(1);
  }
}
await import('../dist/cli/main.js');

/** @returns {string | undefined} undefined where the build is there and up to date */
function whyToBuild() {
  if (!existsSync(join(root, 'tsconfig.json'))) return undefined;
  if (!existsSync(stamp)) return 'this clone is not built yet';
  const built = statSync(stamp).mtimeMs;
  const changed = sources(root).find((path) => statSync(path).mtimeMs > built);
  return changed === undefined ? undefined : `${changed.slice(root.length)} is newer than the build`;
}

/** @param {string} folder @returns {string[]} the files that a build reads */
function sources(folder) {
  const entries = readdirSync(folder, { withFileTypes: true });
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory())
      return /^(\.|node_modules$|dist|generated$)/.test(entry.name) ? [] : sources(path);
    if (made.has(path)) return [];
    return /\.(ts|tsx|proto|css|html)$|^(package|tsconfig).*\.json$/.test(entry.name) ? [path] : [];
  });
}
