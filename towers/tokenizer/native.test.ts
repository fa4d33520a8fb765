import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { TowerError } from '../errors.ts';
import { TINY_TOKENIZER } from '../testing/tiny-tower.ts';
import { nativeTokenizer } from './native.ts';

const run = promisify(execFile);

/** Runs a script that has `nativeTokenizer` and the text of a `tokenizer.json`, in a process of its own. */
function inProcess(script: string, env: NodeJS.ProcessEnv = {}): Promise<{ stdout: string }> {
  const module = new URL('native.js', import.meta.url).href;
  const source = `
    import { nativeTokenizer } from ${JSON.stringify(module)};
    const file = ${JSON.stringify(JSON.stringify(TINY_TOKENIZER))};
    ${script}`;
  return run(process.execPath, ['--input-type=module', '-e', source], { env: { ...process.env, ...env } });
}

test('a process ends when its work does, whatever threads the tokenizer has started', async () => {
  const { stdout } = await inProcess(`
    const tokenizer = await nativeTokenizer(file);
    const all = await tokenizer.idsOfAll(Array.from({ length: 1000 }, (_, index) => 'hello ' + index));
    console.log(all.length);`);
  assert.equal(stdout.trim(), '1000');
});

test('where the add-on does not load, the error says so, and on which platform', async () => {
  const { stdout } = await inProcess(
    `await nativeTokenizer(file).catch((error) => console.log(error.reason, error.message));`,
    { NAPI_RS_NATIVE_LIBRARY_PATH: '/nowhere.node' },
  );
  assert.match(stdout, /^TOWER_MODEL_UNSUPPORTED the tokenizer add-on can't be loaded on \w+-\w+: /);
});

test('a text that the reference has no tokens for is refused, not tokenised otherwise', async () => {
  const file = {
    ...TINY_TOKENIZER,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model: { type: 'WordLevel', vocab: { hello: 0 }, unk_token: '[UNK]' },
  };
  const tokenizer = await nativeTokenizer(JSON.stringify(file));
  assert.deepEqual(await tokenizer.ids('hello'), [0]);
  await assert.rejects(
    tokenizer.ids('world'),
    (error) => error instanceof TowerError && error.reason === 'TOWER_MODEL_UNSUPPORTED',
  );
});
