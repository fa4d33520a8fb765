import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import * as z from 'zod';
import { pullTower } from '../../../towers/pull.ts';
import { TrainingError } from '../../errors.ts';
import { makeFolder, writeJson } from '../../run-folder.ts';
import { readPairs } from '../../stage1/pairs.ts';
import type { TrainProgress } from '../../stage1/run-steps.ts';
import { CachedSteps } from '../cached-steps.ts';
import {
  armCell,
  type CellResult,
  type Experiment,
  type Teacher,
  teacherCell,
  unlabelledQueries,
} from './cells.ts';
import { claimTask } from './measure.ts';
import { claimPage } from './page.ts';
import { measureSpeeds, planOf, Speeds } from './plan.ts';
import {
  ARMS,
  type Arm,
  type ClaimRecipe,
  type ClaimStudent,
  type Design,
  seedsAt,
  sizesOf,
} from './recipe.ts';
import {
  type Difference,
  differenceTo,
  type Headroom,
  headroomOf,
  type Point,
  pointOf,
  type Results,
} from './report.ts';

const PAIRS = 'pairs.jsonl';
const REPORT = 'claim.json';
const PAGE = 'claim.html';

/** The order of pairs in a file; which of them are labelled depends on each seed. */
const FILE_SEED = 1;

/** What an experiment has found. It is the same again from what lies in its folder, and says no times. */
export interface ClaimReport {
  points: Point[];
  headroom: Headroom[];
  differences: Difference[];
  /** Held-out queries of all figures, and documents that each is searched in. */
  heldOut: { queries: number; documents: number };
  /** Page with the table and the plot. */
  html: string;
}

/** What an experiment needs besides its recipe. */
export interface ClaimOptions {
  /** Whether to run the recipe's small grid. @default false */
  small?: boolean | undefined;
  /** Pairs that can be made, by name, so many of them held out. */
  makePairs: Readonly<Record<string, (file: string, heldOut?: number) => Promise<void>>>;
  cacheDir?: string | undefined;
  /** Of ONNX Runtime. @default one for each core */
  threads?: number | undefined;
  /** Interrupts the experiment; the next run resumes there. */
  signal?: AbortSignal | undefined;
  log?: ((message: string) => void) | undefined;
  onProgress?: (name: string, progress: TrainProgress) => void;
}

/**
 * The paper's claim as an experiment that can fail either way: a small query tower in two stages, and in other ways, at
 * several numbers of labelled pairs. Every tower is a step of its own: what is done is skipped, and what was broken off
 * resumes.
 *
 * @throws {TrainingError} `REQUEST_INVALID`, `PAIRS_INVALID`; what `train` and `distill` throw; what the signal says
 */
export async function runClaim(recipe: ClaimRecipe, options: ClaimOptions): Promise<ClaimReport> {
  const { log = () => {} } = options;
  const design = designOf(recipe, options.small === true);
  const experiment = await openExperiment(recipe, design, options);
  await logPlan(experiment, log);

  const cells = new Cells(experiment, log);
  const headroom: Headroom[] = [];
  const open: [student: ClaimStudent, pairs: number][] = [];
  for (const student of design.students) {
    for (const pairs of student.pairs) {
      const found = headroomOf(
        await cells.teachers(pairs),
        await cells.results('end-to-end', student, pairs),
      );
      headroom.push(found);
      log(describeHeadroom(found));
      if (!found.skipped) open.push([student, pairs]);
    }
  }
  const differences: Difference[] = [];
  for (const student of design.students) {
    for (const pairs of student.pairs) await cells.results('no-relative', student, pairs);
  }
  for (const [student, pairs] of open) {
    const twoStage = await cells.results('two-stage', student, pairs);
    for (const arm of ARMS) {
      if (arm === 'two-stage') continue;
      differences.push(differenceTo(twoStage, await cells.results(arm, student, pairs)));
    }
  }
  const html = join(resolve(recipe.out), PAGE);
  const report: ClaimReport = {
    points: cells.all().map(pointOf),
    headroom,
    differences,
    heldOut: { queries: design.heldOut, documents: experiment.task.search.documents.length },
    html,
  };
  await writeFile(html, claimPage(report));
  await writeJson(join(resolve(recipe.out), REPORT), report);
  return report;
}

