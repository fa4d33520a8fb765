import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, posix } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { serve } from './testing/fake-service.ts';

/** The package as npm would publish it, after `npm run build`. */
const root = fileURLToPath(new URL('../../', import.meta.url));
const run = promisify(execFile);

let files: string[] = [];
const read = (path: string): Promise<string> => readFile(join(root, 'clients', path), 'utf8');

before(async () => {
  const { stdout } = await run('npm', ['pack', '--dry-run', '--json', '-w', 'clients'], { cwd: root });
  const [pack] = JSON.parse(stdout) as { files: { path: string }[] }[];
  files = pack!.files.map(({ path }) => path);
});

describe('what npm publishes as @scalingnote/client', () => {
  test('the client, the contract and its types, and nothing for tests', () => {
    for (const needed of [
      'package.json',
      'README.md',
      'LICENSE',
      'dist/clients/index.js',
      'dist/clients/index.d.ts',
      'dist/proto/load.js',
      'dist/proto/contract.js',
      'dist/cjs/index.js',
      'dist/cjs/package.json',
      'dist/cjs/index.d.ts',
    ]) {
      assert.ok(files.includes(needed), `${needed} is missing; run "npm run build"`);
    }
    assert.deepEqual(
      files.filter((path) => /test|\.tsbuildinfo|\.map$|[^d]\.ts$/.test(path)),
      [],
    );
  });

  test('imports gRPC, Node and itself', async () => {
    const foreign = new Set<string>();
    for (const path of files.filter((each) => /\.(js|d\.ts)$/.test(each) && !each.includes('/cjs/'))) {
      for (const [, specifier] of (await read(path)).matchAll(/(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)) {
        if (!specifier!.startsWith('.')) {
          if (!specifier!.startsWith('node:')) foreign.add(specifier!);
          continue;
        }
        const target = posix.join(posix.dirname(path), specifier!);
        // A declaration names the source that it was made from.
        const there = path.endsWith('.d.ts') ? target.replace(/(\.d)?\.[jt]s$/, '.d.ts') : target;
        assert.ok(files.includes(there), `${path} imports ${specifier}, which is not in the package`);
      }
    }
    assert.deepEqual([...foreign].sort(), ['@grpc/grpc-js', '@grpc/proto-loader']);
    const { dependencies, optionalDependencies } = JSON.parse(await read('package.json')) as Record<
      'dependencies' | 'optionalDependencies',
      Record<string, string>
    >;
    assert.deepEqual(Object.keys(dependencies).sort(), [...foreign].sort());
    assert.deepEqual(Object.keys(optionalDependencies), ['@opentelemetry/api']);
  });

  describe('installed where there is nothing else', () => {
    let folder = '';

    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'scalingnote-client-'));
      const installed = join(folder, 'node_modules', '@scalingnote', 'client');
      for (const path of files) {
        await mkdir(dirname(join(installed, path)), { recursive: true });
        await cp(join(root, 'clients', path), join(installed, path));
      }
      await symlink(join(root, 'node_modules', '@grpc'), join(folder, 'node_modules', '@grpc'));
    });

    after(async () => {
      await rm(folder, { recursive: true, force: true });
    });

    test('a CommonJS program has the same classes as an ES module', async () => {
      const program = `
        const { QueryClient, ScalingnoteError } = require('@scalingnote/client');
        try {
          new QueryClient({ adress: 'a:1' });
        } catch (error) {
          import('@scalingnote/client').then((client) =>
            console.log(error instanceof client.ScalingnoteError && error instanceof ScalingnoteError),
          );
        }
      `;
      const { stdout } = await run(process.execPath, ['--input-type=commonjs', '--eval', program], {
        cwd: folder,
      });
      assert.equal(stdout, 'true\n');
    });

    test('it searches', async () => {
      const service = await serve({
        Search: (call, callback) => callback(null, { hits: [{ documentId: call.request.query, score: 1 }] }),
      });
      const program = `
        import { QueryClient } from '@scalingnote/client';
        const client = new QueryClient({ address: process.argv[1] });
        const { hits } = await client.search({ collection: 'c', query: 'echo' });
        console.log(hits[0].id);
        client.close();
      `;
      try {
        const { stdout } = await run(
          process.execPath,
          ['--input-type=module', '--eval', program, service.address],
          { cwd: folder },
        );
        assert.equal(stdout, 'echo\n');
      } finally {
        service.close();
      }
    });
  });
});
