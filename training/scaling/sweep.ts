import { createHash } from 'node:crypto';
import { join, resolve } from 'node:path';
import * as z from 'zod';
import { type LocalTower, pullTower } from '../../towers/pull.ts';
import { Batches } from '../batches.ts';
import { TrainingError } from '../errors.ts';
import { findLayers } from '../gradient/layers.ts';
import { cutTransformer } from '../gradient/transformer.ts';
import type { Model } from '../onnx/model.ts';
import { parameterCount } from '../onnx/parameters.ts';
import { trace } from '../onnx/trace.ts';
import { Contrast, exclusions } from '../stage1/contrast.ts';
import { encoderOf } from '../stage1/encoder.ts';
import { keyOf, type Pair, type PairTokens, readPairs } from '../stage1/pairs.ts';
import { LocalReplica } from '../stage1/replica.ts';
import {
  hasCheckpoint,
  makeFolder,
  readJson,
  removeCheckpoint,
  writeJson,
  type Settings,
} from '../run-folder.ts';
import { tokenize } from '../stage1/request.ts';
import { readRunCheckpoint, runSteps } from '../stage1/run-steps.ts';
import { readTowerGraph } from '../tower-folder.ts';
import { trainablePooling } from '../trainable.ts';
import { fitJoint, fitSize, type Estimate, type Fit } from './law.ts';
import { factorizeProducts } from './low-rank.ts';

/** A model of the sweep, and how much it is trained on. */
export interface SweepPoint {
  /** Layers of the base that it keeps, evenly spaced. */
  layers: number;
  /** Numbers that every product passes through; `full`: the base's own matrices. */
  width: number | 'full';
  pairs: number;
}

/** Settings of all points. */
export interface SweepRequest {
  /** Reference of the tower that the models are cut from. */
  base: string;
  /** JSON Lines of pairs. */
  pairs: string;
  /** Folder of finished points, which are not measured again. */
  out: string;
  points: readonly SweepPoint[];
  /** One of the points, or another: kept from the fit, and predicted. */
  heldOut: SweepPoint;
  /** Pairs of a step. */
  batch: number;
  rate: number;
  seed: number;
  cacheDir?: string | undefined;
  threads?: number | undefined;
  signal?: AbortSignal | undefined;
  log?: (message: string) => void;
}

const Measured = z.object({
  layers: z.number(),
  width: z.union([z.number(), z.literal('full')]),
  /** Weights that every token passes through. */
  parameters: z.number(),
  pairs: z.number(),
  steps: z.number(),
  entropy: z.number(),
  seconds: z.number(),
});
export type Measured = z.infer<typeof Measured>;

/** The result of a sweep. */
export interface SweepReport {
  base: string;
  /** Negatives of each held-out query. */
  negatives: number;
  temperature: number;
  points: Measured[];
  /** At the most pairs of the sweep. */
  size: Omit<Fit<'A' | 'alpha' | 'delta'>, 'predict'> & { pairs: number };
  joint: Omit<Fit<'A' | 'alpha' | 'B' | 'beta' | 'delta'>, 'predict'>;
  heldOut: Measured & {
    /** The joint law's prediction; the law was fitted without this point. */
    predicted: Estimate;
    within: boolean;
  };
  seconds: number;
}

const TEMPERATURE = 0.05;

/** Share of the steps in which the learning rate rises. */
const WARMUP = 0.1;

/** Queries of the entropy, in groups whose documents are each other's negatives: 255 each, as in the paper. */
const GROUP = 256;
const GROUPS = 7;

/** Longest text, in tokens. */
const MAX_TOKENS = 48;

/**
 * Trains models of many sizes on data of many sizes, each pair once, and fits the scaling law to their contrastive entropy
 * on held-out pairs (Fang et al., 2024: https://arxiv.org/abs/2403.18684). The models are cut from one base: some of its
 * layers, and the products in them through fewer numbers.
 *
 * @throws {TrainingError} `PAIRS_INVALID`, `REQUEST_INVALID`; what the signal says
 */
export async function sweep(request: SweepRequest): Promise<SweepReport> {
  const { log = () => {} } = request;
  const { base, model, output } = await readBase(request.base, request.cacheDir);
  const all = await readPairs(request.pairs, request.seed);
  const most = Math.max(request.heldOut.pairs, ...request.points.map(({ pairs }) => pairs));
  if (all.train.length < most || all.heldOut.length < GROUP) {
    throw new TrainingError(
      'PAIRS_INVALID',
      `${request.pairs} has ${all.train.length} pairs to train on and ${all.heldOut.length} held out; the sweep needs ` +
        `${most} and ${GROUP}`,
    );
  }
  const out = resolve(request.out);
  await makeFolder(out);
  const given: Given = { request, base, model, output, ...all, out, log };
  const points: Measured[] = [];
  for (const point of request.points) {
    if (describePoint(point) !== describePoint(request.heldOut)) points.push(await measure(given, point));
  }
  const hidden = await measure(given, request.heldOut);
  return { ...fitPoints(points, hidden), base: request.base };
}

/** How many layers a base has, and how many numbers for each token between them. */
export async function shapeOf(
  reference: string,
  cacheDir?: string,
): Promise<{ layers: number; width: number }> {
  const { model, output } = await readBase(reference, cacheDir);
  const { boundaries } = await findLayers(model, output);
  const { dims } = (await trace(model)).value(boundaries[0]!);
  return { layers: boundaries.length - 1, width: dims.at(-1)! };
}

