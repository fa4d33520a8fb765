import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { loadTokenizer } from '../../towers/open.ts';
import { type LocalTower, pullTower } from '../../towers/pull.ts';
import { defaultThreads } from '../../towers/session/devices.ts';
import { Batches } from '../batches.ts';
import { TrainingError } from '../errors.ts';
import type { Settings } from '../run-folder.ts';
import { trainingFlops } from './compute.ts';
import { type PairSet, type PairTokens, readPairs } from './pairs.ts';
import { readEncoders, type ReplicaPlan } from './replica.ts';
import type { TrainProgress } from './run-steps.ts';

/** What serves where nobody says otherwise: what WordNet's pairs train the default document tower with. */
export const TRAIN_DEFAULTS = {
  epochs: 1,
  batch: 128,
  rate: 3e-4,
  temperature: 0.05,
  negatives: 1,
  mined: 0,
  margin: 0.05,
  precision: 'fp32',
  maxTokens: 64,
  heldOutDocuments: 20_000,
  trainTables: false,
  seed: 1,
  workers: 1,
} as const;

/** Share of the steps in which the learning rate rises. */
const WARMUP = 0.1;

/** Numbers of a tower's weights. */
export type Precision = 'fp32' | 'int8';

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
  /** Pairs of a step, whatever memory there is. @default 128 */
  batch?: number | undefined;
  /** Largest learning rate; larger models take less. @default 3e-4 */
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
  /**
   * Precision of the towers that are written. Eight bits are a quarter of the size; such a tower serves and teaches, but
   * can't be trained further, nor cut into transformer students. @default fp32
   */
  precision?: Precision | undefined;
  /** Longest text in training; the towers read on what the base reads. @default 64 */
  maxTokens?: number | undefined;
  /** Documents that held-out queries are searched in. @default 20 000 */
  heldOutDocuments?: number | undefined;
  /** @default 1 */
  seed?: number | undefined;
  /** Processes that share a step. @default 1 */
  workers?: number | undefined;
  /** Of ONNX Runtime, for each process. @default one for each core, shared out among the processes */
  threads?: number | undefined;
  /** Goes on from the checkpoint in `out`. @default false */
  resume?: boolean | undefined;
  /** Ends the run early, with a checkpoint. */
  signal?: AbortSignal | undefined;
  cacheDir?: string | undefined;
  log?: ((message: string) => void) | undefined;
  onProgress?: ((progress: TrainProgress) => void) | undefined;
}

/** A request, and what it comes to. */
export interface Prepared {
  out: string;
  plan: TrainPlan;
  base: LocalTower;
  pairs: PairSet;
  batches: Batches;
  steps: number;
  /** What is put before each side's texts. */
  prompts: { query: string; document: string };
  settings: Settings;
  replicaPlan: ReplicaPlan;
}

/** Reads what a run is about to need, and writes nothing. @throws {TrainingError} `REQUEST_INVALID`, `PAIRS_INVALID` */
export async function prepare(request: TrainRequest): Promise<Prepared> {
  const plan = planOf(request);
  const base = await pullTower(request.base, { cacheDir: request.cacheDir, log: request.log });
  const { manifest, directory } = base;
  const pairs = await readPairs(request.pairs, plan.seed, { train: request.limit });
  const batches = new Batches([...pairs.train.keys()], { size: plan.batch, seed: plan.seed });
  const steps = request.steps ?? Math.max(1, Math.round(plan.epochs * batches.perEpoch));
  return {
    out: resolve(request.out),
    plan,
    base,
    pairs,
    batches,
    steps,
    prompts: {
      query: plan.queryPrompt ?? manifest.queryPrompt ?? manifest.prompt,
      document: plan.documentPrompt ?? manifest.space.documentPrompt,
    },
    settings: settingsOf(plan, base, pairs, steps),
    replicaPlan: {
      directory,
      manifest: { pooling: manifest.pooling, dimensions: manifest.dimensions },
      shared: !plan.separate,
      queryLayers: plan.queryLayers,
      trainTables: plan.trainTables,
      optimizer: { rate: plan.rate, steps, warmup: Math.min(steps, Math.ceil(steps * WARMUP)) },
      threads: request.threads ?? threadsOf(plan.workers),
    },
  };
}

