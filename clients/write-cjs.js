// Makes the package fit for CommonJS: `require` gets the same modules as `import`, so that every class is there once, and
// the types come again as types of a CommonJS package, which `node16` asks for.
import { cpSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const dist = fileURLToPath(new URL('dist/', import.meta.url));
for (const folder of ['clients', 'proto']) {
  cpSync(`${dist}${folder}`, `${dist}cjs/${folder}`, {
    recursive: true,
    filter: (path) => !path.endsWith('.js'),
  });
}
writeFileSync(`${dist}cjs/package.json`, '{ "type": "commonjs" }\n');
writeFileSync(`${dist}cjs/index.js`, "module.exports = require('../clients/index.js');\n");
