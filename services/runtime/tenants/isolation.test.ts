import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openStore } from '../../../store/open.ts';
import { audit, CALLS, METHODS, step } from './testing/audit.ts';

test('every RPC has its place in the audit', () => {
  const own = Object.keys(METHODS).sort();
  assert.deepEqual(Object.keys(CALLS).sort(), own);
});

test('nothing that one tenant is answered depends on another: embedded store', async (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'scalingnote-isolation-'));
  context.after(() => rmSync(directory, { recursive: true }));
  await audit(() => openStore({ kind: 'embedded', directory }), step, 25);
});
