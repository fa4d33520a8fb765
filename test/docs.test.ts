import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const pages = ['.', 'docs', 'docs/decisions', 'clients'].flatMap((folder) =>
  readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name)),
);

/** Paths that a page puts in code: `store/filter.ts`, `training/lookup/`. What is made by a build is not there. */
function pathsIn(text: string): string[] {
  const roots = readdirSync(ROOT, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !/^(dist.*|node_modules|\.git)$/.test(entry.name))
    .map(({ name }) => name.replace('.', '\\.'));
  const path = new RegExp(`\`((?:${roots.join('|')})/[\\w./-]*)\``, 'g');
  return [...text.matchAll(path)].map(([, found]) => found!);
}

for (const page of pages) {
  test(`${page} names files that are there`, () => {
    const text = readFileSync(join(ROOT, page), 'utf8');
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)].map(([, to]) =>
      join(dirname(page), to!),
    );
    const missing = [...pathsIn(text), ...links].filter((path) => !existsSync(join(ROOT, path)));
    assert.deepEqual(missing, []);
  });
}
