import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { type Report, renderReport } from './report.ts';

/** Exit code of a benchmark whose peer is not installed. */
export const EXIT_MISSING = 3;

/** A benchmark takes at most five minutes with `--quick`, and twenty without. It is ended after a bit more. */
const LIMIT_MS = 25 * 60_000;
const QUICK_LIMIT_MS = 6 * 60_000;

/** What became of one benchmark. */
type Outcome = { bench: string; seconds: number } & (
  | { report: Report }
  | { missing: string }
  | { failure: string }
);

/**
 * Runs benchmarks one after the other, each in a process of its own, and prints what each found.
 *
 * @returns whether all of them ran whose peers are installed
 */
export async function runAll(
  names: readonly string[],
  { json, quick }: { json: boolean; quick: boolean },
): Promise<boolean> {
  const outcomes: Outcome[] = [];
  for (const [index, name] of names.entries()) {
    process.stderr.write(`${name} (${index + 1} of ${names.length})\n`);
    const outcome = await runOne(name, quick);
    outcomes.push(outcome);
    if (!json) console.log(`${render(outcome)}\n`);
  }
  const failed = outcomes.filter((outcome) => 'failure' in outcome);
  if (json) console.log(JSON.stringify(outcomes, undefined, 2));
  else console.log(`${outcomes.length - failed.length} of ${outcomes.length} did not fail`);
  return failed.length === 0;
}

async function runOne(name: string, quick: boolean): Promise<Outcome> {
  const began = performance.now();
  const run = fileURLToPath(new URL('./run.js', import.meta.url));
  const child = spawn(process.execPath, [run, name, '--json', ...(quick ? ['--quick'] : [])], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const limitMs = quick ? QUICK_LIMIT_MS : LIMIT_MS;
  let isLate = false;
  const limit = setTimeout(() => {
    isLate = true;
    // Its services end when it does: they notice that nobody is at the other end.
    child.kill();
  }, limitMs);
  child.stderr.pipe(process.stderr, { end: false });
  const [output, said, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>((resolve) => child.once('exit', resolve)),
  ]);
  clearTimeout(limit);
  const seconds = Math.round((performance.now() - began) / 1000);
  if (code === 0) return { bench: name, seconds, report: JSON.parse(output) as Report };
  const last = said.trim().split('\n').at(-1) ?? '';
  const reason = isLate ? `ended after ${limitMs / 60_000} minutes; its last line: ${last}` : last;
  return code === EXIT_MISSING
    ? { bench: name, seconds, missing: reason }
    : { bench: name, seconds, failure: reason };
}

function render(outcome: Outcome): string {
  const { bench, seconds } = outcome;
  if ('missing' in outcome) return `${bench}: ${outcome.missing}`;
  if ('failure' in outcome) return `${bench}, ${seconds} s: failed: ${outcome.failure}`;
  return `${renderReport(outcome.report)}\n(${seconds} s)`;
}
