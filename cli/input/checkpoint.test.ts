import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { Checkpoint } from './checkpoint.ts';

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-checkpoint-'));
const file = join(folder, 'documents.jsonl');
const target = ['127.0.0.1:7401', 'animals', ''];

process.env['XDG_STATE_HOME'] = join(folder, 'state');
after(() => rmSync(folder, { recursive: true }));
beforeEach(() => {
  rmSync(join(folder, 'state'), { recursive: true, force: true });
  writeFileSync(file, '{}\n');
});

test('a run that was broken off is taken up where it was', () => {
  const broken = new Checkpoint(file, target);
  broken.write(3);
  broken.write(7);
  broken.flush();
  assert.equal(new Checkpoint(file, target).read(), 7);
});

test('the first watermark is kept at once: the process may be killed right after it', () => {
  new Checkpoint(file, target).write(3);
  assert.equal(new Checkpoint(file, target).read(), 3);
});

test('another collection, another service, another file: another run', () => {
  new Checkpoint(file, target).write(3);
  assert.equal(new Checkpoint(file, ['127.0.0.1:7401', 'plants', '']).read(), 0);
  assert.equal(new Checkpoint(file, ['127.0.0.1:9', 'animals', '']).read(), 0);
  assert.equal(new Checkpoint(join(folder, 'other.jsonl'), target).read(), 0);
});

test('a file that has changed is read from its beginning', () => {
  new Checkpoint(file, target).write(3);
  appendFileSync(file, '{}\n');
  assert.equal(new Checkpoint(file, target).read(), 0);
});

test('a run that ended leaves nothing', () => {
  const checkpoint = new Checkpoint(file, target);
  checkpoint.write(3);
  checkpoint.remove();
  assert.equal(new Checkpoint(file, target).read(), 0);
  assert.deepEqual(readdirSync(join(folder, 'state', 'scalingnote')), []);
});

test('a folder that cannot be written does not stop an ingest', () => {
  writeFileSync(join(folder, 'state'), 'a file, where a folder should be');
  const checkpoint = new Checkpoint(file, target);
  checkpoint.write(3);
  assert.equal(new Checkpoint(file, target).read(), 0);
});
