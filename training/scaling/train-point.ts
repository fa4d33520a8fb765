import { createHash } from 'node:crypto';
import { join, resolve } from 'node:path';
import type * as z from 'zod';
import { type LocalTower, pullTower } from '../../towers/pull.ts';
import { Batches } from '../batches.ts';
import { TrainingError } from '../errors.ts';
import type { Model } from '../onnx/model.ts';
import { trainingFlops } from '../stage1/compute.ts';
import { Contrast, exclusions } from '../stage1/contrast.ts';
import type { Encoder } from '../stage1/encoder.ts';
import { keyOf, type Pair, type PairTokens, readPairs } from '../stage1/pairs.ts';
import { type EncoderName, LocalReplica } from '../stage1/replica.ts';
import { tokenize } from '../stage1/request.ts';
import { readRunCheckpoint, runSteps, type TrainProgress } from '../stage1/run-steps.ts';
import {
  hasCheckpoint,
  makeFolder,
  readJson,
  removeCheckpoint,
  type Settings,
  writeJson,
} from '../run-folder.ts';
import { readTowerGraph } from '../tower-folder.ts';
import { trainablePooling } from '../trainable.ts';

/** Settings of all points of a sweep. */
export interface PointSettings {
  /** Reference of the tower that the models are made of. */
  base: string;
  /** JSON Lines of pairs. */
  pairs: string;
  /** Folder of finished points, which are not measured again. */
  out: string;
  /** Pairs of a step. */
  batch: number;
  /** Peak learning rate. */
  rate: number;
  seed: number;
  cacheDir?: string | undefined;
  threads?: number | undefined;
  signal?: AbortSignal | undefined;
  log?: (message: string) => void;
}

/** Divisor of the scores, in training and in the entropy. */
export const TEMPERATURE = 0.05;

/** Share of the steps in which the learning rate rises. */
const WARMUP = 0.1;

/** Queries of the entropy, in groups whose documents are each other's negatives: 255 each, as in the paper. */
const GROUP = 256;
const GROUPS = 7;

/** Negatives of each held-out query. */
export const NEGATIVES = GROUP - 1;

/** Longest text, in tokens. */
const MAX_TOKENS = 48;

/** What all points of a sweep are measured with. */
export interface Given {
  request: PointSettings;
  base: LocalTower;
  model: Model;
  output: string;
  sha256: string;
  out: string;
  log: (message: string) => void;
  /** The first pairs to train on, with their tokens: those of fewer pairs are among those of more. */
  train: (pairs: number) => Promise<{ pairs: readonly Pair[]; texts: PairTokens }>;
  /** Groups of held-out pairs. */
  heldOut: () => Promise<readonly { pairs: readonly Pair[]; texts: PairTokens }[]>;
}

/** The graph of the tower that models are made of. */
export async function readBase(reference: string, cacheDir: string | undefined) {
  const base = await pullTower(reference, { cacheDir });
  return { base, ...(await readTowerGraph(base.directory)) };
}

/**
 * Reads what a sweep needs, and makes its folder. Texts become tokens once they are asked for.
 *
 * @param most - pairs of the point that has most
 * @throws {TrainingError} `PAIRS_INVALID` where there are fewer pairs, or too few held out
 */
export async function prepareSweep(request: PointSettings, most: number): Promise<Given> {
  const { log = () => {} } = request;
  const { base, model, output } = await readBase(request.base, request.cacheDir);
  const { train, heldOut, sha256 } = await readPairs(request.pairs, request.seed);
  if (train.length < most || heldOut.length < GROUP) {
    throw new TrainingError(
      'PAIRS_INVALID',
      `${request.pairs} has ${train.length} pairs to train on and ${heldOut.length} held out; the sweep needs ` +
        `${most} and ${GROUP}: give less --data, or more pairs`,
    );
  }
  const out = resolve(request.out);
  await makeFolder(out);
  const withTexts = async (pairs: readonly Pair[]) => ({ pairs, texts: await tokensOf(base, pairs) });
  const groups = Math.min(GROUPS, Math.floor(heldOut.length / GROUP));
  let trained: ReturnType<typeof withTexts> | undefined;
  let measured: Promise<Awaited<ReturnType<typeof withTexts>>[]> | undefined;
  return {
    request,
    base,
    model,
    output,
    sha256,
    out,
    log,
    train: async (count) => {
      const { pairs, texts } = await (trained ??= withTexts(train.slice(0, most)));
      const { queries, documents, document } = texts;
      return {
        pairs: pairs.slice(0, count),
        texts: { queries: queries.slice(0, count), documents: documents.slice(0, count), document },
      };
    },
    heldOut: () =>
      (measured ??= Promise.all(
        Array.from({ length: groups }, (_, group) =>
          withTexts(heldOut.slice(group * GROUP, (group + 1) * GROUP)),
        ),
      )),
  };
}

