import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { direction, put, SPACE } from '../contract/stores.ts';
import { openStore } from '../open.ts';

test('what a drop of a tenant removes is in no file any more, not even its name', async (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'scalingnote-drop-'));
  context.after(() => rmSync(directory, { recursive: true }));
  const store = await openStore({ kind: 'embedded', directory });
  const { name } = await store.ensureCollection('docs', SPACE);
  const own = { tenant: 'wanted-tenant', text: `secret-text ${'x'.repeat(20_000)}`, title: 'secret-title' };
  const writes = Array.from({ length: 20 }, (_, index) =>
    put(`secret-id-${index}`, [direction(index)], { ...own, metadata: { secret: 'secret-value' } }),
  );
  await store.writeDocuments(name, [
    ...writes,
    put('kept', [direction(1)], { tenant: 'b', text: 'kept-text' }),
  ]);
  const found = (): string[] => {
    const files = readdirSync(directory).map((file) => readFileSync(join(directory, file)));
    return ['wanted-tenant', 'secret-text', 'secret-title', 'secret-id', 'secret-value', 'kept-text'].filter(
      (text) => files.some((bytes) => bytes.includes(text)),
    );
  };
  assert.equal(found().length, 6);
  await store.dropTenant(name, 'wanted-tenant');
  await store.close();
  assert.deepEqual(found(), ['kept-text']);
});