function designOf({ claim, small }: ClaimRecipe, isSmall: boolean): Design {
  if (!isSmall) return claim;
  if (small !== undefined) return small;
  throw new TrainingError('REQUEST_INVALID', 'the recipe has no small: leave --small out, or write one');
}

async function openExperiment(
  recipe: ClaimRecipe,
  design: Design,
  options: ClaimOptions,
): Promise<Experiment> {
  const { log = () => {}, cacheDir, threads, signal, onProgress, makePairs } = options;
  const out = resolve(recipe.out);
  const steps = new CachedSteps(out, log);
  await makeFolder(out);
  const wanted = design.heldOut + design.development;
  const base = await pullTower(recipe.base, { cacheDir, log });
  const maker = makePairs[recipe.pairs];
  let file = recipe.pairs;
  if (maker !== undefined) {
    const made = await steps.run(
      'pairs',
      { from: recipe.pairs, heldOut: wanted },
      z.null(),
      async (folder) => {
        await maker(join(folder, PAIRS), wanted);
        return null;
      },
    );
    file = join(made.folder, PAIRS);
  }
  const { train: pool, heldOut, sha256 } = await readPairs(file, FILE_SEED);
  const most = Math.max(...sizesOf(design));
  if (heldOut.length < wanted || pool.length < most) {
    throw new TrainingError(
      'PAIRS_INVALID',
      `${file} has ${heldOut.length} pairs held out and ${pool.length} to train on; heldOut and development want ` +
        `${wanted}, the largest point ${most}: mark more with "split": "held-out", or ask for less`,
    );
  }
  return {
    design,
    base: recipe.base,
    fingerprint: base.manifest.space.fingerprint,
    sha256,
    pool,
    task: claimTask(heldOut.slice(0, wanted)),
    steps,
    vectors: join(out, 'vectors'),
    cacheDir,
    threads,
    signal,
    onProgress,
  };
}

async function logPlan(experiment: Experiment, log: (message: string) => void): Promise<void> {
  const { steps, design, fingerprint, task, threads } = experiment;
  const { batch, maxTokens, students } = design;
  const names = students.map(({ name }) => name);
  log('plan: the first steps of every arm are measured');
  const speeds = await steps.run(
    'plan',
    { fingerprint, batch, maxTokens, names, threads: threads ?? null },
    Speeds,
    (folder) => measureSpeeds(experiment, folder),
  );
  const lines = planOf(design, speeds.result, {
    texts: task.search.queries.length + task.search.documents.length,
    unlabelled: unlabelledQueries(experiment).length,
  });
  for (const { student, arm, towers, minutes } of lines) {
    const what = student === '' ? arm : `${arm}, ${student}`;
    log(`plan: ${what}: ${towers} towers, ${minutes.toFixed(1)} minutes`);
  }
  const minutes = lines.reduce((sum, line) => sum + line.minutes, 0);
  const { cores } = speeds.result;
  log(
    `plan: ${minutes.toFixed(0)} minutes in all (${(minutes / 60).toFixed(1)} hours) with the ${cores.toFixed(2)} cores that ` +
      `it had just now, ${(minutes * cores).toFixed(0)} minutes of one core; less what is done already, and less arms that ` +
      'are skipped for want of headroom',
  );
}

/** The cells of an experiment, each trained when it is first asked for, at the rate that was chosen for it. */
class Cells {
  readonly #experiment: Experiment;
  readonly #log: (message: string) => void;
  readonly #rates = new Map<string, number>();
  readonly #teachers = new Map<number, Results & { seeds: readonly Teacher[] }>();
  readonly #results = new Map<string, Results>();

