import { mkdir, rm, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { basename, join, resolve } from 'node:path';
import { encodeFamiliarity } from '../../towers/familiarity.ts';
import type { Distillation } from '../../towers/manifest.ts';
import { openTower } from '../../towers/open.ts';
import type { Tower } from '../../towers/tower.ts';
import { TrainingError } from '../errors.ts';
import type { LossWeights } from '../gradient/losses.ts';
import type { Tensor } from '../onnx/tensor.ts';
import {
  readCorpus,
  readQueries,
  readTexts,
  textsFromDocuments,
  type CorpusDocument,
  type TextSet,
} from '../texts.ts';
import { readCheckpoint, type CurvePoint } from './checkpoint.ts';
import { withDocuments } from './documents.ts';
import { countTokens, meanCosine, prepareData, type TrainingData } from './data.ts';
import { writeStudentTower } from './export.ts';
import { openLookup } from './lookup.ts';
import { runTraining, type RunProgress, type RunResult } from './run.ts';
import type { Student } from './student.ts';
import { openTransformer } from './transformer.ts';

/** What kind of query tower: a vector for each token, or some of the teacher's own layers. */
export type StudentKind =
  | { kind: 'lookup' }
  | {
      kind: 'transformer';
      layers: number | readonly number[];
      /** Components of its tokens' vectors, fewer than the teacher's. @default as many */
      width?: number | undefined;
    };

/** Where texts come from, one of them. */
export type TextSource =
  /** Folder in BEIR layout or file of documents, from which queries are made. */
  | { corpus: string }
  /** File of query texts, one a line. */
  | { texts: string }
  /** Documents from elsewhere; they are gone through once, with a contrastive term twice. */
  | { documents: () => AsyncIterable<CorpusDocument>; name: string };

/** What to make. */
export interface DistillRequest {
  /**
   * Its query vectors are imitated; for a symmetric model, the document tower. Opened with `normalize: false`, so that the
   * MSE sees lengths.
   */
  teacher: Tower;
  student: StudentKind;
  source: TextSource;
  /** Folder of the new tower. */
  out: string;
  /** Folders in BEIR layout whose queries must not be trained on; that of the corpus is always one. @default none */
  exclude?: readonly string[];
  /** For choosing texts, for what is held out, and for the order of batches. @default 1 */
  seed?: number;
  /** @default by student, {@link DEFAULTS} */
  steps?: number;
  /** Texts of a step. @default by student */
  batch?: number;
  /** Largest learning rate. @default by student */
  rate?: number;
  /** @default by student */
  loss?: LossWeights;
  /** How many pairs of neighbouring tokens get a vector of their own in a lookup student. @default {@link DEFAULT_PAIRS} */
  pairs?: number;
  /** How many positions in a text have a weight of their own in a lookup student. @default none */
  positions?: number;
  /** Whether a transformer's embedding tables are trained as well. @default false */
  trainTables?: boolean;
  /** Goes on from the checkpoint in `out`. @default false */
  resume?: boolean;
  /** Of ONNX Runtime: with another number the weights differ in their last digits. @default one for each core */
  threads?: number;
  /** Ends the run early; what there is then is saved. */
  signal?: AbortSignal;
  /** Where the teacher's vectors are kept between runs. @default where towers are kept */
  cacheDir?: string;
  log?: (message: string) => void;
  /** How many texts the teacher has read. */
  onTeacher?: (done: number, total: number) => void;
  onProgress?: (progress: RunProgress) => void;
}

/** What was made. */
export interface DistillReport {
  out: string;
  /** `lookup`, `transformer:2`, ... */
  student: string;
  /** How many texts it was fitted to. */
  texts: number;
  /** How many texts were left out because an evaluation asks them. */
  removed: number;
  steps: number;
  seconds: number;
  /** Mean cosine to the teacher, of the tower as it was written, on texts of documents that the fit did not see. */
  heldOutCosine: number;
  parameters: number;
  bytes: number;
  /** Whether it was ended early by the signal: then `resume` goes on. */
  interrupted: boolean;
}

/** What serves each kind of student when nobody says otherwise. */
export const DEFAULTS = {
  lookup: { steps: 1_000, batch: 256, rate: 2e-3, loss: { mse: 1, cosine: 1 } },
  transformer: { steps: 1_000, batch: 128, rate: 4e-4, loss: { mse: 1, cosine: 1 } },
} as const;

/** Pairs of neighbouring tokens that have a vector of their own: in eight bits they take as much again as the tokens. */
export const DEFAULT_PAIRS = 40_000;

/** Share of the steps in which the learning rate rises. */
const WARMUP = 0.05;

/** How often held-out texts are looked at in a run, and how many looks without a gain end it. */
const LOOKS = 20;
const PATIENCE = 4;

/** Files beside the tower's own. */
const CHECKPOINT_FILE = 'checkpoint.bin';
const CURVE_FILE = 'training.json';
const FP32_FOLDER = 'fp32';

/**
 * Distils a query tower from texts without labels: the student's vectors are brought near to the teacher's. Writes a tower
 * in eight bits to `out`, and the same in single precision to `fp32` below it.
 *
 * @throws {TrainingError} `TEXTS_INVALID`, `REQUEST_INVALID`, `CHECKPOINT_INVALID`, `CHECKPOINT_FAILED`, `DIVERGED`
 * @throws {OnnxError} `GRADIENT_MISSING`, `OPERATOR_UNSUPPORTED`, ... for a teacher whose graph can't be trained
 */
export async function distill(request: DistillRequest): Promise<DistillReport> {
  const started = performance.now();
  const { teacher, seed = 1, log = () => {}, signal, cacheDir } = request;
  const out = resolve(request.out);
  const { removed, texts } = await collectTexts(request, seed);
  if (removed > 0) log(`${removed} texts are queries of an evaluation and were left out`);
  log(`the teacher reads ${texts.length} texts`);
  const cache = { cacheDir, signal, onProgress: request.onTeacher };
  let data = await prepareData(teacher, texts, { ...cache, seed });
  try {
    const plan = planOf(request, data);
    if ((plan.loss.contrastive ?? 0) > 0)
      data = await withDocuments(data, teacher, readDocuments(request), cache);
    const checkpoint = join(out, CHECKPOINT_FILE);
    const settings = settingsOf(request, plan, data);
    const resumed = request.resume === true ? await readCheckpoint(checkpoint, settings) : undefined;
    const student = await openStudent(request, plan, data, resumed?.state);
    try {
      await mkdir(out, { recursive: true });
      log(`fitting ${data.fitted.length} texts`);
      const result = await runTraining(student, data, {
        ...plan,
        seed,
        lookEvery: Math.max(1, Math.round(plan.steps / LOOKS)),
        patience: PATIENCE,
        settings,
        checkpoint,
        resumed,
        signal,
        log,
        onProgress: request.onProgress,
      });
      const report = await writeTower({ request, data, student, plan, result, out, removed, started });
      if (result.end === 'diverged') {
        throw new TrainingError(
          'DIVERGED',
          `the loss is no number after step ${result.steps}: ${out} holds the best student until then, and a checkpoint ` +
            `of the last good step; train again with a smaller --rate than ${plan.rate}`,
        );
      }
      if (result.end !== 'interrupted') await rm(checkpoint, { force: true });
      return report;
    } finally {
      await student.close();
    }
  } finally {
    data.vectors.close();
    data.documents?.close();
  }
}

interface Plan {
  steps: number;
  batch: number;
  rate: number;
  loss: LossWeights;
}

function planOf({ student, steps, batch, rate, loss }: DistillRequest, data: TrainingData): Plan {
  const defaults = DEFAULTS[student.kind];
  return {
    steps: steps ?? defaults.steps,
    batch: Math.min(batch ?? defaults.batch, data.fitted.length),
    rate: rate ?? defaults.rate,
    loss: loss ?? defaults.loss,
  };
}

async function collectTexts({ source, exclude = [] }: DistillRequest, seed: number): Promise<TextSet> {
  const folders = 'corpus' in source ? [source.corpus, ...exclude] : exclude;
  const excluded = (await Promise.all(folders.map(readQueries))).flat();
  if ('texts' in source) return readTexts(source.texts, seed, excluded);
  if ('corpus' in source) return textsFromDocuments(readCorpus(source.corpus), source.corpus, seed, excluded);
  return textsFromDocuments(source.documents(), source.name, seed, excluded);
}

function readDocuments({ source }: DistillRequest): AsyncIterable<CorpusDocument> {
  if ('corpus' in source) return readCorpus(source.corpus);
  if ('documents' in source) return source.documents();
  throw new TrainingError(
    'REQUEST_INVALID',
    'a contrastive loss needs the documents that texts are from: give a corpus, not a file of texts',
  );
}

function openStudent(
  request: DistillRequest,
  { steps, rate, loss }: Plan,
  data: TrainingData,
  state: ReadonlyMap<string, Tensor> | undefined,
): Promise<Student> {
  const {
    teacher,
    student,
    trainTables = false,
    pairs = DEFAULT_PAIRS,
    positions = 0,
    seed = 1,
    threads,
  } = request;
  const warmup = Math.min(steps, Math.ceil(steps * WARMUP));
  const common = { teacher, loss, threads, state };
  const cache = { cacheDir: request.cacheDir, signal: request.signal, onProgress: request.onTeacher };
  return student.kind === 'lookup'
    ? openLookup({
        ...common,
        optimizer: { rate, steps, warmup, weightDecay: 0 },
        data,
        pairs,
        positions,
        seed,
        cache,
      })
    : openTransformer({
        ...common,
        optimizer: { rate, steps, warmup },
        layers: student.layers,
        width: student.width,
        trainTables,
      });
}

/** How a student is called on the command line and in its manifest. */
export function nameOf(student: StudentKind): string {
  if (student.kind === 'lookup') return 'lookup';
  const { layers, width } = student;
  const kept = typeof layers === 'number' ? layers : layers.join(',');
  return `transformer:${kept}${width === undefined ? '' : `x${width}`}`;
}

/** What two runs must agree in for one to go on where the other was. */
function settingsOf(
  { teacher, student, seed = 1, trainTables = false, pairs = DEFAULT_PAIRS, positions = 0 }: DistillRequest,
  plan: Plan,
  data: TrainingData,
): Record<string, string | number | boolean> {
  const hash = createHash('sha256');
  for (const ids of data.ids) hash.update(Uint32Array.from([ids.length, ...ids]));
  return {
    teacher: teacher.manifest.space.fingerprint,
    student: nameOf(student),
    texts: hash.digest('hex').slice(0, 16),
    seed,
    steps: plan.steps,
    batch: plan.batch,
    rate: plan.rate,
    loss: describeLoss(plan.loss),
    ...(student.kind === 'lookup' ? { pairs, positions } : { trainTables }),
  };
}

function describeLoss(weights: LossWeights): string {
  const { mse = 1, cosine = 1, contrastive = 0 } = weights;
  const terms = [
    [mse, 'mse'],
    [cosine, '(1 - cosine)'],
    [contrastive, 'contrastive'],
  ] as const;
  return terms
    .filter(([weight]) => weight > 0)
    .map(([weight, term]) => (weight === 1 ? term : `${weight} * ${term}`))
    .join(' + ');
}

interface Made {
  request: DistillRequest;
  data: TrainingData;
  student: Student;
  plan: Plan;
  result: RunResult;
  out: string;
  removed: number;
  started: number;
}

async function writeTower(made: Made): Promise<DistillReport> {
  const { request, data, student, plan, result, out, removed, started } = made;
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
    seed,
    corpus:
      'documents' in source
        ? source.name
        : basename(resolve('corpus' in source ? source.corpus : source.texts)),
    heldOutCosine: Math.max(...result.curve.map((point) => point.heldOutCosine)),
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
