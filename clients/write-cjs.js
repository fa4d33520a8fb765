// Makes the package of what was compiled: for CommonJS, `require` gets the same modules as `import`, so that every class is
// there once, and so do its types. What the package's entry does not lead to is left out.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const dist = fileURLToPath(new URL('dist/', import.meta.url));
const entry = { code: join(dist, 'clients/index.js'), types: join(dist, 'clients/index.d.ts') };

/** Files that one leads to. A declaration names the source that it was made from. */
function reachable(first) {
  const isTypes = first.endsWith('.d.ts');
  const found = new Set([first]);
  for (const file of found) {
    const text = readFileSync(file, 'utf8');
    for (const [, path] of text.matchAll(/(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]/g)) {
      const target = join(dirname(file), isTypes ? path.replace(/(\.d)?\.[jt]s$/, '.d.ts') : path);
      if (!existsSync(target)) throw new Error(`${file} imports ${path}, which was not compiled`);
      found.add(target);
    }
  }
  return found;
}

const wanted = new Set([...reachable(entry.code), ...reachable(entry.types)]);
const compiled = readdirSync(dist, { recursive: true, encoding: 'utf8' });
for (const path of compiled.map((each) => join(dist, each))) {
  if (/\.(js|d\.ts)$/.test(path) && !wanted.has(path)) rmSync(path);
}

const FROM = "'../clients/index.js', { with: { 'resolution-mode': 'import' } }";
const values = await import(pathToFileURL(entry.code).href);
const isClass = (value) => typeof value === 'function' && /^class\b/.test(String(value));
const classes = Object.keys(values).filter((name) => isClass(values[name]));
const exported = [...readFileSync(entry.types, 'utf8').matchAll(/export (type )?\{([^}]*)\}/g)];
const types = exported.flatMap(([, isType, names]) =>
  names
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '' && (isType !== undefined || name.startsWith('type ')))
    .map((name) => name.replace(/^type /, '')),
);

mkdirSync(join(dist, 'cjs'), { recursive: true });
writeFileSync(join(dist, 'cjs/package.json'), '{ "type": "commonjs" }\n');
writeFileSync(join(dist, 'cjs/index.js'), "module.exports = require('../clients/index.js');\n");
writeFileSync(
  join(dist, 'cjs/index.d.ts'),
  [
    `type Client = typeof import(${FROM});`,
    ...Object.keys(values).map((name) => `export declare const ${name}: Client['${name}'];`),
    ...classes.map((name) => `export type ${name} = import(${FROM}).${name};`),
    `export type { ${types.join(', ')} } from '../clients/index.js' with { 'resolution-mode': 'import' };`,
    '',
  ].join('\n'),
);
