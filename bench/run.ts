import { existsSync, readdirSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { renderReport, type Bench } from './report.ts';

const EXIT_USAGE = 2;

// npm run bench -- NAME [--json]. Each benchmark is a folder; its bench.ts exports what to compare.
const names = readdirSync(new URL('.', import.meta.url), { withFileTypes: true })
  .filter((entry) => existsSync(new URL(`./${entry.name}/bench.js`, import.meta.url)))
  .map(({ name }) => name);

function usage(problem: string): never {
  console.error(`bench: ${problem}\n\nnpm run bench -- NAME [--json]; NAME is one of ${names.join(', ')}`);
  process.exit(EXIT_USAGE);
}

function readArguments(): { name: string | undefined; json: boolean } {
  try {
    const { values, positionals } = parseArgs({
      options: { json: { type: 'boolean', default: false } },
      allowPositionals: true,
    });
    return { name: positionals.length === 1 ? positionals[0] : undefined, json: values.json };
  } catch (error) {
    return usage((error as Error).message);
  }
}

const { name, json } = readArguments();
if (name === undefined) usage('name one benchmark');
if (!names.includes(name)) usage(`there is no benchmark "${name}"`);

const { bench } = (await import(`./${name}/bench.js`)) as { bench: Bench };
try {
  const { parameters, comparisons } = await bench.run((line) => process.stderr.write(`${line}\n`));
  const machine = { cpus: cpus().length, model: cpus()[0]?.model ?? '', node: process.version };
  const report = { bench: name, machine, parameters, comparisons };
  console.log(json ? JSON.stringify(report, undefined, 2) : renderReport(report));
} catch (error) {
  console.error(`bench ${name}: ${(error as Error).message}`);
  process.exitCode = 1;
}
