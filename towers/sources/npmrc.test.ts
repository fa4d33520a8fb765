import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { temporaryFolder } from '../testing/tiny-tower.ts';
import { PUBLIC_REGISTRY, registryOf } from './npmrc.ts';

function setUp(context: TestContext, user: string, project: string): { env: NodeJS.ProcessEnv; cwd: string } {
  const folder = temporaryFolder(context);
  const cwd = join(folder, 'project');
  mkdirSync(cwd);
  writeFileSync(join(folder, 'userconfig'), user);
  writeFileSync(join(cwd, '.npmrc'), project);
  return { env: { npm_config_userconfig: join(folder, 'userconfig') }, cwd };
}

test('without any configuration it is the public registry', async (context) => {
  const setting = setUp(context, '', '');
  assert.deepEqual(await registryOf('pkg', setting), { url: PUBLIC_REGISTRY, headers: {} });
});

test('the environment goes before the project, the project before the user', async (context) => {
  const { env, cwd } = setUp(
    context,
    'registry=https://user.example',
    '; comment\nregistry = "https://project.example/npm"\n',
  );
  assert.equal((await registryOf('pkg', { env, cwd: '/' })).url, 'https://user.example/');
  assert.equal((await registryOf('pkg', { env, cwd })).url, 'https://project.example/npm/');
  const both = { ...env, npm_config_registry: 'https://env.example/' };
  assert.equal((await registryOf('pkg', { env: both, cwd })).url, 'https://env.example/');
});

test('a scope has its own registry, and each registry its own token', async (context) => {
  const { env, cwd } = setUp(
    context,
    '//project.example/:_authToken=${TOKEN}\n//other.example/:_authToken=secret',
    'registry=https://project.example\n@scope:registry=https://other.example',
  );
  env['TOKEN'] = 'abc';
  assert.deepEqual(await registryOf('pkg', { env, cwd }), {
    url: 'https://project.example/',
    headers: { authorization: 'Bearer abc' },
  });
  assert.deepEqual(await registryOf('@scope/pkg', { env, cwd }), {
    url: 'https://other.example/',
    headers: { authorization: 'Bearer secret' },
  });
});
