import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openStore } from '../../store/open.ts';

const CLI = fileURLToPath(new URL('../main.js', import.meta.url));
const SPACE = { fingerprint: `sp1_${'0123456789abcdef'.repeat(2)}`, dimensions: 2 };

test('collections index declares fields in the store itself, lists them, and refuses what is none', async (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'scalingnote-index-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  const store = await openStore({ kind: 'embedded', directory, indexedFields: { year: 'integer' } });
  context.after(() => store.close());
  await store.ensureCollection('docs', SPACE);
  const index = (...given: string[]) => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [CLI, 'collections', 'index', ...given, '--data', directory],
      { encoding: 'utf8' },
    );
    return { status, stdout, stderr };
  };
  const made = index('docs', 'metadata."unit:price":float', '--json');
  assert.deepEqual(
    JSON.parse(made.stdout),
    { 'metadata.unit:price': 'float', 'metadata.year': 'integer' },
    made.stderr,
  );
  assert.deepEqual((await store.findCollection('docs')).indexedFields, JSON.parse(made.stdout));
  assert.match(index('docs').stdout, /metadata\.year +integer/);
  for (const [given, message] of [
    [['docs', 'metadata.year'], /no metadata\.KEY:TYPE/],
    [['docs', 'metadata.year:text'], /TYPE is keyword/],
    [['docs', 'metadata.year:float'], /integer already/],
    [['docs', 'version:integer'], /metadata\.KEY/],
    [['nowhere', 'metadata.year:integer'], /nowhere/],
  ] as const) {
    const { status, stderr } = index(...given);
    assert.notEqual(status, 0);
    assert.match(stderr, message);
  }
});
