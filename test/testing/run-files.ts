import { relative } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

/** Longest that a file may take, in milliseconds. */
const FILE_MS = 300_000;

/**
 * Files that are run once more where they failed. Tests start processes and wait for them, on machines that others load: a
 * file that passes alone is told, and fails nothing. A fault fails both times, and many files at once are no accident.
 */
const MOST_AGAIN = 5;

/** What came of some test files. */
export interface FilesRun {
  /** Tests, but for those that were skipped. */
  ran: number;
  skipped: number;
  /** Tests that failed, each as `file: name`; those of a file that passed in its second run are not among them. */
  failed: string[];
  /** Files that failed first, and passed alone. */
  passedAlone: string[];
}

/** One run of a file. */
interface FileRun {
  ran: number;
  /** Why tests were skipped, each reason once. */
  skipped: { tests: number; reasons: Set<string> };
  /** Names. */
  failed: string[];
  /** What the tests said, for people. */
  output: string;
}

/**
 * Runs test files, some at a time, and prints a line for each that passes and everything of those that fail. Those that
 * failed are run once more, one after the other.
 *
 * @param root folder that files are named from
 * @param atOnce processes at a time
 */
export async function runFiles(root: string, files: readonly string[], atOnce = 1): Promise<FilesRun> {
  const nameOf = (file: string): string => relative(root, file);
  const runs = new Map<string, FileRun>();
  const waiting = [...files];
  const worker = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      runs.set(file, await runAndPrint(file, nameOf(file)));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  const failing = files.filter((file) => runs.get(file)!.failed.length > 0);
  const again = failing.length <= MOST_AGAIN ? failing : [];
  const passedAlone: string[] = [];
  for (const file of again) {
    process.stdout.write(`once more, alone: ${nameOf(file)}\n`);
    const second = await runAndPrint(file, nameOf(file));
    runs.set(file, second);
    if (second.failed.length === 0) passedAlone.push(nameOf(file));
  }
  const all = [...runs];
  const sum = (count: (run: FileRun) => number): number => all.reduce((so, [, run]) => so + count(run), 0);
  return {
    ran: sum(({ ran }) => ran),
    skipped: sum(({ skipped }) => skipped.tests),
    failed: all.flatMap(([file, { failed }]) => failed.map((test) => `${nameOf(file)}: ${test}`)),
    passedAlone,
  };
}

/** The last lines of a run: what failed, and how many tests there were. */
export function summaryOf({ ran, skipped, failed, passedAlone }: FilesRun): string {
  return [
    ...passedAlone.map((file) => `failed beside others, and passed alone: ${file}`),
    ...failed.map((test) => `failed: ${test}`),
    `${ran} tests ran, ${failed.length} failed, ${skipped} were skipped`,
  ].join('\n');
}

async function runFile(file: string): Promise<FileRun> {
  const result: FileRun = { ran: 0, skipped: { tests: 0, reasons: new Set() }, failed: [], output: '' };
  const { skipped } = result;
  const tests = run({ files: [file], concurrency: 1, timeout: FILE_MS });
  tests.on('test:pass', ({ skip, details }) => {
    if (skip !== undefined) {
      skipped.tests++;
      if (typeof skip === 'string') skipped.reasons.add(skip);
    } else if (details.type !== 'suite') result.ran++;
  });
  tests.on('test:fail', ({ name, details }) => {
    // Whoever failed within tells of it; a suite whose hook failed tells of itself.
    if ((details.error as { failureType?: string }).failureType === 'subtestsFailed') return;
    result.ran++;
    result.failed.push(name === file ? 'the file itself' : name);
  });
  for await (const text of tests.compose(new spec())) result.output += String(text);
  // The reporter says what failed in its place, and all of it once more at the end.
  result.output = result.output.split('\n✖ failing tests:')[0]!;
  return result;
}

async function runAndPrint(file: string, name: string): Promise<FileRun> {
  const start = performance.now();
  const result = await runFile(file);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const { ran, skipped, failed, output } = result;
  const reasons = [...skipped.reasons].map((reason) => `; skipped: ${reason}`).join('');
  process.stdout.write(
    failed.length > 0
      ? `FAILED ${name} (${failed.length} of ${ran} tests, ${seconds} s)\n${output}\n`
      : `passed ${name} (${ran} tests, ${seconds} s)${reasons}\n`,
  );
  return result;
}
