import { resolve } from 'node:path';
import * as z from 'zod';
import { loadTokenizer } from '../../towers/open.ts';
import { type LocalTower, pullTower } from '../../towers/pull.ts';
import { limits } from '../../machine/limits.ts';
import { Batches } from '../batches.ts';
import { TrainingError } from '../errors.ts';
import type { Settings } from '../run-folder.ts';
import { nameOf, type StudentKind } from '../distill/request.ts';
import { trainablePooling } from '../trainable.ts';
import { lookupStartFlops, trainingFlops } from './compute.ts';
import { type Pair, type PairSet, type PairTokens, readPairs } from './pairs.ts';
import { readEncoders, type ReplicaPlan } from './replica.ts';
import type { TrainProgress } from './run-steps.ts';

/** Precision of a tower's weights. */
export type Precision = 'fp32' | 'int8';

/** What a query tower starts from: the document tower's own weights, or random ones that are no relative of them. */
export type QueryStart = 'base' | 'random';

/** Defaults. They suit WordNet's pairs and the default document tower. */
export const TRAIN_DEFAULTS = {
  epochs: 1,
  batch: 128,
  rate: 3e-4,
  temperature: 0.05,
  negatives: 1,
  mined: 0,
  margin: 0.05,
  precision: 'fp32' as Precision,
  maxTokens: 64,
  heldOutDocuments: 20_000,
  trainTables: false,
  queryStart: 'base' as QueryStart,
  frozenDocuments: false,
  seed: 1,
  workers: 1,
} as const;

/** Share of the steps in which the learning rate rises. */
const WARMUP = 0.1;

const count = z.int().positive();
const positive = z.number().positive();

/** Training options of recipes and of the command line. */
export const TrainOptions = z.strictObject({
  /** How often each pair is seen; not with `steps`. @default 1 */
  epochs: positive.optional(),
  steps: count.optional(),
  /** Most pairs to train on. @default all */
  limit: count.optional(),
  /** Pairs per step. Memory does not limit it. @default 128 */
  batch: count.optional(),
  /** Peak learning rate. Larger models need a smaller one. @default 3e-4 */
  rate: positive.optional(),
  /** Divisor of the similarities. @default 0.05 */
  temperature: positive.optional(),
  /** Negatives per pair that a step takes from the file. @default 1 */
  negatives: z.int().nonnegative().optional(),
  /** Negatives per pair that are mined anew in every epoch. @default 0 */
  mined: z.int().nonnegative().optional(),
  /** A document that scores above the query's own less this is not mined. @default 0.05 */
  margin: z.number().optional(),
  /** Whether query and document tower have separate weights. @default false */
  separate: z.boolean().optional(),
  /** Whether embedding tables are trained as well. @default false */
  trainTables: z.boolean().optional(),
  /** @default that of the base */
  queryPrompt: z.string().optional(),
  /** @default that of the base */
  documentPrompt: z.string().optional(),
  /** Longest text in training, in tokens. The towers read on what the base reads. @default 64 */
  maxTokens: count.optional(),
  /** Documents that held-out queries are searched in. @default 20 000 */
  heldOutDocuments: count.optional(),
});

/** What to make. */
export interface TrainRequest extends z.infer<typeof TrainOptions> {
  /** Reference of the tower to start from. */
  base: string;
  /** JSON Lines of pairs. */
  pairs: string;
  /** Folder of the new towers. */
  out: string;
  /** The query tower, which then has weights of its own. @default as many layers as the base */
  queryStudent?: StudentKind | undefined;
  /** Random weights are those of a tower of its own, whose embedding tables are trained as well. @default base */
  queryStart?: QueryStart | undefined;
  /** Whether the document tower stays as it is, so that the query tower alone is trained. @default false */
  frozenDocuments?: boolean | undefined;
  /**
   * Precision of the towers that are written. Eight bits are a quarter of the size; such a tower serves and teaches, but
   * can't be trained further, nor cut into transformer students. @default fp32
   */
  precision?: Precision | undefined;
  /** @default 1 */
  seed?: number | undefined;
  /** Processes that share a step. @default 1 */
  workers?: number | undefined;
  /** Threads of ONNX Runtime in each process. @default one per core, divided among the processes */
  threads?: number | undefined;
  /** Resumes from the checkpoint in `out`. @default false */
  resume?: boolean | undefined;
  /** Ends the run early, with a checkpoint. */
  signal?: AbortSignal | undefined;
  cacheDir?: string | undefined;
  log?: ((message: string) => void) | undefined;
  onProgress?: ((progress: TrainProgress) => void) | undefined;
}

/** A request, checked and completed. */
export interface Prepared {
  out: string;
  plan: TrainPlan;
  base: LocalTower;
  pairs: PairSet;
  batches: Batches;
  steps: number;
  /** The prefix of each side's texts. */
  prompts: { query: string; document: string };
  settings: Settings;
  replicaPlan: ReplicaPlan;
}

/** Reads what a run needs, and writes nothing. @throws {TrainingError} `REQUEST_INVALID`, `PAIRS_INVALID` */
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
      manifest: { pooling: trainablePooling(manifest), dimensions: manifest.dimensions },
      shared: !plan.separate,
      queryStudent: plan.queryStudent,
      queryStart: plan.queryStart,
      frozenDocuments: plan.frozenDocuments,
      seed: plan.seed,
      trainTables: plan.trainTables,
      optimizer: { rate: plan.rate, steps, warmup: Math.min(steps, Math.ceil(steps * WARMUP)) },
      threads: request.threads ?? threadsOf(plan.workers),
    },
  };
}

