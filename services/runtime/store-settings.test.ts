import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { helpText, loadConfig, namesOf, settingsOf, type Config } from './config.ts';
import { ConfigError } from './setting-types.ts';
import { defaultDataDirectory, STORE_SETTINGS, storeConfig } from './store-settings.ts';

const KEY = 'a-key-that-nobody-may-see';
const folder = mkdtempSync(join(tmpdir(), 'scalingnote-store-settings-'));
after(() => rmSync(folder, { recursive: true }));

let files = 0;
function file(content: string): string {
  const path = join(folder, `key-${++files}`);
  writeFileSync(path, content);
  return path;
}

function configured(access: keyof typeof STORE_SETTINGS, argv: string[], env: NodeJS.ProcessEnv = {}) {
  return storeConfig(loadConfig(settingsOf(STORE_SETTINGS[access]), argv, env).config as Config);
}

test('the store is embedded unless it is said to be another', () => {
  assert.deepEqual(configured('reads', ['--data', '/x']), { kind: 'embedded', directory: '/x' });
  assert.throws(
    () => configured('reads', ['--store', 'redis']),
    /^ConfigError: --store: must be embedded or qdrant$/,
  );
});

test('a Qdrant store is what the settings say, and nothing that they do not', () => {
  assert.deepEqual(configured('reads', [], { SCALINGNOTE_STORE: 'qdrant' }), {
    kind: 'qdrant',
    url: 'http://127.0.0.1:6333',
  });
  const env = {
    SCALINGNOTE_STORE: 'qdrant',
    QDRANT_URL: 'https://a:6333,https://b:6333',
    QDRANT_API_KEY: KEY,
    SCALINGNOTE_QDRANT_CA: '/ca.pem',
    SCALINGNOTE_QDRANT_EXACT: 'true',
    SCALINGNOTE_QDRANT_OVERSAMPLING: '2.5',
  };
  assert.deepEqual(configured('reads', ['--qdrant-hnsw-ef', '64'], env), {
    kind: 'qdrant',
    url: 'https://a:6333,https://b:6333',
    apiKey: KEY,
    ca: '/ca.pem',
    exact: true,
    oversampling: 2.5,
    hnswEf: 64,
  });
  const made = configured('writes', ['--indexed-fields', 'pos:keyword,year.born:integer'], env);
  assert.deepEqual(made, {
    kind: 'qdrant',
    url: 'https://a:6333,https://b:6333',
    apiKey: KEY,
    ca: '/ca.pem',
    indexedFields: { pos: 'keyword', 'year.born': 'integer' },
  });
});

test('a field that is indexed may have keys in quotes, with anything in them', () => {
  const env = { SCALINGNOTE_STORE: 'qdrant' };
  const list = 'pos:keyword,"unit.price".net:float,"a,b:c":bool,odd key:integer';
  const made = configured('writes', ['--indexed-fields', list], env);
  assert.deepEqual(made.kind === 'qdrant' && made.indexedFields, {
    pos: 'keyword',
    '"unit.price".net': 'float',
    '"a,b:c"': 'bool',
    'odd key': 'integer',
  });
  for (const wrong of ['pos', 'pos:', ':keyword', 'pos:keyword,', 'pos:text', '"a:keyword']) {
    assert.throws(() => configured('writes', ['--indexed-fields', wrong], env), /must be FIELD:TYPE/, wrong);
  }
});

test('the key may come from a file, and from one place only', () => {
  const path = file(`${KEY}\n`);
  const env = { SCALINGNOTE_STORE: 'qdrant', SCALINGNOTE_QDRANT_API_KEY_FILE: path };
  const config = configured('reads', [], env);
  // The store reads it, now and when it changes.
  assert.equal(config.kind === 'qdrant' && config.apiKeyFile, path);
  assert.throws(() => configured('reads', [], { ...env, QDRANT_API_KEY: 'x' }), /both set/);
});

const bad: [what: string, env: NodeJS.ProcessEnv, says: RegExp][] = [
  ['an address with a password', { QDRANT_URL: `http://me:${KEY}@host` }, /^QDRANT_URL: .*QDRANT_API_KEY/],
  ['an address of another protocol', { QDRANT_URL: 'grpc://host:6334' }, /^QDRANT_URL: must be http/],
  ['an address that is none', { QDRANT_URL: 'host:6333' }, /^QDRANT_URL: must be http/],
  ['a key of two lines', { QDRANT_API_KEY: `${KEY}\n${KEY}` }, /^QDRANT_API_KEY: must be/],
  ['a file that is not there', { SCALINGNOTE_QDRANT_API_KEY_FILE: join(folder, 'none') }, /none/],
  ['a file with two keys', { SCALINGNOTE_QDRANT_API_KEY_FILE: file(`${KEY} ${KEY}`) }, /must be characters/],
  ['exactness in words', { SCALINGNOTE_QDRANT_EXACT: 'yes' }, /_EXACT: must be true or false/],
  ['an oversampling below 1', { SCALINGNOTE_QDRANT_OVERSAMPLING: '0.5' }, /must be a number from 1 to 100/],
];
for (const [what, env, says] of bad) {
  test(`${what} is refused, and the key is not told`, () => {
    assert.throws(
      () => configured('reads', [], { SCALINGNOTE_STORE: 'qdrant', ...env }),
      (error) => {
        assert.ok(error instanceof ConfigError);
        assert.match(error.message, says);
        assert.doesNotMatch(error.message, new RegExp(KEY));
        return true;
      },
    );
  });
}

for (const fields of ['pos', 'pos:word', ':keyword', 'pos:keyword,']) {
  test(`fields "${fields}" are refused`, () => {
    assert.throws(() => configured('writes', ['--indexed-fields', fields]), /FIELD:TYPE/);
  });
}

test('the key is no flag, and is in no help', () => {
  assert.throws(() => configured('reads', ['--qdrant-api-key', KEY]), /--qdrant-api-key/);
  assert.equal(namesOf('qdrantApiKey'), 'QDRANT_API_KEY');
  const help = helpText('query', settingsOf(STORE_SETTINGS.reads));
  assert.match(help, /--qdrant-url, QDRANT_URL, "qdrantUrl"\n.*\n +Default: http:\/\/127\.0\.0\.1:6333\n/);
  assert.doesNotMatch(help, /--qdrant-api-key,/);
});

test('a process that gets a key prints it nowhere', () => {
  const main = fileURLToPath(new URL('../query/main.js', import.meta.url));
  const env = {
    ...process.env,
    SCALINGNOTE_STORE: 'qdrant',
    QDRANT_API_KEY: KEY,
    SCALINGNOTE_LOG_LEVEL: 'trace',
  };
  for (const argv of [['--help'], ['--qdrant-url', 'nowhere']]) {
    const { stdout, stderr } = spawnSync(process.execPath, [main, ...argv], { env, encoding: 'utf8' });
    assert.doesNotMatch(stdout + stderr, new RegExp(KEY));
    assert.match(stdout + stderr, /qdrant-url/);
  }
});

test('data is where programs of a user keep it', () => {
  assert.equal(defaultDataDirectory({ XDG_DATA_HOME: '/xdg' }), join('/xdg', 'scalingnote'));
  assert.equal(defaultDataDirectory({}), join(homedir(), '.local', 'share', 'scalingnote'));
});
