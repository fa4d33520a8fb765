import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { listTowers, verifyTower } from './catalog.ts';
import { KNOWN_TOWERS } from './known.ts';
import { pullTower } from './pull.ts';
import {
  temporaryFolder,
  TINY_TOKENIZER,
  tinyModel,
  writeFiles,
  writeTinyTower,
} from './testing/tiny-tower.ts';

test('known towers are listed whether they are here or not', async (context) => {
  const towers = await listTowers({ cacheDir: temporaryFolder(context) });
  assert.deepEqual(
    towers.map(({ name }) => name),
    KNOWN_TOWERS.map(({ name }) => name),
  );
  const base = towers.find(({ name }) => name === 'all-MiniLM-L6-v2')!;
  assert.deepEqual(base, {
    name: 'all-MiniLM-L6-v2',
    role: 'document',
    reference: KNOWN_TOWERS[0]!.reference,
    cached: false,
    directory: undefined,
    bytes: undefined,
    fingerprint: KNOWN_TOWERS[0]!.fingerprint,
  });
});

test('fetched towers are listed by the reference they were asked for by', async (context) => {
  const cacheDir = join(temporaryFolder(context), 'cache');
  const folder = temporaryFolder(context);
  writeFiles(folder, {
    'config.json': { hidden_size: 4 },
    'tokenizer.json': TINY_TOKENIZER,
    'model.onnx': tinyModel(),
  });
  const { directory, manifest } = await pullTower(folder, { cacheDir });
  const entry = (await listTowers({ cacheDir })).at(-1);
  assert.deepEqual(entry, {
    name: `file:${folder}`,
    role: 'document',
    reference: `file:${folder}`,
    cached: true,
    directory,
    bytes: tinyModel().length + JSON.stringify(TINY_TOKENIZER).length,
    fingerprint: manifest.space.fingerprint,
  });
  rmSync(join(directory, 'tower.json'));
  assert.equal((await listTowers({ cacheDir })).length, KNOWN_TOWERS.length);
});

test('verify reads every file', async (context) => {
  const folder = temporaryFolder(context);
  const manifest = writeTinyTower(folder);
  const { bytes, ...verified } = await verifyTower(folder);
  assert.deepEqual(verified, { manifest, problems: [] });
  assert.ok(bytes > 1_000);
  writeFiles(folder, { 'model.onnx': 'other' });
  assert.deepEqual((await verifyTower(folder)).problems, [{ path: 'model.onnx', problem: 'changed' }]);
});
