// npm run openapi [-- FOLDER]: writes what each service serves at /openapi.json.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { v1 } from '../../../../proto/load.ts';
import { openApi } from './document.ts';

const [folder = 'dist/openapi'] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
for (const [name, { service }] of Object.entries({ query: v1.QueryService, document: v1.DocumentService })) {
  const file = join(folder, `${name}.json`);
  const paths = Object.values(service).map(({ path }) => path);
  writeFileSync(file, `${JSON.stringify(openApi(paths), undefined, 2)}\n`);
  console.log(file);
}
