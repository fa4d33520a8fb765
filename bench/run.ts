import { existsSync, readdirSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { EXIT_MISSING, runAll } from './all.ts';
import { watchMachine } from './machine.ts';
import { BenchUsageError, MissingPeerError, renderReport, type Bench } from './report.ts';

const EXIT_USAGE = 2;

// npm run bench -- NAME [--json] [--quick]. Each benchmark is a folder; its bench.ts exports what to compare.
const names = readdirSync(new URL('.', import.meta.url), { withFileTypes: true })
  .filter((entry) => existsSync(new URL(`./${entry.name}/bench.js`, import.meta.url)))
  .map(({ name }) => name);

function usage(problem: string, name = 'NAME', flags: readonly string[] = []): never {
  const given = flags.map((flag) => ` [--${flag} VALUE]`).join('');
  console.error(
    `bench: ${problem}\n\nnpm run bench -- ${name}${given} [--json]; NAME is one of ${names.join(', ')}, or all (of those with --quick)`,
  );
  process.exit(EXIT_USAGE);
}

/** All that take `--quick`, one after the other. */
const ALL = 'all';

const load = async (each: string): Promise<Bench> =>
  ((await import(`./${each}/bench.js`)) as { bench: Bench }).bench;

async function all(): Promise<Bench> {
  const quick: string[] = [];
  for (const each of names) if ((await load(each)).hasQuick) quick.push(each);
  return {
    hasQuick: true,
    run: async (_, __, { quick: isQuick }) => {
      process.exit((await runAll(quick, { json, quick: isQuick })) ? 0 : 1);
    },
  };
}

const [name = '', ...rest] = process.argv.slice(2);
if (name === '' || name.startsWith('-')) usage('name one benchmark, before its flags');
if (name !== ALL && !names.includes(name)) usage(`there is no benchmark "${name}"`);

const bench = name === ALL ? await all() : await load(name);
const flags = Object.keys(bench.flags ?? {});
const switches = {
  json: { type: 'boolean' as const },
  ...(bench.hasQuick && { quick: { type: 'boolean' as const } }),
};

function readFlags(): { json: boolean; quick: boolean; given: Record<string, string | undefined> } {
  try {
    const { values } = parseArgs({
      args: rest,
      options: { ...bench.flags, ...switches },
    });
    const {
      json = false,
      quick = false,
      ...given
    } = values as Record<string, string | undefined> & {
      json?: boolean;
      quick?: boolean;
    };
    return { json, quick, given };
  } catch (error) {
    return usage((error as Error).message, name, flags);
  }
}

const { json, quick, given } = readFlags();
const seen = watchMachine();
try {
  const findings = await bench.run((line) => process.stderr.write(`${line}\n`), given, { quick });
  const bystanders = seen();
  const machine = {
    cpus: cpus().length,
    model: cpus()[0]?.model ?? '',
    node: process.version,
    ...(bystanders && { bystanders }),
  };
  const comparisons = findings.comparisons.map(({ extremes, ...comparison }) =>
    extremes && bystanders?.busy ? { ...comparison, interval: extremes } : comparison,
  );
  const { table, ...forPrograms } = { bench: name, machine, ...findings, comparisons };
  console.log(
    json
      ? JSON.stringify(forPrograms, undefined, 2)
      : renderReport({ ...forPrograms, ...(table && { table }) }),
  );
} catch (error) {
  if (error instanceof BenchUsageError) usage(error.message, name, flags);
  console.error(`bench ${name}: ${(error as Error).message}`);
  process.exitCode = error instanceof MissingPeerError ? EXIT_MISSING : 1;
}
