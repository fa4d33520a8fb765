import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { helpText, loadConfig, namesOf, Settings } from './config.ts';
import { ConfigError } from './setting-types.ts';

const schema = Settings.pick({ host: true, portQuery: true, data: true, queryQueue: true, logLevel: true });

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-config-'));
after(() => rmSync(folder, { recursive: true }));

let files = 0;
function file(content: unknown): string {
  const path = join(folder, `${++files}.json`);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

test('flags over environment over file over defaults', () => {
  const path = file({ portQuery: 1, queryQueue: 1, logLevel: 'warn' });
  const env = { SCALINGNOTE_PORT_QUERY: '2', SCALINGNOTE_QUERY_QUEUE: '2', SCALINGNOTE_CONFIG: path };
  const { config } = loadConfig(schema, ['--port', '3'], env);
  assert.deepEqual(
    [config.portQuery, config.queryQueue, config.logLevel, config.host],
    [3, 2, 'warn', '127.0.0.1'],
  );
});

test('the file of the flag counts before the one of the environment', () => {
  const env = { SCALINGNOTE_CONFIG: file({ portQuery: 1 }) };
  assert.equal(loadConfig(schema, ['--config', file({ portQuery: 2 })], env).config.portQuery, 2);
});

test('a variable that is empty is not set', () => {
  assert.equal(loadConfig(schema, [], { SCALINGNOTE_HOST: '' }).config.host, '127.0.0.1');
});

test('a file may hold settings of the other service', () => {
  const { config } = loadConfig(schema, ['--config', file({ documentTower: 'x', portQuery: 5 })], {});
  assert.equal(config.portQuery, 5);
  assert.equal('documentTower' in config, false);
});

for (const [what, argv, env, message] of [
  ['an unknown flag', ['--prot', '1'], {}, /--prot/],
  ['a flag of the other service', ['--document-tower', 'x'], {}, /--document-tower/],
  ['a word without a flag', ['7402'], {}, /7402/],
  ['a flag without its value', ['--port'], {}, /--port/],
  ['a port that is none', ['--port', '70000'], {}, /^--port: must be a whole number from 0 to 65535/],
  [
    'a port in words',
    [],
    { SCALINGNOTE_PORT_QUERY: 'tcp://10.0.0.1:7402' },
    /^SCALINGNOTE_PORT_QUERY: must be a whole/,
  ],
  ['a port with a fraction', ['--port', '1.5'], {}, /^--port: /],
  ['a level that is none', [], { SCALINGNOTE_LOG_LEVEL: 'loud' }, /^SCALINGNOTE_LOG_LEVEL: .*info/],
  ['an unknown key of the file', ['--config', file({ prot: 1 })], {}, /no setting "prot"/],
  [
    'a wrong value in the file',
    ['--config', file({ portQuery: '7402x' })],
    {},
    /^"portQuery" in .*json: must be/,
  ],
  ['a file that is not JSON', ['--config', file('port: 1')], {}, /is not JSON/],
  ['a file with a list', ['--config', file([1])], {}, /must hold one JSON object/],
  [
    'a file that is not there',
    ['--config', join(folder, 'none.json')],
    {},
    /can't read the configuration: .*none/,
  ],
] as const) {
  test(`${what} is refused, and named`, () => {
    assert.throws(
      () => loadConfig(schema, argv, env),
      (error) => {
        assert.ok(error instanceof ConfigError);
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      },
    );
  });
}

test('variables that no part knows are told, those of others are not', () => {
  const { unknownVariables } = loadConfig(schema, [], {
    SCALINGNOTE_PROT_QUERY: '1',
    SCALINGNOTE_DOCUMENT_TOWER: 'x',
    SCALINGNOTE_CACHE: '/x',
    PATH: '/bin',
  });
  assert.deepEqual(unknownVariables, ['SCALINGNOTE_PROT_QUERY']);
});

test('help names every setting of the service in its three forms, with its default', () => {
  const help = helpText('query', schema);
  assert.match(help, /--port, SCALINGNOTE_PORT_QUERY, "portQuery"\n.*\n +Default: 7402\n/);
  assert.match(help, /--log-level, SCALINGNOTE_LOG_LEVEL, "logLevel"\n/);
  assert.doesNotMatch(help, /DOCUMENT/);
  assert.equal(namesOf('portQuery'), '--port or SCALINGNOTE_PORT_QUERY');
});
