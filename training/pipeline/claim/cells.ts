import { existsSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { distill } from '../../distill/distill.ts';
import { mean } from '../../evaluation/metrics.ts';
import { seededRandom, shuffle } from '../../random.ts';
import { hasCheckpoint, makeFolder } from '../../run-folder.ts';
import { distillationFlops } from '../../stage1/compute.ts';
import { withTowers } from '../../stage1/held-out.ts';
import { HELD_OUT, type Pair } from '../../stage1/pairs.ts';
import type { TrainRequest } from '../../stage1/request.ts';
import type { TrainProgress } from '../../stage1/run-steps.ts';
import { train } from '../../stage1/train.ts';
import type { CachedSteps } from '../cached-steps.ts';
import { type ClaimTask, measure, Measured } from './measure.ts';
import { type Arm, type Cell, type ClaimStudent, type Design, stepsAt } from './recipe.ts';

/** Files of a cell; but for a teacher's towers they are gone once it is measured. */
const PAIRS = 'pairs.jsonl';
const TOWERS = 'towers';
const STUDENT = 'student';

/** What a folder is called while it is removed. */
const GONE = 'gone';

/** Development pairs that `train` holds out by itself: it wants some, and everything is measured here. */
const TRAIN_HELD_OUT = 8;

/** A tower that was trained, and what was measured with it. */
export const CellResult = z.object({
  /** Mean reciprocal rank of the development queries, which rates are chosen by. */
  development: z.number(),
  steps: z.number(),
  /** Of all that it took, its teacher included. */
  operations: z.number(),
  /** Of each held-out query. */
  heldOut: Measured,
});
export type CellResult = z.infer<typeof CellResult>;

/** A teacher, with the folders of its towers. */
export interface Teacher extends CellResult {
  towers: { document: string; query: string };
}

/** What all cells of an experiment share. */
export interface Experiment {
  design: Design;
  /** Reference of the tower that all are cut from, and its fingerprint. */
  base: string;
  fingerprint: string;
  /** sha256 of the file of pairs. */
  sha256: string;
  /** Pairs that may be trained on. */
  pool: readonly Pair[];
  /** Development pairs, and held-out pairs after them. */
  task: ClaimTask;
  steps: CachedSteps;
  /** Where teachers' vectors of queries are kept. */
  vectors: string;
  cacheDir?: string | undefined;
  threads?: number | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((name: string, progress: TrainProgress) => void) | undefined;
}

/** Labelled pairs of a seed: those of fewer pairs are among those of more. */
export function labelledPairs({ pool }: Pick<Experiment, 'pool'>, pairs: number, seed: number): Pair[] {
  return shuffle([...pool], seededRandom(seed)).slice(0, pairs);
}

/** Writes the labelled pairs of a cell. @returns the file */
export async function writeLabelled(
  { design, pool, task }: Experiment,
  folder: string,
  { pairs, seed }: Pick<Cell, 'pairs' | 'seed'>,
): Promise<string> {
  const file = join(folder, PAIRS);
  const lines = [
    ...task.pairs
      .slice(0, Math.min(TRAIN_HELD_OUT, design.development))
      .map(({ query, document }) => ({ query, document, split: HELD_OUT })),
    ...labelledPairs({ pool }, pairs, seed).map(({ query, document }) => ({ query, document })),
  ];
  await writeFile(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return file;
}

/** Queries of stage 2. */
export function unlabelledQueries({ design, pool }: Pick<Experiment, 'design' | 'pool'>): string[] {
  const { unlabelled } = design;
  const chosen = unlabelled === 'all' ? pool : labelledPairs({ pool }, unlabelled, 0);
  return [...new Set(chosen.map(({ query }) => query))];
}

/** Settings of every run on labelled pairs. */
export function trainSettings({ design, base, threads, cacheDir }: Experiment, cell: Cell) {
  const { batch, maxTokens } = design;
  const { seed, rate, pairs } = cell;
  const steps = stepsAt(design, pairs);
  return { base, batch, maxTokens, seed, rate, steps, threads, cacheDir, heldOutDocuments: 1 };
}

/** How the towers of an arm that learns from labelled pairs differ from the teacher's. */
export function armSettings(
  arm: 'end-to-end' | 'frozen-documents' | 'no-relative',
  { kind }: ClaimStudent,
  teacher: Pick<Teacher, 'towers'>,
): Pick<TrainRequest, 'queryStudent' | 'queryStart' | 'frozenDocuments'> & { base?: string } {
  if (arm === 'end-to-end') return { queryStudent: kind };
  if (arm === 'no-relative') return { queryStudent: kind, queryStart: 'random' };
  return { queryStudent: kind, frozenDocuments: true, base: teacher.towers.document };
}

/** Trains and measures the teacher of a cell, the same weights on both sides. */
export async function teacherCell(experiment: Experiment, cell: Cell): Promise<Teacher> {
  const step = await experiment.steps.run(
    'teacher',
    inputsOf(experiment, cell, {}),
    CellResult,
    async (folder) => {
      const found = await trainCell(experiment, folder, { name: `teacher, ${describe(cell)}`, cell });
      return { ...(await measured(experiment, found.towers)), ...found.counted };
    },
  );
  const towers = towersIn(step.folder);
  return { ...step.result, towers };
}

/** Trains and measures a student of an arm. */
export async function armCell(
  experiment: Experiment,
  arm: Arm,
  student: ClaimStudent,
  given: { cell: Cell; teacher: Teacher; teacherRate: number },
): Promise<CellResult> {
  const { cell, teacher, teacherRate } = given;
  const { design } = experiment;
  const name = `${arm}, ${student.name}, ${describe(cell)}`;
  // Of those that have no teacher, nothing of the teacher's is an input.
  const hasTeacher = arm !== 'end-to-end' && arm !== 'no-relative';
  const { unlabelled, distillSteps } = design;
  const inputs = inputsOf(experiment, cell, {
    student: student.name,
    ...(hasTeacher && { teacherRate }),
    ...((arm === 'two-stage' || arm === 'labelled-queries') && { distillSteps }),
    ...(arm === 'two-stage' && { unlabelled }),
  });
  const step = await experiment.steps.run(arm, inputs, CellResult, async (folder) => {
    const run = { name, cell, student, teacher };
    const found =
      arm === 'two-stage' || arm === 'labelled-queries'
        ? await distillCell(experiment, folder, { ...run, arm })
        : await trainCell(experiment, folder, { ...run, changes: armSettings(arm, student, teacher) });
    const result = await measured(experiment, {
      document: hasTeacher ? teacher.towers.document : found.towers.document,
      query: found.towers.query,
    });
    for (const made of [TOWERS, STUDENT]) await forget(folder, made);
    const operations = found.counted.operations + (hasTeacher ? teacher.operations : 0);
    return { ...result, ...found.counted, operations };
  });
  return step.result;
}

/** Removes a folder whole or not at all: a run that was killed meanwhile does not take half of a tower for one. */
async function forget(folder: string, name: string): Promise<void> {
  const gone = join(folder, GONE);
  await rm(gone, { recursive: true, force: true });
  if (!existsSync(join(folder, name))) return;
  await rename(join(folder, name), gone);
  await rm(gone, { recursive: true });
}

interface Found {
  towers: { document: string; query: string };
  counted: Pick<CellResult, 'steps' | 'operations'>;
}

async function trainCell(
  experiment: Experiment,
  folder: string,
  run: { name: string; cell: Cell; changes?: ReturnType<typeof armSettings> },
): Promise<Found> {
  const out = join(folder, TOWERS);
  const pairs = await writeLabelled(experiment, folder, run.cell);
  const report = await train({
    ...trainSettings(experiment, run.cell),
    ...run.changes,
    pairs,
    out,
    signal: experiment.signal,
    resume: await hasCheckpoint(out),
    onProgress: (progress) => experiment.onProgress?.(run.name, progress),
  });
  await rm(pairs);
  return { towers: towersIn(folder), counted: { steps: report.steps, operations: report.flops } };
}

async function distillCell(
  experiment: Experiment,
  folder: string,
  run: { name: string; arm: Arm; cell: Cell; student: ClaimStudent; teacher: Teacher },
): Promise<Found> {
  const { design, signal, threads, vectors, onProgress } = experiment;
  const { cell, student, teacher } = run;
  const out = join(folder, STUDENT);
  await makeFolder(vectors);
  const queries =
    run.arm === 'two-stage'
      ? unlabelledQueries(experiment)
      : labelledPairs(experiment, cell.pairs, cell.seed).map(({ query }) => query);
  return withTowers(async (open) => {
    const tower = await open(teacher.towers.query, { normalize: false });
    const { batch } = design;
    const report = await distill({
      ...studentSettings(student),
      teacher: tower,
      source: { queries: queries.map((query) => ({ query, document: '' })), name: PAIRS },
      out,
      seed: cell.seed,
      steps: design.distillSteps,
      batch,
      rate: cell.rate,
      threads,
      signal,
      cacheDir: vectors,
      resume: await hasCheckpoint(out),
      onTeacher: (done, total) => onProgress?.(`${run.name}, teacher`, { phase: 'reading', done, total }),
      onProgress: ({ step: done, steps: total, loss }) =>
        onProgress?.(run.name, { phase: 'training', done, total, loss }),
    });
    if (report.interrupted) throw signal?.reason;
    const { steps } = report;
    const operations = await distillationFlops(tower, student.kind, { queries, documents: [], steps, batch });
    // In single precision, as its rivals are.
    const towers = { document: teacher.towers.document, query: join(out, 'fp32') };
    return { towers, counted: { steps, operations } };
  });
}

/** A student that is distilled has the same numbers as one that is trained by pairs, and the same of them learn. */
export function studentSettings({ kind }: ClaimStudent) {
  return kind.kind === 'lookup'
    ? ({ student: kind, pairs: 0 } as const)
    : ({ student: kind, trainTables: false } as const);
}

async function measured(
  { design, task, signal, cacheDir }: Experiment,
  towers: { document: string; query: string },
): Promise<Pick<CellResult, 'development' | 'heldOut'>> {
  const { reciprocalRanks, entropies } = await measure(towers, task, { signal, cacheDir });
  return {
    development: mean(reciprocalRanks.slice(0, design.development)),
    heldOut: {
      reciprocalRanks: reciprocalRanks.slice(design.development),
      entropies: entropies.slice(design.development),
    },
  };
}

/** All that a cell's result depends on. */
function inputsOf(experiment: Experiment, cell: Cell, more: Readonly<Record<string, unknown>>) {
  const { fingerprint, sha256, design } = experiment;
  const { heldOut, development, batch, maxTokens } = design;
  const shared = { base: fingerprint, pairs: sha256, heldOut, development, batch, maxTokens };
  const { pairs: labelled, seed, rate } = cell;
  return { ...shared, steps: stepsAt(design, labelled), labelled, seed, rate, ...more };
}

function towersIn(folder: string): { document: string; query: string } {
  return { document: join(folder, TOWERS, 'document'), query: join(folder, TOWERS, 'query') };
}

function describe({ pairs, seed, rate }: Cell): string {
  return `${pairs} pairs, seed ${seed}, rate ${rate}`;
}