function tokensOf(base: LocalTower, pairs: readonly Pair[]): Promise<PairTokens> {
  const { queryPrompt, prompt, space } = base.manifest;
  const prompts = { query: queryPrompt ?? prompt, document: space.documentPrompt };
  return tokenize(base, pairs, prompts, MAX_TOKENS);
}

/** What a point was measured with, besides what is of its own: the key of its file. */
export function settingsOf({ base, sha256, request }: Given): Settings {
  const { batch, rate, seed } = request;
  return { base: base.manifest.space.fingerprint, data: sha256, batch, rate, seed };
}

/** The file of a finished point, and the folder of one that is not. */
function placeOf({ out }: Given, settings: Settings): { file: string; folder: string } {
  const key = createHash('sha256').update(JSON.stringify(settings)).digest('hex').slice(0, 12);
  return { file: join(out, `point-${key}.json`), folder: join(out, `point-${key}`) };
}

/** A finished point; undefined where there is none. */
export async function finished<T>(
  given: Given,
  settings: Settings,
  schema: z.ZodType<T>,
): Promise<T | undefined> {
  const known = await readJson(placeOf(given, settings).file);
  return known === undefined ? undefined : schema.parse(known);
}

/** Measures a point, or reads it from an earlier run. A point that was broken off goes on. */
export async function measureOnce<T>(
  given: Given,
  settings: Settings,
  schema: z.ZodType<T>,
  run: (folder: string) => Promise<T>,
): Promise<T> {
  const known = await finished(given, settings, schema);
  if (known !== undefined) return known;
  const { file, folder } = placeOf(given, settings);
  await makeFolder(folder);
  const measured = await run(folder);
  await writeJson(file, measured);
  await removeCheckpoint(folder);
  return measured;
}

/** What training and measuring a point has come to. */
export interface Trained {
  steps: number;
  /** Contrastive entropy on held-out pairs, in nats. */
  entropy: number;
  /** Of training. */
  seconds: number;
  /** Operations of training, an estimate: two a weight and token forward. */
  operations: number;
}

/** Trains encoders on the first pairs of a sweep, each once, from the checkpoint in the folder where there is one, and measures them. */
export async function trainPoint(
  given: Given,
  encoders: ReadonlyMap<EncoderName, Encoder>,
  point: {
    pairs: number;
    folder: string;
    settings: Settings;
    signal?: AbortSignal | undefined;
    onProgress?: (progress: TrainProgress) => void;
  },
): Promise<Trained> {
  const { base, log } = given;
  const { batch, rate, seed, threads } = given.request;
  const { folder, settings, signal = given.request.signal, onProgress } = point;
  const { dimensions, normalize } = base.manifest;
  const { pairs, texts } = await given.train(point.pairs);
  const batches = new Batches([...pairs.keys()], { size: batch, seed });
  const steps = batches.perEpoch;
  const plan = {
    directory: base.directory,
    manifest: { pooling: trainablePooling(base.manifest), dimensions },
    shared: encoders.has('shared'),
    queryStudent: undefined,
    trainTables: false,
    optimizer: { rate, steps, warmup: Math.ceil(steps * WARMUP) },
    threads,
  };
  const resumed = (await hasCheckpoint(folder)) ? await readRunCheckpoint(folder, settings) : undefined;
  const replica = await LocalReplica.open(plan, { encoders, state: resumed?.tensors.state });
  const contrast = await Contrast.open({ dimensions, normalize, temperature: TEMPERATURE }, threads);
  try {
    const run = { replica, contrast, pairs, texts, batches, steps, normalize, dimensions, threads };
    const none = { negatives: 0, mined: 0, margin: 0 };
    const { elapsedMs } = await runSteps({
      ...run,
      ...none,
      folder,
      settings,
      resumed,
      signal,
      log,
      onProgress,
    });
    return {
      steps,
      entropy: await entropyOf(given, replica, contrast),
      seconds: elapsedMs / 1000,
      operations: trainingFlops(encoders, texts, batches, steps),
    };
  } finally {
    await contrast.close();
    await replica.close();
  }
}

/** Mean over held-out queries of −log of the softmax that their own document gets among those of their group. */
async function entropyOf(given: Given, replica: LocalReplica, contrast: Contrast): Promise<number> {
  const groups = await given.heldOut();
  let sum = 0;
  for (const { pairs, texts } of groups) {
    const { loss } = await contrast.run(
      await replica.encode('query', texts.queries),
      await replica.encode('document', texts.documents),
      exclusions(
        pairs.map(({ query }) => keyOf(query)),
        pairs.map(({ document }) => keyOf(document)),
      ),
    );
    sum += loss;
  }
  return sum / groups.length;
}
