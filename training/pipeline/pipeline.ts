import { existsSync } from 'node:fs';
import { basename, join, relative, resolve } from 'node:path';
import * as z from 'zod';
import { hashFile } from '../../towers/hash.ts';
import { pullTower } from '../../towers/pull.ts';
import { distill } from '../distill/distill.ts';
import { nameOf } from '../distill/request.ts';
import { TrainingError } from '../errors.ts';
import { differenceInterval, ratioInterval } from '../evaluation/bootstrap.ts';
import { mean } from '../evaluation/metrics.ts';
import { distillationFlops } from '../stage1/compute.ts';
import { heldOutTask, recallOf, withTowers } from '../stage1/held-out.ts';
import { readPairs } from '../stage1/pairs.ts';
import type { TrainProgress } from '../stage1/run-steps.ts';
import { hasCheckpoint } from '../run-folder.ts';
import { TRAIN_DEFAULTS, estimateFlops, type TrainRequest } from '../stage1/request.ts';
import { train, TrainReport } from '../stage1/train.ts';
import type { Recipe } from './recipe.ts';
import { CachedSteps } from './cached-steps.ts';

const PAIRS_FILE = 'pairs.jsonl';
/** Towers that are trained end to end: with as many operations as both stages take, or as many steps as the teacher takes. */
type RivalName = 'end-to-end' | 'same-steps';

const STUDENT_FOLDER = 'student';

const Interval = z.tuple([z.number(), z.number()]);

const Distilled = z.object({
  steps: z.number(),
  seconds: z.number(),
  heldOutCosine: z.number(),
  flops: z.number(),
});

const Difference = z.object({ recall10: z.number(), interval: Interval });

/** A rival that was trained end to end; the difference is two-stage minus it, 95 % by paired bootstrap over queries. */
const Rival = z.object({ recall10: z.number(), difference: Difference });

const Comparison = z.object({
  twoStage: z.object({
    recall10: z.number(),
    /** Of the full teacher's Recall@10, and its 95 % interval. */
    kept: z.object({ recall10: z.number(), interval: Interval }),
  }),
  endToEnd: Rival.optional(),
  sameSteps: Rival.optional(),
});

/** What a pipeline has found. Everything in it is on disk, so that a second run reports the same. */
export interface PipelineReport {
  out: string;
  /** The full, symmetric teacher: the ceiling. */
  stage1: TrainReport & { recall10: number };
  /** The small query tower, distilled from the teacher. `flops` are those of both stages. */
  twoStage: z.infer<typeof Comparison>['twoStage'] &
    z.infer<typeof Distilled> & { student: string; tower: string };
  /** The same small query tower trained with its document tower from the start, at as many operations. */
  endToEnd: (TrainReport & { recall10: number }) | undefined;
  /** Two-stage minus end-to-end, 95 % by paired bootstrap over held-out queries. */
  difference: z.infer<typeof Difference> | undefined;
  /** The same, trained end to end in as many steps as the teacher: the same pairs, as often. */
  sameSteps: (TrainReport & z.infer<typeof Rival>) | undefined;
  /** Path in `out` → sha256, of all that was made. */
  artefacts: Record<string, string>;
}

/** What a pipeline needs besides its recipe. */
export interface PipelineOptions {
  /** Pairs that can be made, by name. */
  makePairs: Readonly<Record<string, (file: string) => Promise<void>>>;
  cacheDir?: string | undefined;
  /** Of ONNX Runtime. @default one for each core */
  threads?: number | undefined;
  /** Interrupts the pipeline; the next run resumes there. */
  signal?: AbortSignal | undefined;
  log?: ((message: string) => void) | undefined;
  onProgress?: (step: 'stage1' | 'stage2' | RivalName, progress: TrainProgress) => void;
}

/**
 * Both stages from one recipe: trains a teacher on pairs, distils the small query tower from it, trains the same query
 * tower end to end at equal compute, and compares. Finished steps are skipped, and an interrupted one resumes.
 *
 * @throws what `train` and `distill` throw; what the signal says
 */
