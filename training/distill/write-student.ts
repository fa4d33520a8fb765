import { stat, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { MANIFEST_FILE, writeManifest } from '../../towers/directory.ts';
import { encodeFamiliarity } from '../../towers/familiarity.ts';
import type { Distillation, TowerManifest } from '../../towers/manifest.ts';
import { openTower } from '../../towers/open.ts';
import { REMOTE_POOLING } from '../../towers/space.ts';
import type { Tower } from '../../towers/tower.ts';
import { TrainingError } from '../errors.ts';
import type { Model } from '../onnx/model.ts';
import { copyTokenizer, type FileHashes, towerName, writeWeights } from '../tower-folder.ts';
import { CARD_FILE, studentCard } from './card.ts';
import { countTokens, meanCosine, type TrainingData } from './data.ts';
import { bestOf, type CurvePoint, type FitResult } from './fit.ts';
import {
  type Choices,
  describeLoss,
  nameOf,
  type DistillReport,
  type DistillRequest,
  type FitPlan,
} from './request.ts';
import type { Student } from './student.ts';
import type { StudentTokenizer } from './tokenizer.ts';

/** Files beside the tower's own. */
const CURVE_FILE = 'training.json';
const FP32_FOLDER = 'fp32';

/** A trained student, and how it was trained. */
export interface TrainedStudent {
  request: DistillRequest;
  data: TrainingData;
  student: Student;
  tokenizer: StudentTokenizer;
  plan: FitPlan;
  choices: Choices;
  result: FitResult;
  out: string;
  removed: number;
  started: number;
}

/**
 * Writes the tower in eight bits, the same in single precision below it, and the run's curve.
 *
 * @throws {TrainingError} `CHECKPOINT_FAILED` where it can't be written
 */
export async function writeStudent(trained: TrainedStudent): Promise<DistillReport> {
  try {
    return await write(trained);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && 'syscall' in error)) throw error;
    throw new TrainingError(
      'CHECKPOINT_FAILED',
      `the tower can't be written to ${trained.out} (${error.message}); make room, and run the same command with --resume: ` +
        'it goes on from the last checkpoint, if there is one',
      { cause: error },
    );
  }
}

async function write(trained: TrainedStudent): Promise<DistillReport> {
  const { request, data, student, tokenizer, plan, choices, result, out, removed, started } = trained;
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
    ...(request.sources && { sources: [...request.sources] }),
    ...(removed > 0 && { removed }),
    heldOutCosine: bestOf(result.curve).heldOutCosine,
    familiarity: encodeFamiliarity(countTokens(data)),
  };
  const name = towerName(out);
  const fp32 = join(out, FP32_FOLDER);
  const fp32Files = await writeFiles(fp32, tokenizer, models.fp32);
  const describe = async (
    folder: string,
    model: Model,
    files: FileHashes,
    how: Distillation,
  ): Promise<TowerManifest> => {
    const manifest = {
      ...manifestOf(folder === out ? name : `${name}-fp32`, teacher, files, how),
      ...(student.stages && { lookup: student.stages(model) }),
    };
    await writeManifest(folder, manifest);
    return manifest;
  };
  await describe(fp32, models.fp32, fp32Files, distillation);
  const files = await writeFiles(out, tokenizer, models.int8);
  await describe(out, models.int8, files, distillation);
  // Eight bits cost accuracy: the manifest states the cosine of the tower that was written.
  const heldOutCosine = await measureTower(out, data, request);
  const manifest = await describe(out, models.int8, files, { ...distillation, heldOutCosine });
  await writeFile(join(out, CARD_FILE), studentCard(manifest));
  let bytes = 0;
  for (const file of [...Object.keys(files), MANIFEST_FILE]) bytes += (await stat(join(out, file))).size;
  const curve: { settings: FitPlan; curve: readonly CurvePoint[] } = { settings: plan, curve: result.curve };
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

async function writeFiles(folder: string, { tower }: StudentTokenizer, model: Model): Promise<FileHashes> {
  return { ...(await writeWeights(folder, model)), ...(await copyTokenizer(tower, folder)) };
}

/** A student's manifest, without what only some kinds have. */
function manifestOf(
  name: string,
  { manifest }: Tower,
  files: FileHashes,
  distillation: Distillation,
): TowerManifest {
  return {
    name,
    role: 'query',
    space: manifest.space,
    dimensions: manifest.dimensions,
    // The graph of a student pools by itself. A server's way to pool is not known, and nobody needs it here.
    pooling: manifest.pooling === REMOTE_POOLING ? 'mean' : manifest.pooling,
    normalize: manifest.space.normalize,
    prompt: '',
    maxTokens: manifest.maxTokens,
    files,
    license: manifest.license,
    source: `scalingnote distill --teacher ${manifest.name} --student ${distillation.student}`,
    distillation,
  };
}

async function measureTower(out: string, data: TrainingData, request: DistillRequest): Promise<number> {
  const tower = await openTower(out, { normalize: true, cacheDir: request.cacheDir });
  try {
    const found = await tower.encodeAll(
      data.heldOut.map((row) => ({ ids: data.ids[row]!, truncated: false })),
    );
    return meanCosine(found, data.vectors.read(data.heldOut), data.vectors.dimensions);
  } finally {
    await tower.close();
  }
}