  constructor(experiment: Experiment, log: (message: string) => void) {
    this.#experiment = experiment;
    this.#log = log;
  }

  /** Teachers first, then every student by its pairs and arms. */
  all(): Results[] {
    const teachers = [...this.#teachers.values()].sort((a, b) => a.pairs - b.pairs);
    const { students } = this.#experiment.design;
    const arms = students.flatMap(({ name, pairs }) =>
      pairs.flatMap((at) => ARMS.flatMap((arm) => this.#results.get(keyOf(arm, name, at)) ?? [])),
    );
    return [...teachers, ...arms];
  }

  async teachers(pairs: number): Promise<Results & { seeds: readonly Teacher[] }> {
    const known = this.#teachers.get(pairs);
    if (known !== undefined) return known;
    const rate = await this.#rateOf('teacher', 'teacher', (cell) => teacherCell(this.#experiment, cell));
    const seeds: Teacher[] = [];
    for (const seed of seedsAt(this.#experiment.design, pairs)) {
      seeds.push(await teacherCell(this.#experiment, { pairs, seed, rate }));
    }
    const found = { pairs, student: 'teacher', arm: 'teacher', rate, seeds } as const;
    this.#teachers.set(pairs, found);
    return found;
  }

  async results(arm: Arm, student: ClaimStudent, pairs: number): Promise<Results> {
    const key = keyOf(arm, student.name, pairs);
    const known = this.#results.get(key);
    if (known !== undefined) return known;
    const { design } = this.#experiment;
    const rate = await this.#rateOf(arm, student.name, async (cell) => {
      const { seeds, rate: teacherRate } = await this.teachers(cell.pairs);
      return armCell(this.#experiment, arm, student, { cell, teacher: seeds[0]!, teacherRate });
    });
    const { seeds: teachers, rate: teacherRate } = await this.teachers(pairs);
    const seeds: CellResult[] = [];
    for (const [index, seed] of seedsAt(design, pairs).entries()) {
      const given = { cell: { pairs, seed, rate }, teacher: teachers[index]!, teacherRate };
      seeds.push(await armCell(this.#experiment, arm, student, given));
    }
    const found = { pairs, student: student.name, arm, rate, seeds };
    this.#results.set(key, found);
    return found;
  }

  /** The rate of an arm whose tower is best on the development queries, where rates are chosen. */
  async #rateOf(
    arm: Arm | 'teacher',
    student: string,
    run: (cell: { pairs: number; seed: number; rate: number }) => Promise<CellResult>,
  ): Promise<number> {
    const { rates, chooseAt } = this.#experiment.design;
    const key = `${arm} ${student}`;
    const known = this.#rates.get(key);
    if (known !== undefined) return known;
    const [only] = rates[arm];
    if (rates[arm].length === 1) return only!;
    let best = { rate: only!, development: -Infinity };
    for (const rate of rates[arm]) {
      const { development } = await run({ pairs: chooseAt, seed: 1, rate });
      this.#log(`${key}: rate ${rate}, MRR ${development.toFixed(4)} of development queries`);
      if (development > best.development) best = { rate, development };
    }
    this.#rates.set(key, best.rate);
    return best.rate;
  }
}

function keyOf(arm: Arm, student: string, pairs: number): string {
  return `${arm} ${student} ${pairs}`;
}

function describeHeadroom({
  pairs,
  student,
  teacher,
  endToEnd,
  value,
  halfWidth,
  skipped,
}: Headroom): string {
  return (
    `headroom: ${student}, ${pairs} pairs: ${value.toFixed(4)} ± ${halfWidth.toFixed(4)} (teacher ${teacher.toFixed(4)}, end ` +
    `to end ${endToEnd.toFixed(4)})${skipped ? ': below two half-widths, so that the arms with a teacher are skipped' : ''}`
  );
}
