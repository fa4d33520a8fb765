// `npm run kernel`: makes `kernel-bytes.ts` of `kernel.wat`.
import { readFile, writeFile } from 'node:fs/promises';
import wabt from 'wabt';

const source = new URL('./kernel.wat', import.meta.url);
const { parseWat } = await wabt();
const { buffer } = parseWat('kernel.wat', await readFile(source, 'utf8')).toBinary({});
const text = Buffer.from(buffer).toString('base64');
await writeFile(
  new URL('./kernel-bytes.ts', import.meta.url),
  `/** \`kernel.wat\` as WebAssembly, in base64: made by \`npm run kernel\`. */\nexport const KERNEL =\n  '${text}';\n`,
);
