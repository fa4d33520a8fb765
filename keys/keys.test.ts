import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { hashOf, KEY_ID, makeKey, readKey } from './key.ts';
import { changeKeyFile, deathOf, KeyFileError, readKeyFile, type StoredKey } from './key-file.ts';
import { flawOfPattern, Patterns } from './patterns.ts';

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-keys-'));
after(() => rmSync(folder, { recursive: true }));

function stored(id: string, more: Partial<StoredKey> = {}): StoredKey {
  return {
    id,
    name: '',
    sha256: hashOf(id).toString('hex'),
    scopes: ['search'],
    tenants: ['acme'],
    collections: ['*'],
    createdAt: '2026-01-01T00:00:00.000Z',
    ...more,
  };
}

test('a key has an id that can be seen, 256 random bits, and a checksum', () => {
  const made = Array.from({ length: 200 }, makeKey);
  assert.equal(new Set(made.map(({ text }) => text)).size, 200);
  for (const { id, text } of made) {
    assert.match(id, KEY_ID);
    assert.match(text, /^sn_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}$/);
    assert.deepEqual(readKey(text), { id, hash: hashOf(text) });
  }
  // Every digit of the secret varies: 62 digits, 200 keys.
  for (let at = 16; at < 59; at++)
    assert.ok(new Set(made.map(({ text }) => text[at])).size > 20, `digit ${at}`);
});

test('what was mistyped, cut or invented is no key', () => {
  const { text } = makeKey();
  for (let at = 0; at < text.length; at++) {
    const other = text[at] === 'x' ? 'y' : 'x';
    assert.equal(readKey(text.slice(0, at) + other + text.slice(at + 1)), undefined, `digit ${at}`);
  }
  for (const bad of ['', 'sn_', text.slice(0, -1), `${text}0`, ` ${text}`, `${text}\n`, text.toLowerCase()]) {
    assert.equal(readKey(bad), undefined, bad);
  }
});

for (const [pattern, fits, differs] of [
  ['acme', ['acme'], ['', 'acm', 'acme2', 'ACME']],
  ['wiki*', ['wiki', 'wiki-de', 'wiki*'], ['wik', 'a-wiki', '']],
  ['*-de', ['-de', 'wiki-de'], ['wiki-de2', 'de']],
  ['a*b*c', ['abc', 'a1b2c', 'abbc', 'ab\nc'], ['acb', 'ab', 'xabc']],
  ['ab*ba', ['abba', 'ab1ba'], ['aba', 'abb']],
  ['a.c', ['a.c'], ['abc']],
  ['', [''], ['a']],
  ['*', ['', 'anything'], []],
] as const) {
  test(`the pattern "${pattern}" stands for its names, and for no others`, () => {
    const patterns = new Patterns([pattern]);
    for (const name of fits) assert.ok(patterns.has(name), name);
    for (const name of differs) assert.ok(!patterns.has(name), name);
  });
}

test('a long name costs no time that grows with its square', () => {
  const patterns = new Patterns([`${'*a'.repeat(100)}*b`]);
  assert.equal(patterns.has('a'.repeat(1_000_000)), false);
});

test('a pattern that can’t be meant is refused', () => {
  assert.match(flawOfPattern('a**')!, /one "\*"/);
  assert.match(flawOfPattern('a'.repeat(257))!, /257 characters/);
  assert.equal(flawOfPattern('wiki*'), undefined);
});

test('a file of keys is its owner’s alone, and is replaced in one step', async () => {
  const path = join(folder, 'new', 'keys.json');
  await changeKeyFile(path, () => [stored('aaaaaaaaaaaa')]);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  await changeKeyFile(path, (keys) => [...keys, stored('bbbbbbbbbbbb')]);
  assert.deepEqual(
    readKeyFile(path).map(({ id }) => id),
    ['aaaaaaaaaaaa', 'bbbbbbbbbbbb'],
  );
  assert.deepEqual(readdirSync(join(folder, 'new')), ['keys.json']);
});

