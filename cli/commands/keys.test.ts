import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test, type TestContext } from 'node:test';
import { hashOf, readKey } from '../../keys/key.ts';
import { readKeyFile } from '../../keys/key-file.ts';
import { keys as command } from './keys.ts';

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-keys-command-'));
after(() => rmSync(folder, { recursive: true }));

let files = 0;

for (const each of command.commands)
  each
    .exitOverride()
    .option('--json')
    .configureOutput({ writeErr: () => {} });

/** What the command printed; in this process, because a new one takes seconds. @throws where the command fails */
async function run({ mock }: TestContext, file: string, name: string, ...args: string[]): Promise<string> {
  let out = '';
  const stdout = mock.method(process.stdout, 'write', (text: string) => {
    out += text;
    return true;
  });
  const stderr = mock.method(process.stderr, 'write', () => true);
  try {
    await command.parseAsync([name, ...args, '--file', file], { from: 'user' });
  } finally {
    stdout.mock.restore();
    stderr.mock.restore();
  }
  return out;
}

const newFile = (): string => join(folder, `${++files}`, 'keys.json');

test('a key is shown once, and only its hash is stored', async (context) => {
  const file = newFile();
  const flags = ['--scopes', 'search,encode', '--tenants', 'acme', '--name', 'the shop'];
  const text = (await run(context, file, 'create', ...flags)).trim();
  const key = readKey(text)!;
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.ok(!readFileSync(file, 'utf8').includes(text.split('_')[2]!));
  const [stored] = readKeyFile(file);
  assert.equal(stored!.id, key.id);
  assert.equal(stored!.sha256, hashOf(text).toString('hex'));
  assert.deepEqual(
    [stored!.scopes, stored!.tenants, stored!.collections],
    [['search', 'encode'], ['acme'], ['*']],
  );
  const days = (Date.parse(stored!.expiresAt!) - Date.now()) / 86_400_000;
  assert.ok(days > 89.9 && days <= 90);
  const listed = JSON.parse(await run(context, file, 'list', '--json')) as {
    keys: Record<string, unknown>[];
  };
  const [shown] = listed.keys;
  assert.deepEqual([shown!['state'], shown!['name'], 'sha256' in shown!], ['valid', 'the shop', false]);
});

test('without tenants it is for data without one', async (context) => {
  const file = newFile();
  const flags = ['--scopes', 'admin', '--expires', 'never', '--collections', 'wiki*, news'];
  await run(context, file, 'create', ...flags);
  const [stored] = readKeyFile(file);
  assert.deepEqual(
    [stored!.tenants, stored!.collections, stored!.expiresAt],
    [[''], ['wiki*', 'news'], undefined],
  );
});

test('the rights of a certificate make no key', async (context) => {
  const file = newFile();
  const out = await run(context, file, 'create', '--scopes', 'search', '--certificate', 'shop');
  assert.doesNotMatch(out, /sn_/);
  const [stored] = readKeyFile(file);
  assert.deepEqual([stored!.certificate, stored!.sha256], ['shop', undefined]);
});

test('a key is revoked once', async (context) => {
  const file = newFile();
  const out = await run(context, file, 'create', '--scopes', 'search', '--json');
  const { id } = JSON.parse(out) as { id: string };
  await run(context, file, 'revoke', id);
  assert.ok(readKeyFile(file)[0]!.revokedAt);
  await assert.rejects(run(context, file, 'revoke', id), /was revoked at/);
  await assert.rejects(run(context, file, 'revoke', 'none'), /no key none/);
});

test('a rotated key works beside the new one for a while, with the same rights', async (context) => {
  const file = newFile();
  const make = async (...args: string[]) =>
    JSON.parse(await run(context, file, args[0]!, ...args.slice(1), '--json')) as Record<string, string>;
  const first = await make('create', '--scopes', 'ingest', '--tenants', 'a*');
  const second = await make('rotate', first['id']!, '--overlap', '12h');
  assert.notEqual(second['key'], first['key']);
  assert.equal(second['replaces'], first['id']);
  const [old, fresh] = readKeyFile(file);
  const hours = (Date.parse(old!.expiresAt!) - Date.now()) / 3_600_000;
  assert.ok(hours > 11.9 && hours <= 12);
  assert.deepEqual([fresh!.scopes, fresh!.tenants], [['ingest'], ['a*']]);
  assert.equal(fresh!.sha256, hashOf(second['key']!).toString('hex'));
  await run(context, file, 'revoke', first['id']!);
  await assert.rejects(run(context, file, 'rotate', first['id']!), /is revoked/);
});

for (const [what, args, message] of [
  ['a scope that is none', ['--scopes', 'search,root'], /"root" is none of search/],
  ['no scope', [], /--scopes/],
  ['a time without a unit', ['--scopes', 'search', '--expires', '90'], /unit of m, h or d/],
  ['a time of centuries', ['--scopes', 'search', '--expires', '9999999d'], /unit of m, h or d/],
  ['a bad pattern', ['--scopes', 'search', '--collections', 'a**'], /one "\*"/],
] as const) {
  test(`${what} is refused`, async (context) => {
    await assert.rejects(run(context, newFile(), 'create', ...args), message);
  });
}
