import { mkdir } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import * as z from 'zod';
import { loadTokenizer, openTower } from '../../towers/open.ts';
import { type LocalTower, pullTower } from '../../towers/pull.ts';
import type { TextTokenizer } from '../../towers/tokenizer.ts';
import type { Tower } from '../../towers/tower.ts';
import { TrainingError } from '../errors.ts';
import { differenceInterval } from '../evaluation/bootstrap.ts';
import { mean } from '../evaluation/metrics.ts';
import { withParameters } from '../onnx/parameters.ts';
import type { Tensor } from '../onnx/tensor.ts';
import { Contrast } from './contrast.ts';
import { writeTowers, type WrittenTowers } from './export.ts';
import { heldOutTask, type HeldOutTask, measureRecall } from './held-out.ts';
import { trainingFlops } from './compute.ts';
import { describeDropped, PairBatches, type PairSet, type PairTokens, readPairs } from './pairs.ts';
import { type EncoderName, readEncoders, type ReplicaPlan, trainedParameters } from './replica.ts';
import { runSteps, type RunProgress } from './run.ts';
import {
  hasCheckpoint,
  readCheckpoint,
  readReport,
  removeCheckpoint,
  type Settings,
  writeReport,
} from './run-folder.ts';
import { openReplicas } from './workers.ts';

/** What serves where nobody says otherwise. */
export const DEFAULTS = {
  epochs: 1,
  batch: 256,
  rate: 1e-4,
  temperature: 0.05,
  negatives: 1,
  mined: 0,
  margin: 0.05,
  maxTokens: 64,
  heldOutDocuments: 20_000,
} as const;

/** Share of the steps in which the learning rate rises. */
const WARMUP = 0.1;

/** What to make. */
export interface TrainRequest {
  /** Reference of the tower to start from. */
  base: string;
  /** JSON Lines of pairs. */
  pairs: string;
  /** Folder of the new towers. */
  out: string;
  /** How often each pair is seen; not with `steps`. @default 1 */
  epochs?: number | undefined;
  steps?: number | undefined;
  /** Takes no more than so many of the pairs to train on. @default all */
  limit?: number | undefined;
  /** Pairs of a step, whatever memory there is. @default 256 */
  batch?: number | undefined;
  /** Largest learning rate. @default 1e-4 */
  rate?: number | undefined;
  /** What similarities are divided by. @default 0.05 */
  temperature?: number | undefined;
  /** Given negatives of each pair that a step takes. @default 1 */
  negatives?: number | undefined;
  /** Negatives of each pair that are mined anew in every epoch. @default 0 */
  mined?: number | undefined;
  /** A document that scores above the query's own less this is not mined. @default 0.05 */
  margin?: number | undefined;
  /** Whether query and document tower keep weights of their own. @default false */
  separate?: boolean | undefined;
  /** How many layers the query tower keeps, with weights of its own. @default all */
  queryLayers?: number | undefined;
  /** Whether embedding tables are trained as well. @default false */
  trainTables?: boolean | undefined;
  /** @default that of the base */
  queryPrompt?: string | undefined;
  /** @default that of the base */
  documentPrompt?: string | undefined;
  /** Longest text in training; the towers read on what the base reads. @default 64 */
  maxTokens?: number | undefined;
  /** Documents that held-out queries are searched in. @default 20 000 */
  heldOutDocuments?: number | undefined;
  /** @default 1 */
  seed?: number | undefined;
  /** Processes that share a step. @default 1 */
  workers?: number | undefined;
  /** Of ONNX Runtime, for each process. @default one for each core */
  threads?: number | undefined;
  /** Goes on from the checkpoint in `out`. @default false */
  resume?: boolean | undefined;
  /** Ends the run early, with a checkpoint. */
  signal?: AbortSignal | undefined;
  cacheDir?: string | undefined;
  log?: ((message: string) => void) | undefined;
  onProgress?: ((progress: RunProgress) => void) | undefined;
}

const Interval = z.tuple([z.number(), z.number()]);

/** What was made. */
export const TrainReport = z.object({
  out: z.string(),
  base: z.string(),
  /** Pairs that were trained on. */
  pairs: z.number(),
  /** Pairs of the file that were left out, by reason. */
  dropped: z.object({
    empty: z.number(),
    ownQuery: z.number(),
    duplicate: z.number(),
    heldOut: z.number(),
  }),
  steps: z.number(),
  /** Of training alone, interruptions not counted. */
  seconds: z.number(),
  /** Mean loss of all steps. */
  loss: z.number(),
  /** Numbers that were trained. */
  parameters: z.number(),
  /** Operations of training, an estimate that depends on nothing but the request: two a weight and token forward. */
  flops: z.number(),
  heldOut: z.object({
    queries: z.number(),
    documents: z.number(),
    recall10: z.object({
      base: z.number(),
      trained: z.number(),
      /** 95 %, of trained − base, by paired bootstrap over queries. */
      interval: Interval,
    }),
  }),
  /** Folders of the towers, and their space. */
  towers: z.object({ document: z.string(), query: z.string(), space: z.string() }),
});
export type TrainReport = z.infer<typeof TrainReport>;

