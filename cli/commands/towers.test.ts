import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder, TINY_TOKENIZER, tinyModel, writeFiles } from '../../towers/testing/tiny-tower.ts';

/** Runs `scalingnote towers` with a cache of its own. */
async function towers(cache: string, ...parameters: string[]) {
  const main = fileURLToPath(new URL('../main.js', import.meta.url));
  const env = { ...process.env, SCALINGNOTE_CACHE: cache };
  const child = spawn(process.execPath, [main, 'towers', ...parameters], { env });
  const printed = [text(child.stdout), text(child.stderr), once(child, 'exit')] as const;
  const [stdout, stderr, [code]] = await Promise.all(printed);
  return { code: code as number, stdout, stderr };
}

test('import prints what it found and took; each flag goes before the files', async (context) => {
  const cache = temporaryFolder(context);
  const folder = join(temporaryFolder(context), 'model');
  writeFiles(folder, {
    'model.onnx': tinyModel(),
    'tokenizer.json': TINY_TOKENIZER,
    'config.json': { hidden_size: 4, max_position_embeddings: 32 },
    'config_sentence_transformers.json': { prompts: { query: 'query : ', document: '' } },
  });
  const { code, stdout, stderr } = await towers(cache, 'import', folder, '--json');
  assert.equal(code, 0, stderr);
  const { dimensions, pooling, prompts, normalize, maxTokens, batchInvariant, tokenizer } = JSON.parse(
    stdout,
  ) as Record<string, unknown>;
  assert.deepEqual(
    { dimensions, pooling, prompts, normalize, maxTokens, batchInvariant },
    {
      dimensions: 4,
      pooling: 'mean',
      prompts: { query: 'query : ', document: '' },
      normalize: true,
      maxTokens: 32,
      batchInvariant: true,
    },
  );
  assert.deepEqual(Object.keys(tokenizer as object).toSorted(), ['differing', 'implementation', 'probes']);

  const out = join(temporaryFolder(context), 'mine');
  const flags = [
    ['--out', out],
    ['--pooling', 'lasttoken,mean'],
    ['--query-prompt', 'hello '],
    ['--document-prompt', 'star '],
    ['--max-tokens', '16'],
    ['--dimensions', '6'],
    ['--license', 'MIT'],
  ].flat();
  const changed = await towers(cache, 'import', folder, ...flags, '--no-normalize', '--json');
  assert.equal(changed.code, 0, changed.stderr);
  const report = JSON.parse(changed.stdout) as Record<string, unknown>;
  assert.deepEqual(
    [report['pooling'], report['prompts'], report['maxTokens'], report['dimensions'], report['license']],
    [['last', 'mean'], { query: 'hello ', document: 'star ' }, 16, 6, 'MIT'],
  );
  assert.deepEqual([report['normalize'], report['name'], report['out']], [false, 'mine', out]);

  const people = await towers(cache, 'import', folder);
  for (const line of [
    /dimensions +4/,
    /query prompt +"query : "/,
    /licence +not stated; say it with --license/,
  ]) {
    assert.match(people.stdout, line);
  }
  const wrong = await towers(cache, 'import', folder, '--pooling', 'median');
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /--pooling.*mean, cls, last, max/);
  const again = await towers(cache, 'import', out);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /is a tower already/);
});

test('verify looks at what is there, and mends nothing', async (context) => {
  const cache = temporaryFolder(context);
  const folder = join(temporaryFolder(context), 'model');
  writeFiles(folder, { 'model.onnx': tinyModel(), 'tokenizer.json': TINY_TOKENIZER });
  const unknown = await towers(cache, 'verify', folder);
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /not on this machine; fetch it with: npx scalingnote towers pull/);
  const { directory } = JSON.parse((await towers(cache, 'pull', folder, '--json')).stdout) as {
    directory: string;
  };
  assert.equal((await towers(cache, 'verify', folder)).code, 0);
  const model = join(directory, 'model.onnx');
  chmodSync(model, 0o644);
  writeFileSync(model, 'damaged');
  for (const reference of [folder, `file:${directory}`]) {
    const { code, stderr } = await towers(cache, 'verify', reference);
    assert.equal(code, 1);
    assert.match(stderr, /model\.onnx is changed/);
  }
  await towers(cache, 'pull', folder);
  assert.equal((await towers(cache, 'verify', folder)).code, 0);
});
