import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { LogFile } from './log-file.ts';

const SIZES = { maxBytes: 1000, older: 2 };

function folderOf(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'scalingnote-log-'));
  context.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

test('all files together stay within their size, and the newest lines are the last of them', (context) => {
  const folder = folderOf(context);
  const log = new LogFile(join(folder, 'deeper', 'query.log'), assert.fail, SIZES);
  for (let line = 0; line < 500; line++) log.write(`line ${line} ${'x'.repeat(40)}`);
  log.close();
  const names = readdirSync(join(folder, 'deeper')).sort();
  assert.deepEqual(names, ['query.log', 'query.log.1', 'query.log.2']);
  const sizes = names.map((name) => statSync(join(folder, 'deeper', name)).size);
  assert.ok(
    sizes.every((size) => size <= SIZES.maxBytes),
    String(sizes),
  );
  const text = names
    .reverse()
    .map((name) => readFileSync(join(folder, 'deeper', name), 'utf8'))
    .join('');
  const lines = text.trimEnd().split('\n');
  assert.match(lines.at(-1)!, /^line 499 /);
  const first = Number(lines[0]!.split(' ')[1]);
  assert.deepEqual(
    lines.map((line) => Number(line.split(' ')[1])),
    Array.from({ length: 500 - first }, (_, index) => first + index),
  );
});

test('a log goes on where the one before it ended, and its size counts', (context) => {
  const path = join(folderOf(context), 'query.log');
  for (let run = 0; run < 5; run++) {
    const log = new LogFile(path, assert.fail, SIZES);
    log.write('y'.repeat(300));
    log.close();
  }
  assert.equal(statSync(path).size, 602);
  assert.equal(statSync(`${path}.1`).size, 903);
});

test('its owner alone can read it', (context) => {
  const path = join(folderOf(context), 'query.log');
  const log = new LogFile(path, assert.fail);
  log.write('x');
  log.close();
  assert.equal(statSync(path).mode & 0o077, 0);
});

test('two writers of one log keep every line, and bound it', (context) => {
  const folder = folderOf(context);
  const logs = [0, 1].map(() => new LogFile(join(folder, 'query.log'), assert.fail, SIZES));
  for (let line = 0; line < 200; line++) for (const log of logs) log.write(`${line}${'z'.repeat(30)}`);
  for (const log of logs) log.close();
  const sizes = readdirSync(folder).map((name) => statSync(join(folder, name)).size);
  assert.equal(sizes.length, 3);
  assert.ok(
    sizes.every((size) => size <= 2 * SIZES.maxBytes),
    String(sizes),
  );
});

test('a full disk loses lines and says so once; when there is room again, the log says how many', (context) => {
  const path = join(folderOf(context), 'query.log');
  symlinkSync('/dev/full', path);
  const losses: string[] = [];
  const log = new LogFile(path, (why) => losses.push(why));
  log.write('one');
  log.write('two');
  assert.equal(losses.length, 1);
  assert.match(losses[0]!, /ENOSPC/);
  unlinkSync(path);
  log.close();
  log.write('three');
  log.close();
  const [gap, line] = readFileSync(path, 'utf8').trimEnd().split('\n');
  assert.match((JSON.parse(gap!) as { msg: string }).msg, /^2 lines/);
  assert.equal(line, 'three');
});