test('changes at the same time wait for each other, and none is lost', async () => {
  const path = join(folder, 'busy.json');
  const ids = Array.from({ length: 20 }, (_, index) => `aaaaaaaaaa${String(index).padStart(2, '0')}`);
  await Promise.all(ids.map((id) => changeKeyFile(path, (keys) => [...keys, stored(id)])));
  assert.deepEqual(
    readKeyFile(path)
      .map(({ id }) => id)
      .sort(),
    ids,
  );
});

test('a change that fails leaves the file as it was', async () => {
  const path = join(folder, 'failing.json');
  await changeKeyFile(path, () => [stored('aaaaaaaaaaaa')]);
  const before = readFileSync(path, 'utf8');
  const failing = changeKeyFile(path, () => {
    throw new Error('no');
  });
  await assert.rejects(failing, /no/);
  assert.equal(readFileSync(path, 'utf8'), before);
  await changeKeyFile(path, (keys) => keys);
});

test('a key that is dead for long goes with the next change', async () => {
  const path = join(folder, 'dead.json');
  const old = '2020-01-01T00:00:00.000Z';
  await changeKeyFile(path, () => [
    stored('aaaaaaaaaaaa', { revokedAt: old }),
    stored('bbbbbbbbbbbb', { expiresAt: old }),
    stored('cccccccccccc', { revokedAt: new Date().toISOString() }),
  ]);
  assert.deepEqual(
    readKeyFile(path).map(({ id }) => id),
    ['cccccccccccc'],
  );
});

test('a key dies when it is revoked, and when its time is over', () => {
  const now = Date.parse('2026-06-01T00:00:00Z');
  assert.equal(deathOf(stored('aaaaaaaaaaaa'), now), undefined);
  assert.equal(deathOf(stored('aaaaaaaaaaaa', { expiresAt: '2026-06-01T00:00:00.000Z' }), now), 'expired');
  assert.equal(deathOf(stored('aaaaaaaaaaaa', { expiresAt: '2026-06-01T00:00:00.001Z' }), now), undefined);
  assert.equal(deathOf(stored('aaaaaaaaaaaa', { revokedAt: '2026-05-01T00:00:00.000Z' }), now), 'revoked');
});

for (const [what, content, message] of [
  ['no JSON', 'keys', /is not JSON/],
  ['another version', { version: 2, keys: [] }, /version/],
  ['an unknown key', { version: 1, keys: [], more: 1 }, /more/],
  ['a scope that is none', { version: 1, keys: [{ ...stored('aaaaaaaaaaaa'), scopes: ['root'] }] }, /scopes/],
  ['no scope', { version: 1, keys: [{ ...stored('aaaaaaaaaaaa'), scopes: [] }] }, /scopes/],
  ['a bad pattern', { version: 1, keys: [{ ...stored('aaaaaaaaaaaa'), tenants: ['a**'] }] }, /tenants/],
  [
    'neither key nor certificate',
    { version: 1, keys: [{ ...stored('aaaaaaaaaaaa'), sha256: undefined }] },
    /one of/,
  ],
  ['one id twice', { version: 1, keys: [stored('aaaaaaaaaaaa'), stored('aaaaaaaaaaaa')] }, /same id/],
] as const) {
  test(`a file with ${what} is refused, and named`, () => {
    const path = join(folder, 'bad.json');
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o600 });
    assert.throws(
      () => readKeyFile(path),
      (error) => {
        assert.ok(error instanceof KeyFileError);
        assert.match(error.message, /bad\.json/);
        assert.match(error.message, message);
        return true;
      },
    );
  });
}

test('a file that others may write is refused, with the fix', () => {
  const path = join(folder, 'open.json');
  writeFileSync(path, JSON.stringify({ version: 1, keys: [] }));
  chmodSync(path, 0o620);
  assert.throws(() => readKeyFile(path), /others may write it.*chmod 600/);
  chmodSync(path, 0o640);
  assert.deepEqual(readKeyFile(path), []);
});

test('a file that is not there is refused, with the way to one', () => {
  assert.throws(() => readKeyFile(join(folder, 'none.json')), /keys create/);
});