export async function runPipeline(recipe: Recipe, options: PipelineOptions): Promise<PipelineReport> {
  const { log = () => {}, signal, threads, cacheDir } = options;
  const out = resolve(recipe.out);
  const steps = new CachedSteps(out, log);
  const artefacts: Record<string, string> = {};
  const keep = (step: { folder: string; artefacts: Readonly<Record<string, string>> }): void => {
    for (const [path, sha256] of Object.entries(step.artefacts)) {
      artefacts[`${step.folder.slice(out.length + 1)}/${path}`] = sha256;
    }
  };
  const base = (await pullTower(recipe.base, { cacheDir, log })).manifest.space.fingerprint;

  const maker = options.makePairs[recipe.pairs];
  let pairs = recipe.pairs;
  if (maker !== undefined) {
    const made = await steps.run('pairs', { from: recipe.pairs }, z.null(), async (folder) => {
      await maker(join(folder, PAIRS_FILE));
      return null;
    });
    keep(made);
    pairs = join(made.folder, PAIRS_FILE);
  } else if (!existsSync(pairs)) {
    const names = Object.keys(options.makePairs).join(', ');
    throw new TrainingError(
      'PAIRS_INVALID',
      `there is no file ${pairs}; pairs that can be made are: ${names}`,
    );
  }
  const inputs = { base, pairs: await hashFile(pairs), seed: recipe.seed };
  const { seed } = recipe;
  const environment = { base: recipe.base, pairs, threads, signal, log, cacheDir };
  const student = { kind: 'transformer', layers: recipe.stage2.layers } as const;
  const small = { queryStudent: student, separate: true, epochs: undefined };
  const smallStepFlops = (): Promise<number> =>
    estimateFlops({ ...recipe.stage1, seed, ...environment, ...small, steps: 1, out });
  const trainIn = async (name: 'stage1' | RivalName, changes: Partial<TrainRequest>) => {
    const settings = { ...recipe.stage1, seed, ...changes };
    const trained = await steps.run(name, { ...inputs, ...settings }, TrainReport, async (folder) => {
      // A student that can't be cut from the base is rejected before its teacher is trained.
      if (name === 'stage1') await smallStepFlops();
      return train({
        ...settings,
        ...environment,
        out: folder,
        resume: await hasCheckpoint(folder),
        onProgress: (progress) => options.onProgress?.(name, progress),
      });
    });
    return { ...trained, result: inFolder(trained.folder, trained.result) };
  };

  const teacher = await trainIn('stage1', {});
  keep(teacher);
  const distilled = await distillIn(steps, recipe, { ...options, pairs, teacher: teacher.result });
  keep(distilled);
  const flops = teacher.result.flops + distilled.result.flops;
  const studentFolder = join(distilled.folder, STUDENT_FOLDER);

  const rival = async (name: RivalName, count: number): Promise<TrainReport> => {
    const trained = await trainIn(name, { ...small, steps: Math.max(1, Math.round(count)) });
    keep(trained);
    return trained.result;
  };
  const endToEnd = recipe.endToEnd ? await rival('end-to-end', flops / (await smallStepFlops())) : undefined;
  const sameSteps = recipe.sameSteps ? await rival('same-steps', teacher.result.steps) : undefined;
  const rivals = { endToEnd, sameSteps };
  const spaces = Object.values(rivals).map((rival) => rival?.towers.space);
  const towers = [teacher.result.towers.space, distilled.artefacts, ...spaces];
  const compared = await steps.run('comparison', { ...inputs, towers }, Comparison, () =>
    compare(recipe, { pairs, teacher: teacher.result, student: studentFolder, rivals, cacheDir, signal }),
  );
  keep(compared);
  const { twoStage } = compared.result;
  return {
    out,
    stage1: { ...teacher.result, recall10: teacher.result.heldOut.recall10.trained },
    twoStage: {
      student: nameOf(student),
      tower: studentFolder,
      ...distilled.result,
      ...twoStage,
      flops,
    },
    endToEnd: endToEnd && { ...endToEnd, recall10: endToEnd.heldOut.recall10.trained },
    difference: compared.result.endToEnd?.difference,
    sameSteps: sameSteps && { ...sameSteps, ...compared.result.sameSteps! },
    artefacts,
  };
}

