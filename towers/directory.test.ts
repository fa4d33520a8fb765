import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { checkFiles, parseManifest, readManifest, requireFiles } from './directory.ts';
import { TowerError } from './errors.ts';
import type { TowerManifest } from './manifest.ts';
import { sha256, temporaryFolder, writeFiles, writeTinyTower } from './testing/tiny-tower.ts';

function setUp(context: TestContext): { folder: string; manifest: TowerManifest; stamps: string } {
  const folder = temporaryFolder(context);
  return { folder, manifest: writeTinyTower(folder), stamps: join(temporaryFolder(context), 'verified') };
}

function reason(expected: string, pattern: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof TowerError && error.reason === expected && pattern.test(error.message);
}

/** Errors of a manifest that has been changed. */
function assertInvalid(manifest: TowerManifest, changes: object, pattern: RegExp): void {
  const text = JSON.stringify({ ...manifest, ...changes });
  assert.throws(() => parseManifest(text, 'x/tower.json'), reason('TOWER_MANIFEST_INVALID', pattern));
}

test('a manifest is read as it was written', async (context) => {
  const { folder, manifest } = setUp(context);
  assert.deepEqual(await readManifest(folder), manifest);
});

test('a directory without a manifest is no tower', async (context) => {
  await assert.rejects(
    readManifest(temporaryFolder(context)),
    reason('TOWER_NOT_FOUND', /tower\.json can't be read/),
  );
});

test('errors of a manifest name the key and what is wrong with it', (context) => {
  const { manifest } = setUp(context);
  assert.throws(() => parseManifest('{', 'x/tower.json'), reason('TOWER_MANIFEST_INVALID', /x\/tower\.json/));
  assertInvalid(manifest, { colour: 'red' }, /colour/);
  assertInvalid(manifest, { role: 'both' }, /role/);
  assertInvalid(manifest, { maxTokens: -1 }, /maxTokens/);
  assertInvalid(
    manifest,
    { dimensions: 3 },
    /dimensions[^]*is 3, but the space has 4|is 3, but the space has 4[^]*dimensions/,
  );
  assertInvalid(
    manifest,
    { space: { ...manifest.space, maxTokens: 15 } },
    /but the definition beside it has sp1_/,
  );
  assertInvalid(
    manifest,
    { files: { 'model.onnx': manifest.files['model.onnx'] } },
    /"tokenizer\.json" is missing/,
  );
});

test('files outside of the directory are refused', (context) => {
  const { manifest } = setUp(context);
  for (const path of ['../x', 'a/../../x', '/etc/passwd', 'c:\\x', '..\\x']) {
    assertInvalid(
      manifest,
      { files: { ...manifest.files, [path]: sha256('') } },
      /is outside of the directory/,
    );
  }
});

test('changed and missing files are found', async (context) => {
  const { folder, manifest, stamps } = setUp(context);
  assert.deepEqual(await checkFiles(folder, manifest, stamps), []);
  writeFileSync(join(folder, 'tokenizer.json'), '{}');
  rmSync(join(folder, 'model.onnx'));
  const problems = [
    { path: 'model.onnx', problem: 'missing' },
    { path: 'tokenizer.json', problem: 'changed' },
  ];
  assert.deepEqual(await checkFiles(folder, manifest), problems);
  assert.deepEqual(await checkFiles(folder, manifest, stamps), problems);
  await assert.rejects(
    requireFiles(folder, manifest, stamps),
    reason('TOWER_INTEGRITY', /model\.onnx is missing, tokenizer\.json is changed/),
  );
});

test('a change of equal length with its time put back is found all the same', async (context) => {
  const { folder, manifest, stamps } = setUp(context);
  const path = join(folder, 'model.onnx');
  const time = new Date('2020-01-01');
  utimesSync(path, time, time);
  assert.deepEqual(await checkFiles(folder, manifest, stamps), []);
  const contents = readFileSync(path);
  contents[contents.length - 1]! ^= 1;
  writeFileSync(path, contents);
  utimesSync(path, time, time);
  assert.deepEqual(await checkFiles(folder, manifest, stamps), [{ path: 'model.onnx', problem: 'changed' }]);
});

test('what has been hashed is not read again, until it changes', async (context) => {
  const { folder, manifest, stamps } = setUp(context);
  await checkFiles(folder, manifest, stamps);
  // Stamps that say otherwise are believed: the files are not read.
  const [name] = readdirSync(stamps);
  const path = join(stamps, name!);
  writeFileSync(path, readFileSync(path, 'utf8').replaceAll(manifest.files['model.onnx']!, sha256('other')));
  assert.deepEqual(await checkFiles(folder, manifest, stamps), [{ path: 'model.onnx', problem: 'changed' }]);
  utimesSync(join(folder, 'model.onnx'), new Date(), new Date());
  assert.deepEqual(await checkFiles(folder, manifest, stamps), []);
});

test('stamps that cannot be written or read do no harm', async (context) => {
  const { folder, manifest, stamps } = setUp(context);
  writeFiles(stamps, { '../verified-file': 'no folder' });
  const unwritable = join(stamps, '../verified-file', 'below');
  assert.deepEqual(await checkFiles(folder, manifest, unwritable), []);
  assert.deepEqual(await checkFiles(folder, manifest, unwritable), []);
});