/**
 * Stage 1: trains a document tower and its teacher query tower from one language model, by InfoNCE with negatives from
 * the batch, given and mined. Writes both towers, which are a space of their own.
 *
 * A run that has finished in the folder is not done again: its report is returned.
 *
 * @throws {TrainingError} `PAIRS_INVALID`, `REQUEST_INVALID`, `CHECKPOINT_INVALID`, `CHECKPOINT_FAILED`, `DIVERGED`,
 *   `WORKER_FAILED`
 * @throws {OnnxError} `GRADIENT_MISSING` and others for a base model that can't be trained
 * @throws what the signal says, once there is a checkpoint
 */
export async function train(request: TrainRequest): Promise<TrainReport> {
  const { log = () => {}, signal, cacheDir } = request;
  const out = resolve(request.out);
  const plan = planOf(request);
  const cache = cacheDir === undefined ? {} : { cacheDir };
  const base = await pullTower(request.base, { ...cache, log });
  const pairs = await readPairs(request.pairs, plan.seed, { train: request.limit });
  const dropped = describeDropped(pairs.dropped);
  if (dropped !== '') log(`left out of ${request.pairs}: ${dropped}`);
  const batches = new PairBatches(pairs.train.length, { size: plan.batch, seed: plan.seed });
  const steps = request.steps ?? Math.max(1, Math.round(plan.epochs * batches.perEpoch));
  const prompts = {
    query: plan.queryPrompt ?? base.manifest.queryPrompt ?? base.manifest.prompt,
    document: plan.documentPrompt ?? base.manifest.space.documentPrompt,
  };
  const settings = settingsOf(plan, base, pairs, steps);
  const done = await readReport(out, settings, TrainReport);
  if (done !== undefined) {
    log(`${out} holds this run's towers already`);
    return done;
  }
  const checkpoint = await checkpointOf(out, settings, request.resume === true);
  await mkdir(out, { recursive: true });

  const replicaPlan: ReplicaPlan = {
    directory: base.directory,
    manifest: { pooling: base.manifest.pooling, dimensions: base.manifest.dimensions },
    shared: !plan.separate,
    queryLayers: plan.queryLayers,
    trainTables: plan.trainTables,
    optimizer: { rate: plan.rate, steps, warmup: Math.min(steps, Math.ceil(steps * WARMUP)) },
    threads: request.threads,
  };
  const encoders = await readEncoders(replicaPlan);
  const replica = await openReplicas(replicaPlan, {
    workers: plan.workers,
    encoders,
    state: checkpoint?.state,
  });
  let result: { state: ReadonlyMap<string, Tensor>; elapsedMs: number; lossSum: number };
  const texts = tokensOf(pairs, await trainingTokenizer(base, plan.maxTokens), prompts);
  const task = heldOutTask(pairs.heldOut, pairs.train, plan.heldOutDocuments);
  let baseRecall: number[];
  try {
    log(`measuring ${request.base} on ${task.queries.length} held-out pairs`);
    baseRecall = await measureBase(request.base, task, cache);
    const contrast = await Contrast.open(
      {
        dimensions: base.manifest.dimensions,
        normalize: base.manifest.normalize,
        temperature: plan.temperature,
      },
      request.threads,
    );
    try {
      result = await runSteps({
        replica,
        contrast,
        pairs: pairs.train,
        texts,
        batches,
        steps,
        negatives: plan.negatives,
        mined: plan.mined,
        margin: plan.margin,
        normalize: base.manifest.normalize,
        dimensions: base.manifest.dimensions,
        threads: request.threads,
        folder: out,
        settings,
        resumed: checkpoint,
        signal,
        log,
        onProgress: request.onProgress,
      });
    } finally {
      await contrast.close();
    }
  } finally {
    await replica.close();
  }
  const towers = await writeTowers(out, {
    base,
    name: basename(out).replaceAll(/[^\w.-]/g, '-'),
    ...models(encoders, result.state, plan.separate),
    documentPrompt: prompts.document,
    queryPrompt: prompts.query,
    source: `scalingnote train --base ${request.base} --pairs ${basename(request.pairs)}`,
  });
  log('measuring the towers as they were written');
  const trained = await measureTrained(towers, task, cache);
  const report: TrainReport = {
    out,
    base: request.base,
    pairs: pairs.train.length,
    dropped: pairs.dropped,
    steps,
    seconds: result.elapsedMs / 1000,
    loss: result.lossSum / steps,
    parameters: trainedParameters(encoders),
    flops: trainingFlops(encoders, texts, batches, steps),
    heldOut: {
      queries: task.queries.length,
      documents: task.documents.length,
      recall10: {
        base: mean(baseRecall),
        trained: mean(trained),
        interval: differenceInterval(trained, baseRecall),
      },
    },
    towers,
  };
  await writeReport(out, settings, report);
  await removeCheckpoint(out);
  return report;
}

