import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Ground } from './ground.ts';
import { judge, judgeBundle } from './judge.ts';
import { type Pair, startPair } from './pair.ts';
import { MissingError, Project } from './project.ts';
import { copyPrograms, pack, ROOT, TSC, unpack } from './sources.ts';
import { compile } from './types.ts';

/**
 * The client's package as npm would publish it, in projects that have nothing else: those that need no registry. All of them
 * run by `npm run test:packages`.
 */
const folder = mkdtempSync(join(tmpdir(), 'scalingnote-packages-'));
const node = { name: 'this Node', command: process.execPath };
let pair: Pair | undefined;
let ground: Ground;

before(async () => {
  pair = await startPair(folder);
  ground = new Ground(folder, await pack(folder), pair, [node]);
});

after(async () => {
  await pair?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A project with the client and its program, without a registry. */
async function project(type: 'module' | 'commonjs'): Promise<Project> {
  const made = await ground.project(type, type);
  await unpack(made, ground.tarballs.client, '@scalingnote/client', ['@grpc', '@types/node']);
  await copyPrograms(made, 'program.ts', 'main.ts');
  return made;
}

for (const type of ['module', 'commonjs'] as const) {
  test(`a project of type ${type} has the right types, and runs`, async () => {
    const made = await project(type);
    for (const resolution of ['node16', 'bundler', 'nodenext'] as const) await compile(made, TSC, resolution);
    await ground.run(made, 'out/main.js', process.execPath);
    if (type === 'commonjs') return;
    for (const [format, file] of Object.entries({ esm: 'bundle.mjs', cjs: 'bundle.cjs' })) {
      const bundle = ['--platform', 'node', '--format', format, '--file', file];
      await made.run(join(ROOT, 'node_modules/.bin/rolldown'), 'out/main.js', ...bundle);
      await ground.runBundle(made, file);
    }
  });
}

test('a program that saw anything else fails', () => {
  assert.throws(() => judge({ indexed: 2 }));
  for (const code of [
    'import"node:fs";',
    `import { a } from 'undici'`,
    'require("fs")',
    'await import("zlib")',
  ]) {
    assert.throws(() => judgeBundle(code), code);
  }
  assert.throws(
    () => judgeBundle(Array.from({ length: 30_000 }, () => Math.random()).join('')),
    /over 30720/,
  );
  assert.ok(judgeBundle('export const from = "here";') > 0);
});

test('what no registry gives is missing, with the line that installs it', async () => {
  const made = await Project.make(folder, 'nowhere');
  const { npm_config_registry: registry } = process.env;
  process.env['npm_config_registry'] = 'http://127.0.0.1:1';
  process.env['npm_config_fetch_retry_mintimeout'] = '1';
  try {
    await assert.rejects(made.install('@scalingnote/not-published@1.0.0'), (error: unknown) => {
      assert.ok(error instanceof MissingError, String(error));
      assert.match(error.message, /the registry does not give all of .*: ECONNREFUSED/);
      assert.equal(error.install, 'npm install @scalingnote/not-published@1.0.0');
      return true;
    });
  } finally {
    if (registry === undefined) delete process.env['npm_config_registry'];
    else process.env['npm_config_registry'] = registry;
    delete process.env['npm_config_fetch_retry_mintimeout'];
  }
});

test('a consumer that is not known is refused with those that are', async () => {
  const run = fileURLToPath(new URL('run.js', import.meta.url));
  const refused = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
    execFile(process.execPath, [run, '--only', 'parcel'], (error, _, stderr) =>
      resolve({ code: error?.code, stderr }),
    );
  });
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /--only parcel: there is esm, commonjs, .*next/);
});