/** The report with paths in this folder: the artefacts may have been moved since they were made. */
function inFolder(folder: string, report: TrainReport): TrainReport {
  const moved = (path: string): string => join(folder, relative(report.out, path));
  const { document, query, space } = report.towers;
  return { ...report, out: folder, towers: { document: moved(document), query: moved(query), space } };
}

/** Stage 2: the student imitates the teacher's query tower, on the queries that the teacher was trained on. */
async function distillIn(
  steps: CachedSteps,
  recipe: Recipe,
  given: PipelineOptions & { pairs: string; teacher: TrainReport },
) {
  const { pairs, teacher, cacheDir, threads, signal, log, onProgress } = given;
  const { seed, stage1 } = recipe;
  const { layers, ...settings } = recipe.stage2;
  const inputs = { teacher: teacher.towers.space, layers, settings, seed, limit: stage1.limit ?? null };
  return steps.run('stage2', inputs, Distilled, async (folder) => {
    const { train: used } = await readPairs(pairs, seed, { train: stage1.limit });
    const { contrastive = 0, ...fitting } = settings;
    return withTowers(async (open) => {
      const tower = await open(teacher.towers.query, { cacheDir, normalize: false });
      const documentTower = contrastive > 0 ? await open(teacher.towers.document, { cacheDir }) : undefined;
      const out = join(folder, STUDENT_FOLDER);
      const report = await distill({
        teacher: tower,
        student: { kind: 'transformer', layers },
        source: { queries: used, name: basename(pairs) },
        documentTower,
        out,
        seed,
        ...fitting,
        loss: contrastive > 0 ? { contrastive } : undefined,
        threads,
        signal,
        log,
        cacheDir,
        resume: await hasCheckpoint(out),
        onProgress: ({ step, steps: total, loss }) =>
          onProgress?.('stage2', { phase: 'training', done: step, total, loss }),
      });
      if (report.interrupted) throw signal?.reason;
      const flops = await distillationFlops(
        tower,
        { kind: 'transformer', layers },
        {
          queries: used.map(({ query }) => query),
          documents: contrastive > 0 ? used.map(({ document }) => document) : [],
          steps: report.steps,
          batch: settings.batch,
        },
      );
      const { steps: taken, seconds, heldOutCosine } = report;
      return { steps: taken, seconds, heldOutCosine, flops };
    });
  });
}

async function compare(
  { seed, stage1 }: Recipe,
  given: {
    pairs: string;
    teacher: TrainReport;
    student: string;
    rivals: { endToEnd: TrainReport | undefined; sameSteps: TrainReport | undefined };
    cacheDir: string | undefined;
    signal: AbortSignal | undefined;
  },
): Promise<z.infer<typeof Comparison>> {
  const { teacher, student, rivals, cacheDir, signal } = given;
  const pairs = await readPairs(given.pairs, seed, { train: stage1.limit });
  const task = heldOutTask(
    pairs.heldOut,
    pairs.train,
    stage1.heldOutDocuments ?? TRAIN_DEFAULTS.heldOutDocuments,
  );
  const measure = (folders: { document: string; query: string }): Promise<number[]> =>
    recallOf(folders, task, { cacheDir, signal });
  const ceiling = await measure(teacher.towers);
  const twoStage = await measure({ document: teacher.towers.document, query: student });
  const against = async (rival: TrainReport | undefined): Promise<z.infer<typeof Rival> | undefined> => {
    if (rival === undefined) return undefined;
    const other = await measure(rival.towers);
    const recall10 = mean(twoStage) - mean(other);
    return { recall10: mean(other), difference: { recall10, interval: differenceInterval(twoStage, other) } };
  };
  return {
    twoStage: {
      recall10: mean(twoStage),
      kept: { recall10: mean(twoStage) / mean(ceiling), interval: ratioInterval(twoStage, ceiling) },
    },
    endToEnd: await against(rivals.endToEnd),
    sameSteps: await against(rivals.sameSteps),
  };
}