async function readBase(reference: string, cacheDir: string | undefined) {
  const base = await pullTower(reference, { cacheDir });
  return { base, ...(await readTowerGraph(base.directory)) };
}

/** Fits both laws to points, and asks the joint one for a point that it has not seen. */
export function fitPoints(points: readonly Measured[], hidden: Measured): Omit<SweepReport, 'base'> {
  const most = Math.max(...points.map(({ pairs }) => pairs));
  const { predict: _, ...size } = fitSize(points.filter(({ pairs }) => pairs === most));
  const { predict, ...joint } = fitJoint(points);
  const predicted = predict(hidden);
  const [low, high] = predicted.interval;
  return {
    negatives: GROUP - 1,
    temperature: TEMPERATURE,
    points: [...points],
    size: { ...size, pairs: most },
    joint,
    heldOut: { ...hidden, predicted, within: low <= hidden.entropy && hidden.entropy <= high },
    seconds: [...points, hidden].reduce((sum, { seconds }) => sum + seconds, 0),
  };
}

export function describePoint({ layers, width, pairs }: SweepPoint): string {
  return `${layers} layers, width ${width}, ${pairs} pairs`;
}

/** What all points are measured with. */
interface Given {
  request: SweepRequest;
  base: LocalTower;
  model: Model;
  output: string;
  train: readonly Pair[];
  heldOut: readonly Pair[];
  sha256: string;
  out: string;
  log: (message: string) => void;
}

/** Measures a point, or reads it from an earlier run. */
async function measure(given: Given, point: SweepPoint): Promise<Measured> {
  const { base, sha256, out, log } = given;
  const { batch, rate, seed } = given.request;
  const { layers, width, pairs } = point;
  const origin = { base: base.manifest.space.fingerprint, data: sha256 };
  const settings: Settings = { ...origin, batch, rate, seed, layers, width, pairs };
  const key = createHash('sha256').update(JSON.stringify(settings)).digest('hex').slice(0, 12);
  const file = join(out, `point-${key}.json`);
  const known = await readJson(file);
  if (known !== undefined) return Measured.parse(known);
  log(`training ${describePoint(point)}`);
  const folder = join(out, `point-${key}`);
  await makeFolder(folder);
  const measured = await trainPoint(given, point, folder, settings);
  log(`${describePoint(point)}: ${measured.parameters} parameters, entropy ${measured.entropy.toFixed(4)}`);
  await writeJson(file, measured);
  await removeCheckpoint(folder);
  return measured;
}

async function trainPoint(
  given: Given,
  point: SweepPoint,
  folder: string,
  settings: Settings,
): Promise<Measured> {
  const { base, model, output, train, log } = given;
  const { batch, rate, seed, threads, signal } = given.request;
  const { dimensions, normalize } = base.manifest;
  const pooling = trainablePooling(base.manifest);
  const { layers, width } = point;
  const cut = await cutTransformer(model, layers, { output });
  const sized = width === 'full' ? cut.model : factorizeProducts(cut.model, cut.weights, width);
  const encoder = await encoderOf(sized, output, { pooling, dimensions, trainTables: false });
  const pairs = train.slice(0, point.pairs);
  const batches = new Batches([...pairs.keys()], { size: batch, seed });
  const steps = batches.perEpoch;
  const plan = {
    directory: base.directory,
    manifest: { pooling, dimensions },
    shared: true,
    queryStudent: undefined,
    trainTables: false,
    optimizer: { rate, steps, warmup: Math.ceil(steps * WARMUP) },
    threads,
  };
  const resumed = (await hasCheckpoint(folder)) ? await readRunCheckpoint(folder, settings) : undefined;
  const encoders = new Map([['shared', encoder] as const]);
  const replica = await LocalReplica.open(plan, { encoders, state: resumed?.tensors.state });
  const contrast = await Contrast.open({ dimensions, normalize, temperature: TEMPERATURE }, threads);
  try {
    const texts = await tokensOf(base, pairs);
    const run = { replica, contrast, pairs, texts, batches, steps, normalize, dimensions, threads };
    const none = { negatives: 0, mined: 0, margin: 0 };
    const { elapsedMs } = await runSteps({ ...run, ...none, folder, settings, resumed, signal, log });
    return {
      ...point,
      parameters: parameterCount(encoder.model, encoder.weights),
      steps,
      entropy: await entropyOf(given, replica, contrast),
      seconds: elapsedMs / 1000,
    };
  } finally {
    await contrast.close();
    await replica.close();
  }
}

function tokensOf(base: LocalTower, pairs: readonly Pair[]): Promise<PairTokens> {
  const { queryPrompt, prompt, space } = base.manifest;
  const prompts = { query: queryPrompt ?? prompt, document: space.documentPrompt };
  return tokenize(base, pairs, prompts, MAX_TOKENS);
}

/** Mean over held-out queries of −log of the softmax that their own document gets among those of their group. */
async function entropyOf(
  { base, heldOut }: Given,
  replica: LocalReplica,
  contrast: Contrast,
): Promise<number> {
  const groups = Math.min(GROUPS, Math.floor(heldOut.length / GROUP));
  let sum = 0;
  for (let group = 0; group < groups; group++) {
    const pairs = heldOut.slice(group * GROUP, (group + 1) * GROUP);
    const { queries, documents } = await tokensOf(base, pairs);
    const { loss } = await contrast.run(
      await replica.encode('query', queries),
      await replica.encode('document', documents),
      exclusions(
        pairs.map(({ query }) => keyOf(query)),
        pairs.map(({ document }) => keyOf(document)),
      ),
    );
    sum += loss;
  }
  return sum / groups;
}