/** Threads of each process where nobody says; undefined leaves it to ONNX Runtime, which has the cores to itself. */
function threadsOf(workers: number): number | undefined {
  const limit = defaultThreads();
  if (workers === 1) return limit === 0 ? undefined : limit;
  return Math.max(1, Math.floor((limit === 0 ? availableParallelism() : limit) / workers));
}

/**
 * Token ids of every pair's sides.
 * @throws {TrainingError} `REQUEST_INVALID` where nothing is left that tells one text from another
 */
export async function tokenizePairs({ base, plan, pairs, prompts }: Prepared): Promise<PairTokens> {
  const { directory, manifest } = base;
  const maxTokens = Math.min(plan.maxTokens, manifest.maxTokens);
  const tokenizer = await loadTokenizer({ directory, manifest: { ...manifest, maxTokens } });
  const document = (text: string): readonly number[] => tokenizer.encode(prompts.document + text).ids;
  const queries = pairs.train.map(({ query }) => tokenizer.encode(prompts.query + query).ids);
  const documents = pairs.train.map((pair) => document(pair.document));
  for (const [side, texts] of Object.entries({ queries, documents })) {
    if (new Set(texts.map((ids) => ids.join())).size > 1) continue;
    throw new TrainingError(
      'REQUEST_INVALID',
      `all ${side} are the same in ${plan.maxTokens} tokens: give a larger --max-tokens, a shorter prompt or other pairs`,
    );
  }
  return { queries, documents, document };
}

/** Operations that a run would take, as its report would say. */
export async function estimateFlops(request: TrainRequest): Promise<number> {
  const prepared = await prepare(request);
  const encoders = await readEncoders(prepared.replicaPlan);
  return trainingFlops(encoders, await tokenizePairs(prepared), prepared.batches, prepared.steps);
}

/** What a run is to do: its request, with defaults for what the request leaves open. */
export type TrainPlan = ReturnType<typeof planOf>;

function planOf(request: TrainRequest) {
  const { epochs, steps, queryLayers, queryPrompt, documentPrompt } = request;
  const { separate = queryLayers !== undefined } = request;
  const given = <K extends keyof typeof TRAIN_DEFAULTS>(key: K) => request[key] ?? TRAIN_DEFAULTS[key];
  const plan = {
    epochs: given('epochs'),
    batch: given('batch'),
    rate: given('rate'),
    temperature: given('temperature'),
    negatives: given('negatives'),
    mined: given('mined'),
    margin: given('margin'),
    precision: given('precision'),
    maxTokens: given('maxTokens'),
    heldOutDocuments: given('heldOutDocuments'),
    separate,
    queryLayers,
    trainTables: given('trainTables'),
    queryPrompt,
    documentPrompt,
    seed: given('seed'),
    workers: given('workers'),
  };
  const refuse = (why: string): TrainingError => new TrainingError('REQUEST_INVALID', why);
  if (epochs !== undefined && steps !== undefined) throw refuse('give epochs or steps, not both');
  if (queryLayers !== undefined && !separate) {
    throw refuse('a query tower of fewer layers has weights of its own: leave separate out, or say true');
  }
  if (!(plan.temperature > 0)) throw refuse(`the temperature is ${plan.temperature}; it must be above 0`);
  if (!(plan.batch >= 2)) throw refuse(`a batch of ${plan.batch} has no negatives; 2 pairs at the least`);
  return plan;
}

/** What two runs must agree in for one to go on where the other was. Workers and threads move only the last digits. */
function settingsOf(plan: TrainPlan, base: LocalTower, pairs: PairSet, steps: number): Settings {
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
