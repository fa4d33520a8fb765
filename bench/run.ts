import { existsSync, readdirSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { BenchUsageError, renderReport, type Bench } from './report.ts';

const EXIT_USAGE = 2;

// npm run bench -- NAME [--json]. Each benchmark is a folder; its bench.ts exports what to compare.
const names = readdirSync(new URL('.', import.meta.url), { withFileTypes: true })
  .filter((entry) => existsSync(new URL(`./${entry.name}/bench.js`, import.meta.url)))
  .map(({ name }) => name);

function usage(problem: string, name = 'NAME', flags: readonly string[] = []): never {
  const given = flags.map((flag) => ` [--${flag} VALUE]`).join('');
  console.error(
    `bench: ${problem}\n\nnpm run bench -- ${name}${given} [--json]; NAME is one of ${names.join(', ')}`,
  );
  process.exit(EXIT_USAGE);
}

const [name = '', ...rest] = process.argv.slice(2);
if (name === '' || name.startsWith('-')) usage('name one benchmark, before its flags');
if (!names.includes(name)) usage(`there is no benchmark "${name}"`);

const { bench } = (await import(`./${name}/bench.js`)) as { bench: Bench };
const flags = Object.keys(bench.flags ?? {});

function readFlags(): { json: boolean; given: Record<string, string | undefined> } {
  try {
    const { values } = parseArgs({
      args: rest,
      options: { ...bench.flags, json: { type: 'boolean', default: false } },
    });
    const { json, ...given } = values as { json: boolean } & Record<string, string | undefined>;
    return { json, given };
  } catch (error) {
    return usage((error as Error).message, name, flags);
  }
}

const { json, given } = readFlags();
try {
  const findings = await bench.run((line) => process.stderr.write(`${line}\n`), given);
  const machine = { cpus: cpus().length, model: cpus()[0]?.model ?? '', node: process.version };
  const { table, ...forPrograms } = { bench: name, machine, ...findings };
  console.log(
    json
      ? JSON.stringify(forPrograms, undefined, 2)
      : renderReport({ ...forPrograms, ...(table && { table }) }),
  );
} catch (error) {
  if (error instanceof BenchUsageError) usage(error.message, name, flags);
  console.error(`bench ${name}: ${(error as Error).message}`);
  process.exitCode = 1;
}
