// Puts our own modules of each process and thread that a start waits for into one file: a hundred files less to find, read and link.
// What comes from npm stays where it is, so that a patched package counts, and OpenTelemetry's SDK can hook into it.
//
// The compiled entry moves aside, and a starter takes its place: it runs the bundle, or the modules where these are newer.
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const DIST = fileURLToPath(new URL('../dist/', import.meta.url));

const ENTRIES = [
  'services/query/main.js',
  'services/document/main.js',
  'services/console/main.js',
  'store/embedded/worker.js',
];

/** Begins a starter. */
const MARK = '// Made by services/write-bundles.js.';

rmSync(join(DIST, 'bundle'), { recursive: true, force: true });
for (const entry of ENTRIES) await writeBundle(entry);

/** @param {string} entry path of a module in `dist` */
async function writeBundle(entry) {
  const path = join(DIST, entry);
  const modules = path.replace(/\.js$/, '.modules.js');
  // Made anew where the compiler has just written it.
  if (!readFileSync(path, 'utf8').startsWith(MARK)) renameSync(path, modules);
  const folder = `bundle/${entry.replace(/\.js$/, '').replaceAll('/', '-')}`;
  const bundle = await rolldown({
    input: modules,
    platform: 'node',
    external: (id) => !/^[./]/.test(id),
    plugins: [{ name: 'places', load: (id) => loaded(id) }],
  });
  await bundle.write({
    dir: join(DIST, folder),
    format: 'esm',
    entryFileNames: 'main.js',
    chunkFileNames: '[name]-[hash].js',
    sourcemap: true,
  });
  await bundle.close();
  const up = '../'.repeat(entry.split('/').length - 1);
  writeFileSync(
    path,
    `${MARK}
import { statSync } from 'node:fs';

const bundle = new URL('${up}${folder}/main.js', import.meta.url);
const modules = new URL('./${basename(modules)}', import.meta.url);
const madeAt = (file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
const isCurrent = madeAt(bundle) >= madeAt(new URL('${up}.tsbuildinfo', import.meta.url));
await import((isCurrent ? bundle : modules).href);
`,
  );
}

/**
 * A module that goes on to find its files where it was.
 *
 * @param {string} id
 */
function loaded(id) {
  if (!id.startsWith(DIST)) return undefined;
  // Of the two folders from here: a bundle's own, and the one with all of them.
  const place = `new URL(${JSON.stringify(`../../${relative(DIST, id)}`)}, import.meta.url).href`;
  const code = readFileSync(id, 'utf8').replaceAll('import.meta.url', place);
  const map = `${id}.map`;
  return existsSync(map) ? { code, map: readFileSync(map, 'utf8') } : { code };
}
