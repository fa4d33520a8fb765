import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { SourceMap, type SourceMapPayload } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { performance } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Area, AREAS } from './areas.ts';
import { type Mutation, mutationsOf } from './mutations.ts';

/**
 * `npm run mutate -- [PATH] [--area NAME] [--sample N] [--seed S] [--json]`: breaks compiled code in small ways, one at a
 * time, and runs the tests of that folder or file (or of each of the eight {@link AREAS}) on each mutant. A mutant that
 * no test notices has survived: write the test, or say in `explained.json` why nobody could notice.
 */

const HELP = `npm run mutate -- [PATH] [--area NAME] [--sample N] [--seed S] [--json]

Breaks compiled code in small ways, one at a time, and runs the tests on each mutant.
PATH is a folder, tried with its own tests, or a source file, tried with the tests of its areas, else of its folder.
Without PATH: a sample of ${Object.keys(AREAS).join(', ')}.

  --area NAME  one of these areas alone
  --sample N   how many mutants to try (default: 60; of a path or an area: all)
  --seed S     which ones the sample holds (default: 1)
  --json       print {mutants, killed, survived: [...]}

Exit status: 0 when at least 95 % of the mutants were killed or are explained, 1 otherwise, 2 for wrong usage.`;

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const BUILT = join(ROOT, 'dist');
const EXPLAINED = join(ROOT, 'test/mutate/explained.json');

/** Of 60 mutants, 57. */
const ONE_MAY_SURVIVE_OF = 20;
const DEFAULT_SAMPLE = 60;
/** A mutant may loop for ever: its tests get several times what they take unbroken. */
const PATIENCE = { factor: 4, extraMs: 10_000 };

interface Mutant extends Mutation {
  area: string;
  /** Compiled file, below `dist/`. */
  file: string;
  tests: readonly string[];
}

/** Why nobody can notice a change. */
interface Explained {
  source: string;
  code: string;
  change: string;
  reason: string;
}

/** A mutant that no test noticed. */
interface Survivor {
  area: string;
  source: string;
  line: number;
  code: string;
  change: string;
  reason?: string;
}

function usage(problem: string): never {
  console.error(`mutate: ${problem}\n\n${HELP}`);
  process.exit(2);
}

function readArguments() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        area: { type: 'string' },
        sample: { type: 'string' },
        seed: { type: 'string', default: '1' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    if (positionals.length + Number(values.area !== undefined) > 1) usage('name one folder, file or area');
    return { ...values, path: positionals[0] };
  } catch (error) {
    return usage((error as Error).message);
  }
}

function whole(name: string, value: string): number {
  if (!/^\d{1,9}$/.test(value) || (name === 'sample' && Number(value) === 0))
    usage(`--${name} is "${value}"; give a whole number`);
  return Number(value);
}

