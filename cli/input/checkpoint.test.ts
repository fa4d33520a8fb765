import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { Checkpoint, type Place } from './checkpoint.ts';
import { Input, type Stamp } from './input.ts';

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-checkpoint-'));
const file = join(folder, 'documents.jsonl');
const target = ['127.0.0.1:7401', 'animals', ''];

process.env['XDG_STATE_HOME'] = join(folder, 'state');
after(() => rmSync(folder, { recursive: true }));
beforeEach(() => {
  rmSync(join(folder, 'state'), { recursive: true, force: true });
  writeFileSync(file, '{}\n');
});

async function stamps(...files: string[]): Promise<Stamp[]> {
  return Promise.all(files.map(async (each) => (await Input.file(each)).stamp!));
}

async function checkpoint(where = target, ...files: string[]): Promise<Checkpoint> {
  return new Checkpoint(await stamps(...(files.length > 0 ? files : [file])), where);
}

function at(place: number): Place {
  return { after: place, counts: [2], identity: 'col_1', freshness: 'col_1.5' };
}

test('a run that was broken off is taken up where it was', async () => {
  const broken = await checkpoint();
  broken.write(at(3));
  broken.write(at(7));
  broken.flush();
  assert.deepEqual((await checkpoint()).read(), at(7));
});

test('the first watermark is kept at once: the process may be killed right after it', async () => {
  (await checkpoint()).write(at(3));
  assert.deepEqual((await checkpoint()).read(), at(3));
});

test('another collection, another service, another file: another run', async () => {
  (await checkpoint()).write(at(3));
  assert.equal((await checkpoint(['127.0.0.1:7401', 'plants', ''])).read(), undefined);
  assert.equal((await checkpoint(['127.0.0.1:9', 'animals', ''])).read(), undefined);
  const other = join(folder, 'other.jsonl');
  writeFileSync(other, '{}\n');
  assert.equal((await checkpoint(target, other)).read(), undefined);
  assert.equal((await checkpoint(target, file, other)).read(), undefined);
});

test('a file that has changed is read from its beginning', async () => {
  (await checkpoint()).write(at(3));
  appendFileSync(file, '{}\n');
  assert.equal((await checkpoint()).read(), undefined);
});

test('so is another file under the same path, of the same size and time', async () => {
  const [{ modified } = { modified: 0 }] = await stamps(file);
  (await checkpoint()).write(at(3));
  const other = join(folder, 'another.jsonl');
  writeFileSync(other, '[]\n');
  utimesSync(other, modified / 1000, modified / 1000);
  renameSync(other, file);
  assert.equal((await checkpoint()).read(), undefined);
});

test('a place that an older version kept belongs to no collection', async () => {
  const old = await checkpoint();
  old.write(at(3));
  const [name = ''] = readdirSync(join(folder, 'state', 'scalingnote'));
  writeFileSync(join(folder, 'state', 'scalingnote', name), '{"stamp":"3-1","watermark":3}');
  assert.equal((await checkpoint()).read(), undefined);
});

test('a run that ended leaves nothing', async () => {
  const ended = await checkpoint();
  ended.write(at(3));
  ended.remove();
  assert.equal((await checkpoint()).read(), undefined);
  assert.deepEqual(readdirSync(join(folder, 'state', 'scalingnote')), []);
});

test('a folder that cannot be written does not stop an ingest', async () => {
  writeFileSync(join(folder, 'state'), 'a file, where a folder should be');
  const broken = await checkpoint();
  broken.write(at(3));
  assert.equal((await checkpoint()).read(), undefined);
});
