import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { distill } from '../../distill/distill.ts';
import { firstSteps } from '../../first-steps.ts';
import { makeFolder } from '../../run-folder.ts';
import { withTowers } from '../../stage1/held-out.ts';
import { train } from '../../stage1/train.ts';
import {
  armSettings,
  type Experiment,
  studentSettings,
  trainSettings,
  unlabelledQueries,
  writeLabelled,
} from './cells.ts';
import { ARMS, type Arm, type ClaimStudent, type Design, seedsAt, sizesOf, stepsAt } from './recipe.ts';

/** Steps that the schedule of such a run would have: it is broken off long before. */
const NEVER = 1_000;

/** Share of a step's work that is the document tower's, of towers of equal size on both sides. */
const DOCUMENT_SHARE = 0.5;

/** Words and pieces of a vocabulary, which a lookup's teacher reads. Each is a text of three tokens, a quarter of a query. */
const VOCABULARY = 30_522;
const WORD_SHARE = 0.25;

/** Seconds, as the first steps of each arm took them on this machine. */
export const Speeds = z.object({
  /** Cores that this process had meanwhile: fewer than the machine has, where others use it as well. */
  cores: z.number(),
  /** For a text that the base reads. */
  text: z.number(),
  /** For a step of the teacher. */
  teacher: z.number(),
  /** For a step of an arm of a student. */
  arms: z.record(z.string(), z.record(z.string(), z.number())),
});
export type Speeds = z.infer<typeof Speeds>;

/** A line of the plan. */
export interface PlanLine {
  student: string;
  arm: Arm | 'teacher';
  /** Towers that are trained, those that rates are chosen by included. */
  towers: number;
  minutes: number;
}

/** Takes the first steps of each arm and forgets what they made. */
export async function measureSpeeds(experiment: Experiment, folder: string): Promise<Speeds> {
  const { design, signal, base, cacheDir } = experiment;
  const [begun, used] = [performance.now(), process.cpuUsage()];
  const cell = { pairs: design.chooseAt, seed: 1, rate: 1e-5 };
  const pairs = await writeLabelled(experiment, folder, cell);
  const trial = join(folder, 'trial');
  const forget = (): Promise<void> => rm(trial, { recursive: true, force: true });
  const trained = async (changes: Partial<ReturnType<typeof armSettings>>): Promise<number> => {
    await forget();
    const seconds = await firstSteps(signal, (stop, stepped) =>
      train({
        ...trainSettings(experiment, cell),
        ...changes,
        steps: NEVER,
        pairs,
        out: trial,
        signal: stop,
        onProgress: stepped,
      }),
    );
    await forget();
    return seconds;
  };
  // What a plan that was broken off has left would be taken for a run to go on with.
  const teacher = await trained({});
  const { text, distilled } = await withTowers(async (open) => {
    const tower = await open(base, { normalize: false, cacheDir });
    const texts = unlabelledQueries(experiment).slice(0, 2 * design.batch);
    const started = performance.now();
    await tower.encodeAll(await tower.tokenizeAll(texts), { signal });
    const perText = (performance.now() - started) / 1000 / texts.length;
    const found = new Map<string, number>();
    for (const student of design.students) {
      if (student.kind.kind === 'lookup') continue;
      const queries = texts.map((query) => ({ query, document: '' }));
      const seconds = await firstSteps(signal, async (stop, stepped) => {
        await makeFolder(experiment.vectors);
        return distill({
          ...studentSettings(student),
          teacher: tower,
          source: { queries, name: 'trial' },
          out: trial,
          steps: NEVER,
          batch: design.batch,
          threads: experiment.threads,
          cacheDir: experiment.vectors,
          signal: stop,
          onProgress: stepped,
        });
      });
      await forget();
      found.set(student.name, seconds);
    }
    return { text: perText, distilled: found };
  });
  const arms: Speeds['arms'] = {};
  for (const student of design.students) {
    if (student.kind.kind === 'lookup') {
      // Reading its vocabulary would take longer than the plan may: a lookup's own work is a thousandth of a tower's.
      const apart = DOCUMENT_SHARE * teacher;
      arms[student.name] = {
        'end-to-end': apart,
        'no-relative': apart,
        'frozen-documents': 0,
        'two-stage': 0,
        'labelled-queries': 0,
      };
      continue;
    }
    const fit = distilled.get(student.name)!;
    const endToEnd = await trained(armSettings('end-to-end', student, { towers: NOWHERE }));
    const noRelative = await trained(armSettings('no-relative', student, { towers: NOWHERE }));
    arms[student.name] = {
      'end-to-end': endToEnd,
      'no-relative': noRelative,
      'frozen-documents': Math.max(0, endToEnd - DOCUMENT_SHARE * teacher),
      'two-stage': fit,
      'labelled-queries': fit,
    };
  }
  await rm(pairs);
  const { user, system } = process.cpuUsage(used);
  return { cores: (user + system) / 1000 / (performance.now() - begun), text, teacher, arms };
}

const NOWHERE = { document: '', query: '' };

/** What an experiment takes, at these speeds, if no arm is skipped. */
export function planOf(
  design: Design,
  speeds: Speeds,
  sizes: { texts: number; unlabelled: number },
): PlanLine[] {
  const measuring = sizes.texts * speeds.text;
  const line = (
    student: string,
    arm: PlanLine['arm'],
    points: readonly number[],
    secondsAt: (pairs: number) => number,
  ): PlanLine => {
    const cells = points.flatMap((pairs) => seedsAt(design, pairs).map(() => pairs));
    cells.push(...design.rates[arm].slice(1).map(() => design.chooseAt));
    const seconds = cells.reduce((sum, pairs) => sum + secondsAt(pairs) + measuring, 0);
    return { student, arm, towers: cells.length, minutes: seconds / 60 };
  };
  const secondsOf = ({ name, kind }: ClaimStudent, arm: Arm, pairs: number): number => {
    const step = speeds.arms[name]![arm]!;
    const vocabulary = kind.kind === 'lookup' ? VOCABULARY * WORD_SHARE * speeds.text : 0;
    if (arm === 'two-stage') {
      return design.distillSteps * step + sizes.unlabelled * speeds.text + vocabulary;
    }
    if (arm === 'labelled-queries') return design.distillSteps * step + pairs * speeds.text + vocabulary;
    return stepsAt(design, pairs) * step;
  };
  const teacher = line('', 'teacher', sizesOf(design), (pairs) => stepsAt(design, pairs) * speeds.teacher);
  const arms = design.students.flatMap((student) =>
    ARMS.map((arm) => line(student.name, arm, student.pairs, (pairs) => secondsOf(student, arm, pairs))),
  );
  return [teacher, ...arms];
}