/** Compiled files below a folder of the build. */
function filesBelow(folder: string): string[] {
  return readdirSync(join(BUILT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.js'))
    .map((name) => join(folder, name))
    .sort();
}

/** Tests of one compiled file: those of the areas that it is in, else those of its folder. */
function areaOfFile(file: string): Area {
  const areas = Object.values(AREAS).filter(({ sources }) => sources.includes(file));
  const tests = areas.length > 0 ? areas.flatMap((area) => area.tests) : testsBelow(dirname(file));
  return { sources: [file], tests: [...new Set(tests)] };
}

function testsBelow(folder: string): string[] {
  const tests = filesBelow(folder).filter((file) => file.endsWith('.test.js'));
  if (tests.length === 0) usage(`"${folder}" holds no tests`);
  return tests;
}

/** A folder or a source file as an area. */
function areaOf(path: string): Area {
  const name = relative(ROOT, join(process.cwd(), path)).replace(/\.ts$/, '.js');
  if (!existsSync(join(BUILT, name))) usage(`there is no "${path}" in the build`);
  if (name.endsWith('.js')) return areaOfFile(name);
  const sources = filesBelow(name).filter(
    (file) => !file.endsWith('.test.js') && !/(^|\/)(testing|contract|page)\/|\.child\.js$/.test(file),
  );
  return { sources, tests: testsBelow(name) };
}

/** The areas to break, by name. */
function areasOf(path: string | undefined, name: string | undefined): [string, Area][] {
  if (path !== undefined) return [[path, areaOf(path)]];
  if (name === undefined) return Object.entries(AREAS);
  const area = Object.hasOwn(AREAS, name) ? AREAS[name] : undefined;
  return area
    ? [[name, area]]
    : usage(`there is no area "${name}"; the areas are ${Object.keys(AREAS).join(', ')}`);
}

function mutantsOf(area: string, { sources, tests }: Area): Mutant[] {
  return sources.flatMap((file) => {
    const own = file.replace(/\.js$/, '.test.js');
    const ordered = [...tests].sort((a, b) => Number(b === own) - Number(a === own));
    return mutationsOf(readFileSync(join(BUILT, file), 'utf8')).map((mutation) => ({
      ...mutation,
      area,
      file,
      tests: ordered,
    }));
  });
}

/** Numbers from 0 to 1 that follow from the seed alone (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** As many of each group as the groups have in common, drawn without repetition. */
function sampleOf(groups: readonly Mutant[][], count: number, seed: number): Mutant[] {
  const random = randomOf(seed);
  const piles = groups.map((group) => {
    const pile = [...group];
    for (let last = pile.length - 1; last > 0; last--) {
      const other = Math.floor(random() * (last + 1));
      [pile[last], pile[other]] = [pile[other]!, pile[last]!];
    }
    return pile;
  });
  const taken: Mutant[] = [];
  while (taken.length < count && piles.some((pile) => pile.length > 0)) {
    for (const pile of piles) {
      const next = taken.length < count ? pile.pop() : undefined;
      if (next) taken.push(next);
    }
  }
  return taken;
}

/** Runs one test file of the copy, until its end or its first failure. @returns what failed, if anything did */
function failureOf(test: string, limitMs: number): Promise<string | undefined> {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const flags = ['--max-old-space-size=2048', '--test-reporter=tap'];
  const child = spawn(process.execPath, [...flags, join(COPY, test)], {
    cwd: ROOT,
    env,
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  });
  return new Promise((resolve) => {
    const end = (failure: string | undefined): void => {
      clearTimeout(timer);
      // The test may have left children behind: they are of its process group.
      try {
        process.kill(-child.pid!, 'SIGKILL');
      } catch {
        // All of them have ended.
      }
      resolve(failure);
    };
    const timer = setTimeout(() => end('time limit'), limitMs);
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => {
      const failed = /^\s*not ok \d+ - (?!.* # (?:TODO|SKIP))(.*)/.exec(line);
      if (failed) end(failed[1]);
    });
    child.once('close', (code) => end(code === 0 ? undefined : `exit status ${code}`));
  });
}

/** Time limits of test files, from their times on unbroken code. */
const limits = new Map<string, number>();

async function limitOf(test: string): Promise<number> {
  let limit = limits.get(test);
  if (limit === undefined) {
    const started = performance.now();
    const failure = await failureOf(test, 600_000);
    if (failure !== undefined) {
      console.error(`mutate: ${test} fails on unbroken code (${failure}); mend it first`);
      process.exit(1);
    }
    limit = (performance.now() - started) * PATIENCE.factor + PATIENCE.extraMs;
    limits.set(test, limit);
  }
  return limit;
}

/** @returns the test that noticed, if one did */
async function noticed(mutant: Mutant): Promise<string | undefined> {
  const path = join(COPY, mutant.file);
  const source = readFileSync(join(BUILT, mutant.file), 'utf8');
  const broken = source.slice(0, mutant.start) + mutant.replacement + source.slice(mutant.end);
  for (const test of mutant.tests) {
    const limit = await limitOf(test);
    writeFileSync(path, broken);
    const failure = await failureOf(test, limit);
    writeFileSync(path, source);
    if (failure !== undefined) return `${basename(test)} (${failure})`;
  }
  return undefined;
}

/** Where a mutant stands in the TypeScript that it was compiled from. */
function placeOf({ file, line, column }: Mutant): { source: string; line: number; code: string } {
  const payload = JSON.parse(readFileSync(join(BUILT, `${file}.map`), 'utf8')) as SourceMapPayload;
  const entry = new SourceMap(payload).findEntry(line, column);
  const source = join(dirname(file), basename(file, '.js')) + '.ts';
  const original = 'originalLine' in entry ? entry.originalLine : 0;
  const code = readFileSync(join(ROOT, source), 'utf8').split('\n')[original] ?? '';
  return { source, line: original + 1, code: code.trim() };
}

const { path, area: areaName, sample, seed, json, help } = readArguments();
if (help) {
  console.log(HELP);
  process.exit(0);
}
const groups = areasOf(path, areaName).map(([name, area]) => mutantsOf(name, area));
const isWhole = path !== undefined || areaName !== undefined;
const count = sample === undefined ? (isWhole ? Infinity : DEFAULT_SAMPLE) : whole('sample', sample);
const mutants = sampleOf(groups, count, whole('seed', seed));
const explained = JSON.parse(readFileSync(EXPLAINED, 'utf8')) as Explained[];

/**
 * A copy of the build to break, one for each run. Its depth below the root is that of the build, so that relative paths
 * hold.
 */
const COPY = mkdtempSync(join(ROOT, 'dist-mutants-'));
process.once('exit', () => rmSync(COPY, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
cpSync(BUILT, COPY, { recursive: true });
const survived: Survivor[] = [];
for (const [index, mutant] of mutants.entries()) {
  const killer = await noticed(mutant);
  const { source, line, code } = placeOf(mutant);
  const { area, change } = mutant;
  const reason = explained.find(
    (each) => each.source === source && each.code === code && each.change === change,
  )?.reason;
  if (killer === undefined) survived.push({ area, source, line, code, change, ...(reason && { reason }) });
  const fate = killer === undefined ? `SURVIVED${reason ? ` (${reason})` : ''}` : `killed by ${killer}`;
  console.error(`${index + 1}/${mutants.length} ${source}:${line} ${change}: ${fate}`);
}

const killed = mutants.length - survived.length;
const unexplained = survived.filter(({ reason }) => reason === undefined);
if (json) console.log(JSON.stringify({ mutants: mutants.length, killed, survived }, undefined, 2));
else {
  for (const { source, line, code, change } of unexplained)
    console.log(`${source}:${line} ${change}: ${code}`);
  console.log(
    `${mutants.length} mutants, ${killed} killed, ${survived.length - unexplained.length} explained, ${unexplained.length} survived`,
  );
}
process.exitCode = unexplained.length > Math.floor(mutants.length / ONE_MAY_SURVIVE_OF) ? 1 : 0;