/** A request with its defaults. */
type Plan = ReturnType<typeof planOf>;

function planOf(request: TrainRequest) {
  const { separate = request.queryLayers !== undefined, ...rest } = request;
  const plan = {
    epochs: rest.epochs ?? DEFAULTS.epochs,
    batch: rest.batch ?? DEFAULTS.batch,
    rate: rest.rate ?? DEFAULTS.rate,
    temperature: rest.temperature ?? DEFAULTS.temperature,
    negatives: rest.negatives ?? DEFAULTS.negatives,
    mined: rest.mined ?? DEFAULTS.mined,
    margin: rest.margin ?? DEFAULTS.margin,
    maxTokens: rest.maxTokens ?? DEFAULTS.maxTokens,
    heldOutDocuments: rest.heldOutDocuments ?? DEFAULTS.heldOutDocuments,
    separate,
    queryLayers: rest.queryLayers,
    trainTables: rest.trainTables ?? false,
    queryPrompt: rest.queryPrompt,
    documentPrompt: rest.documentPrompt,
    seed: rest.seed ?? 1,
    workers: rest.workers ?? 1,
  };
  const refuse = (why: string): TrainingError => new TrainingError('REQUEST_INVALID', why);
  if (rest.epochs !== undefined && rest.steps !== undefined) throw refuse('give epochs or steps, not both');
  if (rest.queryLayers !== undefined && !separate) {
    throw refuse('a query tower of fewer layers has weights of its own: leave separate out, or say true');
  }
  if (!(plan.temperature > 0)) throw refuse(`the temperature is ${plan.temperature}; it must be above 0`);
  if (!(plan.batch >= 2)) throw refuse(`a batch of ${plan.batch} has no negatives; 2 pairs at the least`);
  return plan;
}

/** What two runs must agree in for one to go on where the other was. Workers and threads move only the last digits. */
function settingsOf(plan: Plan, base: LocalTower, pairs: PairSet, steps: number): Settings {
  const { workers: _, epochs: __, ...rest } = plan;
  return {
    base: base.manifest.space.fingerprint,
    pairs: pairs.sha256.slice(0, 16),
    trained: pairs.train.length,
    ...rest,
    steps,
    queryLayers: plan.queryLayers ?? 'all',
    queryPrompt: plan.queryPrompt ?? 'that of the base',
    documentPrompt: plan.documentPrompt ?? 'that of the base',
  };
}

async function checkpointOf(out: string, settings: Settings, resume: boolean) {
  if (resume) return readCheckpoint(out, settings);
  if (!(await hasCheckpoint(out))) return undefined;
  throw new TrainingError(
    'CHECKPOINT_INVALID',
    `${out} holds a run that was broken off: go on with --resume, or give another --out`,
  );
}

async function trainingTokenizer(base: LocalTower, maxTokens: number): Promise<TextTokenizer> {
  const { directory, manifest } = base;
  const limit = Math.min(maxTokens, manifest.maxTokens);
  return loadTokenizer({ directory, manifest: { ...manifest, maxTokens: limit } });
}

function tokensOf(
  { train: pairs }: PairSet,
  tokenizer: TextTokenizer,
  prompts: { query: string; document: string },
): PairTokens {
  const document = (text: string): readonly number[] => tokenizer.encode(prompts.document + text).ids;
  return {
    queries: pairs.map(({ query }) => tokenizer.encode(prompts.query + query).ids),
    documents: pairs.map((pair) => document(pair.document)),
    document,
  };
}

function models(
  encoders: Awaited<ReturnType<typeof readEncoders>>,
  state: ReadonlyMap<string, Tensor>,
  separate: boolean,
) {
  const modelOf = (name: EncoderName) => {
    const { model, weights } = encoders.get(name)!;
    return withParameters(model, new Map(weights.map((weight) => [weight, state.get(`${name}/${weight}`)!])));
  };
  if (separate) return { documentModel: modelOf('document'), queryModel: modelOf('query') };
  const shared = modelOf('shared');
  return { documentModel: shared, queryModel: shared };
}

async function measureBase(
  reference: string,
  task: HeldOutTask,
  cache: { cacheDir?: string },
): Promise<number[]> {
  const tower = await openTower(reference, cache);
  try {
    const queryPrompt = tower.manifest.queryPrompt ?? tower.manifest.prompt;
    return await measureRecall({ document: tower, query: tower, queryPrompt }, task, cache);
  } finally {
    await tower.close();
  }
}

async function measureTrained(
  towers: WrittenTowers,
  task: HeldOutTask,
  cache: { cacheDir?: string },
): Promise<number[]> {
  const opened: Tower[] = [];
  try {
    for (const folder of [towers.document, towers.query]) opened.push(await openTower(folder, cache));
    const [document, query] = opened as [Tower, Tower];
    return await measureRecall({ document, query }, task, cache);
  } finally {
    for (const tower of opened) await tower.close();
  }
}
