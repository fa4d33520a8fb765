import { writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { encodeFamiliarity } from '../../towers/familiarity.ts';
import type { Distillation } from '../../towers/manifest.ts';
import { openTower } from '../../towers/open.ts';
import { TrainingError } from '../errors.ts';
import type { CurvePoint } from './checkpoint.ts';
import { countTokens, meanCosine, type TrainingData } from './data.ts';
import { writeStudentTower } from './export.ts';
import {
  type Choices,
  describeLoss,
  nameOf,
  type DistillReport,
  type DistillRequest,
  type Plan,
} from './request.ts';
import { bestOf, type RunResult } from './run.ts';
import type { Student } from './student.ts';

/** Files beside the tower's own. */
const CURVE_FILE = 'training.json';
const FP32_FOLDER = 'fp32';

/** A student that has been trained, and how. */
export interface Made {
  request: DistillRequest;
  data: TrainingData;
  student: Student;
  plan: Plan;
  choices: Choices;
  result: RunResult;
  out: string;
  removed: number;
  started: number;
}

/**
 * Writes the tower in eight bits, the same in single precision below it, and the run's curve.
 *
 * @throws {TrainingError} `CHECKPOINT_FAILED` where it can't be written
 */
export async function writeTower(made: Made): Promise<DistillReport> {
  try {
    return await write(made);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && 'syscall' in error)) throw error;
    throw new TrainingError(
      'CHECKPOINT_FAILED',
      `the tower can't be written to ${made.out} (${error.message}); mend that, and the same command with --resume goes ` +
        'on from the last checkpoint, where there is one',
      { cause: error },
    );
  }
}

async function write(made: Made): Promise<DistillReport> {
  const { request, data, student, plan, choices, result, out, removed, started } = made;
  const { teacher, seed = 1, source } = request;
  const kind = nameOf(request.student);
  const models = student.models(result.best);
  const distillation: Distillation = {
    teacher: teacher.manifest.name,
    student: kind,
    loss: describeLoss(plan.loss),
    texts: data.fitted.length,
    steps: result.steps,
    parameters: student.parameters,
    batch: plan.batch,
    rate: plan.rate,
    ...choices,
    seed,
    corpus:
      'name' in source ? source.name : basename(resolve('corpus' in source ? source.corpus : source.texts)),
    heldOutCosine: bestOf(result.curve).heldOutCosine,
    familiarity: encodeFamiliarity(countTokens(data)),
  };
  const name = basename(out).replaceAll(/[^\w.-]/g, '-');
  const fp32 = { name: `${name}-fp32`, teacher, model: models.fp32, distillation };
  await writeStudentTower(join(out, FP32_FOLDER), fp32);
  const tower = { name, teacher, model: models.int8, distillation };
  await writeStudentTower(out, tower);
  // Eight bits cost something: what is said of a tower is measured on the tower as it is.
  const heldOutCosine = await measureTower(out, data, request);
  const bytes = await writeStudentTower(out, { ...tower, distillation: { ...distillation, heldOutCosine } });
  const curve: { settings: Plan; curve: readonly CurvePoint[] } = { settings: plan, curve: result.curve };
  await writeFile(join(out, CURVE_FILE), `${JSON.stringify(curve, undefined, 2)}\n`);
  return {
    out,
    student: kind,
    texts: data.fitted.length,
    removed,
    steps: result.steps,
    seconds: (performance.now() - started) / 1000,
    heldOutCosine,
    parameters: student.parameters,
    bytes,
    interrupted: result.end === 'interrupted',
  };
}

async function measureTower(out: string, data: TrainingData, request: DistillRequest): Promise<number> {
  const tower = await openTower(out, {
    normalize: true,
    ...(request.cacheDir !== undefined && { cacheDir: request.cacheDir }),
  });
  try {
    const found = await tower.encodeAll(
      data.heldOut.map((row) => ({ ids: data.ids[row]!, truncated: false })),
    );
    return meanCosine(found, data.vectors.read(data.heldOut), data.vectors.dimensions);
  } finally {
    await tower.close();
  }
}
