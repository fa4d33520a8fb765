import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { pino } from 'pino';
import { recordingLog, until } from '../testing/harness.ts';
import { FLUSH_MS, MAX_WAITING_BYTES, openAuditLog } from './audit-file.ts';

const silent = pino({ level: 'silent' });
const folder = mkdtempSync(join(tmpdir(), 'scalingnote-audit-'));
after(() => rmSync(folder, { recursive: true }));

const linesOf = (path: string): Record<string, string>[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, string>);

test('lines wait for each other a little, and are whole and in order', async () => {
  const path = join(folder, 'order.log');
  const audit = openAuditLog({ auditLog: path, auditMib: 1 }, silent)!;
  for (let index = 0; index < 10; index++)
    audit.log.write(`call ${index}`, undefined, undefined, {}, undefined);
  assert.equal(readFileSync(path, 'utf8'), '');
  await until(() => readFileSync(path, 'utf8') !== '');
  assert.deepEqual(
    linesOf(path).map(({ what }) => what),
    Array.from({ length: 10 }, (_, index) => `call ${index}`),
  );
  audit.log.write('last', undefined, undefined, {}, undefined);
  audit.close();
  assert.equal(linesOf(path).at(-1)?.['what'], 'last');
});

test('no line is lost or torn where the file rotates', () => {
  const path = join(folder, 'rotating.log');
  const audit = openAuditLog({ auditLog: path, auditMib: 1 }, silent)!;
  const count = 12_000;
  for (let index = 0; index < count; index++) audit.log.write(`call ${index}`, undefined, '', {}, undefined);
  audit.close();
  assert.ok(existsSync(`${path}.1`));
  const all = ['.4', '.3', '.2', '.1', ''].flatMap((age) =>
    existsSync(path + age) ? linesOf(path + age) : [],
  );
  assert.equal(all.length, count);
  assert.deepEqual([all[0]?.['what'], all.at(-1)?.['what']], ['call 0', `call ${count - 1}`]);
});

test('two that write the same file lose no line, and keep to its size', () => {
  const path = join(folder, 'shared.log');
  const both = ['a', 'b'].map((name) => ({
    name,
    audit: openAuditLog({ auditLog: path, auditMib: 1 }, silent)!,
  }));
  const count = 12_000;
  for (let index = 0; index < count; index++) {
    for (const { name, audit } of both) audit.log.write(`${name} ${index}`, undefined, '', {}, undefined);
  }
  for (const { audit } of both) audit.close();
  const files = ['.4', '.3', '.2', '.1', ''].map((age) => path + age).filter((file) => existsSync(file));
  const all = files.flatMap(linesOf).map(({ what }) => what!);
  for (const { name } of both) {
    assert.equal(new Set(all.filter((what) => what.startsWith(`${name} `))).size, count);
  }
  assert.equal(all.length, 2 * count);
  for (const file of files) assert.ok(statSync(file).size <= 1024 * 1024, file);
});

test('a file that was moved away is begun again', () => {
  const path = join(folder, 'moved.log');
  const audit = openAuditLog({ auditLog: path, auditMib: 1 }, silent)!;
  renameSync(path, `${path}.elsewhere`);
  audit.log.write('after', undefined, '', {}, undefined);
  audit.close();
  assert.deepEqual(
    linesOf(path).map(({ what }) => what),
    ['after'],
  );
});

test('a disk that is full is said once, and what is lost is counted', async () => {
  // Every write to this device fails as on a full disk.
  if (!existsSync('/dev/full')) return;
  closeSync(openSync('/dev/full', 'a'));
  const { log, lines } = recordingLog();
  const audit = openAuditLog({ auditLog: '/dev/full', auditMib: 65_536 }, log)!;
  const write = (): void => audit.log.write('x'.repeat(1000), undefined, '', {}, undefined);
  for (let bytes = 0; bytes < MAX_WAITING_BYTES + 100_000; bytes += 1000) write();
  assert.ok(audit.lost > 0);
  await setTimeout(3 * FLUSH_MS);
  assert.equal(lines.filter(({ msg }) => /can’t be written/.test(String(msg))).length, 1);
  audit.close();
});

test('a process that ends writes what waits', async () => {
  const path = join(folder, 'exit.log');
  const module = new URL('./audit-file.js', import.meta.url).href;
  const script = `
    import { openAuditLog } from ${JSON.stringify(module)};
    const audit = openAuditLog({ auditLog: ${JSON.stringify(path)}, auditMib: 1 }, { error() {} });
    audit.log.write('last words', undefined, '', {}, undefined);
    process.exit(0);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'inherit' });
  await new Promise((resolve) => child.once('exit', resolve));
  assert.deepEqual(
    linesOf(path).map(({ what }) => what),
    ['last words'],
  );
});
