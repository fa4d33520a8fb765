import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, posix } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** The package as `npm run package` makes it. */
const root = fileURLToPath(new URL('../../', import.meta.url));
const run = promisify(execFile);

let files: string[] = [];

before(async () => {
  const { stdout } = await run('npm', ['pack', '--dry-run', '--json'], { cwd: root });
  const [pack] = JSON.parse(stdout) as { files: { path: string }[] }[];
  files = pack!.files.map(({ path }) => path);
});

/** Files that one of ours imports, starts or reads, by the paths in its text. */
function namedIn(path: string): string[] {
  const text = readFileSync(join(root, path), 'utf8');
  const imports = text.matchAll(/(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]/g);
  const addresses = text.matchAll(/new URL\(['"`](\.[^'"`]+)['"`], ?import\.meta\.url\)/g);
  return [...imports, ...addresses]
    .flatMap(([, name]) =>
      ['document', 'query', 'console'].map((service) => name!.replace('${name}', service)),
    )
    .map((name) => posix.join(posix.dirname(path), name));
}

/** Whether it is a module of types, which compiles to nothing but comments. */
function isEmpty(path: string): boolean {
  const text = readFileSync(join(root, path), 'utf8');
  return text.replaceAll(/\/\*[^]*?\*\/|\/\/.*/g, '').trim() === 'export {};';
}

test('the command does not build again what is built', async () => {
  const { stderr } = await run(process.execPath, [join(root, 'cli/scalingnote.js'), '--version'], {
    cwd: root,
  });
  assert.equal(stderr, '');
});

describe('what npm publishes as scalingnote', () => {
  test('the programs are what the command leads to, all of it and nothing else', () => {
    const reached = new Set(['cli/scalingnote.js']);
    for (const path of reached) {
      for (const name of namedIn(path))
        if (name.endsWith('.js') && existsSync(join(root, name))) reached.add(name);
    }
    const published = files.filter(
      (path) => path.endsWith('.js') && !path.startsWith('dist/services/console/page/'),
    );
    const missing = [...reached].filter((path) => !published.includes(path));
    const shared = /^dist\/services\/console\/shared\//;
    // The page has what it shares with the server in its bundle.
    const idle = published.filter((path) => !reached.has(path) && !isEmpty(path) && !shared.test(path));
    assert.deepEqual({ missing, idle }, { missing: [], idle: [] });
  });

  test('beside them: contract, console page, towers that ship, and nothing for tests', () => {
    const others = files.filter((path) => !path.endsWith('.js'));
    const expected = [
      /^(?:LICENSE|README\.md|package\.json)$/,
      /^dist\/proto\/(?:google|scalingnote)\/[\w/]+\.(?:proto|binpb)$/,
      /^dist\/services\/console\/page\/(?:index\.html|icon\.svg|assets\/index-[\w-]+\.css)$/,
      /^towers\/shipped\/[\w-]+\/(?:README\.md|model\.onnx|report\.html|tokenizer\.json|tokenizer_config\.json|tower\.json|training\.json)$/,
    ];
    assert.deepEqual(
      others.filter((path) => !expected.some((pattern) => pattern.test(path))),
      [],
    );
    for (const pattern of expected)
      assert.ok(
        others.some((path) => pattern.test(path)),
        String(pattern),
      );
  });

  describe('installed where its sources are not', () => {
    let folder = '';
    let installed = '';

    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'scalingnote-package-'));
      installed = join(folder, 'node_modules', 'scalingnote');
      for (const path of files) {
        mkdirSync(dirname(join(installed, path)), { recursive: true });
        cpSync(join(root, path), join(installed, path));
      }
      for (const name of readdirSync(join(root, 'node_modules'))) {
        if (name === 'scalingnote' || name.startsWith('.')) continue;
        symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
      }
    });

    after(() => rmSync(folder, { recursive: true, force: true }));

    test('the command runs', async () => {
      const { bin } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as {
        bin: { scalingnote: string };
      };
      const command = join(installed, bin.scalingnote);
      const { stdout, stderr } = await run(process.execPath, [command, 'towers', 'list'], { cwd: folder });
      assert.match(stdout, /all-MiniLM-L6-v2-lookup/);
      assert.equal(stderr, '');
    });

    test('its insides are closed', async () => {
      const load = (name: string): Promise<unknown> =>
        run(process.execPath, ['--input-type=module', '--eval', `import '${name}'`], { cwd: folder });
      for (const name of [
        'scalingnote',
        'scalingnote/dist/towers/open.js',
        'scalingnote/cli/scalingnote.js',
      ]) {
        await assert.rejects(load(name), /ERR_PACKAGE_PATH_NOT_EXPORTED/);
      }
    });
  });
});