/** Default threads of each process. Undefined: as many as one process may use. */
function threadsOf(workers: number): number | undefined {
  return workers === 1 ? undefined : Math.max(1, Math.floor(limits().threads / workers));
}

/**
 * Token ids of every pair's sides.
 * @throws {TrainingError} `REQUEST_INVALID` where all texts of a side have become the same
 */
export async function tokenizePairs({ base, plan, pairs, prompts }: Prepared): Promise<PairTokens> {
  const tokens = await tokenize(base, pairs.train, prompts, plan.maxTokens);
  const { queries, documents } = tokens;
  for (const [side, texts] of Object.entries({ queries, documents })) {
    if (new Set(texts.map((ids) => ids.join())).size > 1) continue;
    throw new TrainingError(
      'REQUEST_INVALID',
      `all ${side} are the same in ${plan.maxTokens} tokens: give a larger --max-tokens, a shorter prompt or other pairs`,
    );
  }
  return tokens;
}

/** Token ids of both sides of some pairs, with prompts before the texts. */
export async function tokenize(
  { directory, manifest }: LocalTower,
  pairs: readonly Pick<Pair, 'query' | 'document'>[],
  prompts: { query: string; document: string },
  longest: number,
): Promise<PairTokens> {
  const maxTokens = Math.min(longest, manifest.maxTokens);
  const tokenizer = await loadTokenizer({ directory, manifest: { ...manifest, maxTokens } });
  const idsOf = async (text: string): Promise<readonly number[]> => (await tokenizer.encode(text)).ids;
  const document = (text: string): Promise<readonly number[]> => idsOf(prompts.document + text);
  const queries: (readonly number[])[] = [];
  const documents: (readonly number[])[] = [];
  for (const pair of pairs) {
    queries.push(await idsOf(prompts.query + pair.query));
    documents.push(await document(pair.document));
  }
  return { queries, documents, document };
}

/** Operations that a run would take, as its report would say. */
export async function estimateFlops(request: TrainRequest): Promise<number> {
  const prepared = await prepare(request);
  const encoders = await readEncoders(prepared.replicaPlan);
  return flopsOf(prepared, encoders, await tokenizePairs(prepared));
}

/** Operations of a prepared run. */
export async function flopsOf(
  { replicaPlan, batches, steps, base }: Pick<Prepared, 'replicaPlan' | 'batches' | 'steps' | 'base'>,
  encoders: Awaited<ReturnType<typeof readEncoders>>,
  texts: PairTokens,
): Promise<number> {
  const { queryStudent, queryStart, frozenDocuments } = replicaPlan;
  const isLookup = queryStudent?.kind === 'lookup';
  const { dimensions } = base.manifest;
  const lookup = isLookup ? { dimensions } : undefined;
  const training = trainingFlops(encoders, texts, batches, steps, { lookup, frozenDocuments });
  if (!isLookup || queryStart === 'random') return training;
  return training + (await lookupStartFlops(base.directory, encoders.get('document')!));
}

/** What has a default. */
type Chosen = { [K in keyof typeof TRAIN_DEFAULTS]: NonNullable<TrainRequest[K]> };

/** What a run is to do: its request, with defaults for what the request leaves open. */
export type TrainPlan = ReturnType<typeof planOf>;

function planOf(request: TrainRequest) {
  const { epochs, steps, queryStudent, queryPrompt, documentPrompt } = request;
  const { queryStart, frozenDocuments } = request;
  const isOwn = queryStudent !== undefined || queryStart === 'random' || frozenDocuments === true;
  const { separate = isOwn } = request;
  const keys = Object.keys(TRAIN_DEFAULTS) as (keyof typeof TRAIN_DEFAULTS)[];
  const chosen = Object.fromEntries(keys.map((key) => [key, request[key] ?? TRAIN_DEFAULTS[key]]));
  const plan = { ...(chosen as Chosen), separate, queryStudent, queryPrompt, documentPrompt };
  const refuse = (why: string): TrainingError => new TrainingError('REQUEST_INVALID', why);
  if (epochs !== undefined && steps !== undefined) throw refuse('give epochs or steps, not both');
  if (isOwn && !separate) {
    throw refuse(
      'a query tower of another kind, start or training than the document tower has weights of its own: leave separate ' +
        'out, or say true',
    );
  }
  if (plan.workers > 1 && (queryStudent?.kind === 'lookup' || plan.frozenDocuments)) {
    throw refuse(
      'a lookup, or documents that stay as they are, are trained by one process: leave workers out',
    );
  }
  if (queryStudent?.kind === 'lookup' && plan.precision !== 'fp32') {
    throw refuse('a lookup that is trained end to end is written in fp32: leave the precision out');
  }
  if (!(plan.temperature > 0)) throw refuse(`the temperature is ${plan.temperature}; it must be above 0`);
  if (!(plan.batch >= 2)) throw refuse(`a batch of ${plan.batch} has no negatives; 2 pairs at the least`);
  return plan;
}

/** What a run shares with the run that it resumes. Workers and threads may differ: they move only the last digits. */
function settingsOf(plan: TrainPlan, base: LocalTower, pairs: PairSet, steps: number): Settings {
  const { workers: _, epochs: __, ...rest } = plan;
  return {
    base: base.manifest.space.fingerprint,
    pairs: pairs.sha256.slice(0, 16),
    trained: pairs.train.length,
    ...rest,
    steps,
    queryStudent: plan.queryStudent === undefined ? 'all' : nameOf(plan.queryStudent),
    queryPrompt: plan.queryPrompt ?? 'that of the base',
    documentPrompt: plan.documentPrompt ?? 'that of the base',
  };
}
