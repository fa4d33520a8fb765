import { fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { FAULTS, type Fault } from './judge.ts';
import { oneRun, type Ran } from './one-run.ts';
import { MISHAPS } from './plan.ts';
import { Site } from './site.ts';

/**
 * `npm run test:faults -- --runs N --seed S [--sites N] [--json]`: N runs of real processes under faults, with the plans
 * of the seeds from S on, judged by another process. Several sites run beside each other.
 */
const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '2' },
    seed: { type: 'string', default: '1' },
    operations: { type: 'string', default: '1000' },
    sites: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
  },
});
const runs = whole('runs', values.runs);
const first = whole('seed', values.seed);
const sites = whole('sites', values.sites);
const operations = whole('operations', values.operations);

const base = mkdtempSync(join(tmpdir(), 'scalingnote-faults-'));
const started = performance.now();
const all: Ran[] = [];
const seeds = Array.from({ length: runs }, (_, index) => first + index);
// Whoever interrupts it gets the sum of the runs that are done, and of those under way.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => seeds.splice(0));
await Promise.all(Array.from({ length: Math.min(sites, runs) }, (_, index) => runAt(index)));

/** Runs seeds at a site of its own, until there are no more. */
async function runAt(index: number): Promise<void> {
  const site = await Site.open(join(base, `site-${index}`));
  const checker = fork(new URL('check.child.js', import.meta.url));
  if (site.noDisk !== undefined && index === 0) console.error(`skipped: disk full, because ${site.noDisk}`);
  try {
    for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
      report(await timed({ site, checker, base, seed, operations }));
    }
  } finally {
    checker.disconnect();
    await site.close();
  }
}

async function timed(run: Parameters<typeof oneRun>[0]): Promise<Ran & { seconds: string }> {
  const began = performance.now();
  const ran = await oneRun(run);
  return { ...ran, seconds: ((performance.now() - began) / 1000).toFixed(1) };
}

function report(ran: Ran & { seconds: string }): void {
  const { seed, seconds, acknowledged, reads, mishaps, violations, folder } = ran;
  all.push(ran);
  if (!values.json) {
    const what = mishaps.join(', ');
    console.log(`seed ${seed}, ${seconds} s: ${acknowledged} acknowledged, ${reads} fresh reads; ${what}`);
  }
  for (const { fault, what } of violations.slice(0, 5)) {
    console.error(
      `seed ${seed} (npm run test:faults -- --runs 1 --seed ${seed}; ${folder})\n  ${fault}: ${what}`,
    );
  }
}

const failing = all.filter(({ violations }) => violations.length > 0);
if (failing.length === 0) rmSync(base, { recursive: true, force: true });
const found = Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as Record<Fault, number>;
for (const { violations } of failing) for (const { fault } of violations) found[fault]++;
const sometimes: Record<string, number> = {};
for (const ran of all) {
  for (const [what, count] of Object.entries(ran.sometimes)) sometimes[what] = (sometimes[what] ?? 0) + count;
}
const sum = (numbers: number[]): number => numbers.reduce((total, each) => total + each, 0);
const result = {
  runs: all.length,
  operations: sum(all.map((ran) => ran.operations)),
  acknowledged: sum(all.map((ran) => ran.acknowledged)),
  reads: sum(all.map((ran) => ran.reads)),
  ...found,
  seconds: Math.round((performance.now() - started) / 100) / 10,
  faults: Object.fromEntries(
    MISHAPS.map((kind) => [
      kind,
      sum(all.map(({ mishaps }) => mishaps.filter((one) => one === kind).length)),
    ]),
  ),
  sometimes,
  failingSeeds: failing.map(({ seed }) => seed),
};
if (values.json) console.log(JSON.stringify(result, undefined, 2));
else console.log(FAULTS.map((fault) => `${fault} ${found[fault]}`).join(', '));
process.exitCode = failing.length > 0 ? 1 : 0;

function whole(flag: string, text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  console.error(`--${flag} is "${text}"; give a whole number from 1 on`);
  return process.exit(2);
}
