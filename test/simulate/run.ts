import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { FAULTS, type Fault } from '../faults/judge.ts';
import { MUTANTS } from './mutants.ts';
import { SOMETIMES, type Counts } from './sometimes.ts';
import type { Batch, Summed } from './worker.ts';

/**
 * `npm run simulate -- --seeds N [--seed S] [--json] [--mutant NAME] [--known]`: simulates N histories and judges
 * each. With
 * `--seed` and without `--seeds`, that one alone is simulated and its history printed.
 */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    seed: { type: 'string' },
    json: { type: 'boolean', default: false },
    mutant: { type: 'string' },
    known: { type: 'boolean', default: false },
    workers: { type: 'string', default: String(Math.min(2, availableParallelism())) },
  },
});

const seeds = whole('seeds', values.seeds ?? (values.seed === undefined ? '200' : '1'));
const first = whole('seed', values.seed ?? '1');
const workers = whole('workers', values.workers);
const { mutant, known } = values;
const options = { known, ...(mutant !== undefined && { mutant }) };
if (mutant !== undefined && !(mutant in MUTANTS)) {
  fail(`there is no mutant "${mutant}"; there are: ${Object.keys(MUTANTS).join('; ')}`);
}

/** Fewer histories need not have seen all that happens only sometimes. */
const ENOUGH_FOR_SOMETIMES = 200;

/** Seeds in one go of a worker: enough that starting does not count, few enough that both end together. */
const BATCH = 25;

/** Young objects are plenty: fewer collections of them take less time. A stack is made for each error. */
const WORKER_FLAGS = ['--max-semi-space-size=32', '--stack-trace-limit=4'];

/** Failing seeds that are described; all others are listed. */
const DESCRIBED = 5;

const started = performance.now();
const showsHistory = values.seeds === undefined && values.seed !== undefined;
const summed = await inWorkers();
const seconds = (performance.now() - started) / 1000;

const found = Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as Record<Fault, number>;
for (const { violations } of summed.failures) for (const { fault } of violations) found[fault]++;
const never =
  seeds < ENOUGH_FOR_SOMETIMES || mutant !== undefined || known
    ? []
    : SOMETIMES.filter((what) => (summed.sometimes[what] ?? 0) === 0);
const failingSeeds = summed.failures.map(({ seed }) => seed).sort((a, b) => a - b);
const result = {
  histories: summed.histories,
  operations: summed.operations,
  acknowledged: summed.acknowledged,
  reads: summed.reads,
  ...found,
  seconds: Math.round(seconds * 10) / 10,
  sometimes: Object.fromEntries(SOMETIMES.map((what) => [what, summed.sometimes[what] ?? 0])),
  never,
  failingSeeds,
};
if (values.json) console.log(JSON.stringify(result, undefined, 2));
else {
  const faults = FAULTS.map((fault) => `${fault} ${found[fault]}`).join(', ');
  console.log(
    `${result.histories} histories in ${result.seconds} s: ${result.operations} operations, ${result.acknowledged} acknowledged, ${result.reads} fresh reads`,
  );
  console.log(faults);
  for (const what of SOMETIMES) console.log(`${String(result.sometimes[what]).padStart(8)}  ${what}`);
}
const again = (known ? ' --known' : '') + (mutant === undefined ? '' : ` --mutant '${mutant}'`);
for (const { seed, violations } of summed.failures.slice(0, DESCRIBED)) {
  console.error(`seed ${seed}: npm run simulate -- --seed ${seed}${again}`);
  for (const { fault, what } of violations.slice(0, DESCRIBED)) console.error(`  ${fault}: ${what}`);
}
for (const what of never) console.error(`never happened in ${seeds} histories: ${what}`);
process.exitCode = failingSeeds.length > 0 || never.length > 0 ? 1 : 0;

async function inWorkers(): Promise<Summed> {
  const all: Summed = {
    histories: 0,
    operations: 0,
    acknowledged: 0,
    reads: 0,
    sometimes: {},
    failures: [],
  };
  let next = first;
  const take = (): Batch | undefined => {
    const from = next;
    next = Math.min(next + BATCH, first + seeds);
    return from < next ? { from, to: next, showsHistory, options } : undefined;
  };
  const work = async (): Promise<void> => {
    const child = fork(new URL('worker.js', import.meta.url), [], { execArgv: WORKER_FLAGS });
    for (let batch = take(); batch; batch = take()) {
      const answer = await new Promise<Summed>((resolve, reject) => {
        child.once('message', (message) => resolve(message as Summed));
        child.once('exit', (code) => reject(new Error(`a worker has died with ${code}`)));
        child.send(batch);
      });
      child.removeAllListeners('exit');
      add(all, answer);
    }
    child.disconnect();
  };
  await Promise.all(Array.from({ length: workers }, work));
  all.failures.sort((a, b) => a.seed - b.seed);
  return all;
}

function add(all: Summed, one: Summed): void {
  all.histories += one.histories;
  all.operations += one.operations;
  all.acknowledged += one.acknowledged;
  all.reads += one.reads;
  all.failures.push(...one.failures);
  const counts: Counts = all.sometimes;
  for (const [what, count] of Object.entries(one.sometimes)) counts[what] = (counts[what] ?? 0) + count;
}

function whole(flag: string, text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) fail(`--${flag} is "${text}"; give a whole number from 1 on`);
  return Number(text);
}

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}
