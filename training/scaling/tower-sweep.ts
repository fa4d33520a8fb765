import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { Batches } from '../batches.ts';
import { TrainingError } from '../errors.ts';
import { firstSteps } from '../first-steps.ts';
import { parameterCount } from '../onnx/parameters.ts';
import { makeFolder, type Settings } from '../run-folder.ts';
import { trainingFlops } from '../stage1/compute.ts';
import { type Encoder, encoderOf } from '../stage1/encoder.ts';
import type { EncoderName, Side } from '../stage1/replica.ts';
import { trainablePooling } from '../trainable.ts';
import { type Choice, choose, type Load, type Member, type SizeRange, targetsBetween } from './cheapest.ts';
import { type Estimate, type FitSummary, summaryOf } from './fit.ts';
import {
  finished,
  type Given,
  measureOnce,
  NEGATIVES,
  type PointSettings,
  prepareSweep,
  settingsOf,
  TEMPERATURE,
  trainPoint,
} from './train-point.ts';
import { fitTowers, type TowerConstant } from './tower-law.ts';
import { type Weak, weaklyIdentified } from './weak.ts';

/** A tower of the family: layers of the base and components of its tokens' vectors, its weights random. */
export interface TowerSize {
  layers: number;
  /** `full`: as many as the base has. */
  width: number | 'full';
}

/** Two towers that are trained together, and on how much. */
export interface TowersPoint {
  document: TowerSize;
  query: TowerSize;
  pairs: number;
}

/** What to sweep, and what to choose for. */
export interface TowersRequest extends PointSettings {
  points: readonly TowersPoint[];
  /** Kept from the fit, and predicted. */
  heldOut: TowersPoint;
  /** Minutes that training may take by the plan. */
  maxMinutes: number;
  /** What is read, but for tokens of a query that is undefined: then as many as held-out queries have. */
  load: Omit<Load, 'tokensPerQuery'> & { tokensPerQuery?: number | undefined };
  /** Queries per second to choose for. */
  rates: readonly number[];
  /** Entropies to choose for. @default three between those of the largest and of the smallest pair */
  entropies?: readonly number[] | undefined;
}

const TowerSizeSchema = z.object({
  layers: z.number(),
  width: z.union([z.number(), z.literal('full')]),
  /** Weights that every token passes through. */
  parameters: z.number(),
});

const MeasuredTowers = z.object({
  document: TowerSizeSchema,
  query: TowerSizeSchema,
  pairs: z.number(),
  steps: z.number(),
  entropy: z.number(),
  seconds: z.number(),
  /** Of training, an estimate. */
  operations: z.number(),
});
export type MeasuredTowers = z.infer<typeof MeasuredTowers>;

/** The result of a sweep. */
export interface TowersReport {
  base: string;
  /** Negatives of each held-out query. */
  negatives: number;
  temperature: number;
  points: MeasuredTowers[];
  law: FitSummary<TowerConstant>;
  /** Constants that the points say little about. */
  weak: Weak[];
  heldOut: MeasuredTowers & {
    /** The law's prediction; it was fitted without this point. */
    predicted: Estimate;
    within: boolean;
  };
  /** What towers were chosen for. */
  load: Load;
  /** Training pairs that the law was asked at: the most of the sweep. */
  pairs: number;
  /** Weights of the smallest and of the largest towers that were measured. */
  range: SizeRange;
  choices: Choice[];
  /** Of training. */
  seconds: number;
  operations: number;
}

/**
 * Trains a document tower and a query tower together from random weights, at sizes of their own and on data of many sizes,
 * each pair once; fits L(N_document, N_query, D) to their contrastive entropy on held-out pairs, says what is weakly
 * identified, and reads off the cheapest pair for each rate of queries. The plan is logged before the first point.
 *
 * @throws {TrainingError} `PAIRS_INVALID`; `REQUEST_INVALID` for a plan of more minutes than allowed, and for points on
 *   too few pairs; what the signal says
 */
export async function sweepTowers(request: TowersRequest): Promise<TowersReport> {
  const all = [...request.points, request.heldOut];
  const least = Math.min(...all.map(({ pairs }) => pairs));
  if (least < LEAST_STEPS * request.batch) {
    throw new TrainingError(
      'REQUEST_INVALID',
      `the fewest pairs of the sweep are ${least}, less than ${LEAST_STEPS} steps of ${request.batch}: give more --data, ` +
        'or a smaller --batch',
    );
  }
  const given = await prepareSweep(request, Math.max(...all.map(({ pairs }) => pairs)));
  const family = new Family(given);
  await announce(given, family, request);
  const points: MeasuredTowers[] = [];
  for (const point of request.points) {
    if (describeTowers(point) !== describeTowers(request.heldOut)) {
      points.push(await measure(given, family, point));
    }
  }
  const hidden = await measure(given, family, request.heldOut);
  const groups = await given.heldOut();
  const { tokensPerQuery = meanLength(groups.flatMap(({ texts }) => texts.queries)), ...load } = request.load;
  const choice = { ...request, load: { ...load, tokensPerQuery } };
  return { base: request.base, ...reportOf(points, hidden, choice) };
}

/** The plan takes so many steps to measure, and a schedule wants no fewer. */
const LEAST_STEPS = 4;

/** Fits the law to points, asks it for a point that it has not seen, and chooses towers by it. */
export function reportOf(
  points: readonly MeasuredTowers[],
  hidden: MeasuredTowers,
  request: Pick<TowersRequest, 'rates' | 'entropies'> & { load: Load },
): Omit<TowersReport, 'base'> {
  const fit = fitTowers(points.map(placeOf));
  const predicted = fit.predict(placeOf(hidden));
  const [low, high] = predicted.interval;
  const pairs = Math.max(...points.map((point) => point.pairs));
  const family = { document: membersOf(points, 'document'), query: membersOf(points, 'query') };
  const ends = (members: readonly Member[]): [number, number] => [
    members[0]!.parameters,
    members.at(-1)!.parameters,
  ];
  const range = { document: ends(family.document), query: ends(family.query) };
  const { load, rates, entropies = targetsBetween(fit.best, range, pairs) } = request;
  const measured = [...points, hidden];
  return {
    negatives: NEGATIVES,
    temperature: TEMPERATURE,
    points: [...points],
    law: summaryOf(fit),
    weak: [...weaklyIdentified(fit), ...nearNothing(points)],
    heldOut: { ...hidden, predicted, within: low <= hidden.entropy && hidden.entropy <= high },
    load,
    pairs,
    range,
    choices: choose(fit, { load, range, family, pairs, entropies, rates }),
    seconds: measured.reduce((sum, { seconds }) => sum + seconds, 0),
    operations: measured.reduce((sum, { operations }) => sum + operations, 0),
  };
}

/** Entropies this near to that of towers that know nothing bend away from any power law, in nats. */
const NEAR_NOTHING = 0.15;

function nearNothing(points: readonly MeasuredTowers[]): Weak[] {
  const most = Math.log(NEGATIVES + 1);
  const near = points.filter(({ entropy }) => entropy > most - NEAR_NOTHING);
  if (near.length === 0) return [];
  return [
    {
      constants: ['C', 'gamma', 'delta'],
      why:
        `${near.length} of ${points.length} points are within ${NEAR_NOTHING} of ${most.toFixed(3)}, the entropy of towers that ` +
        'know nothing, which no power law stops at: give more --data',
    },
  ];
}

function placeOf({ document, query, pairs, entropy }: MeasuredTowers) {
  return { document: document.parameters, query: query.parameters, pairs, entropy };
}

/** Towers of a side, the smallest first. */
function membersOf(points: readonly MeasuredTowers[], side: Side): Member[] {
  const found = new Map(points.map((point) => [nameOf(point[side]), point[side].parameters]));
  return [...found]
    .map(([name, parameters]) => ({ name, parameters }))
    .sort((a, b) => a.parameters - b.parameters);
}

export function nameOf({ layers, width }: TowerSize): string {
  return `${layers} × ${width}`;
}

export function describeTowers({ document, query, pairs }: TowersPoint): string {
  return `document tower ${nameOf(document)}, query tower ${nameOf(query)}, ${pairs} pairs`;
}

/** Seeds of the sides differ, so that no two towers start from the same weights: not even two of one size. */
const SIDE_SEEDS = { document: 0, query: 500_009 } as const;

/** The towers of a family before they are trained, made once each. */
class Family {
  readonly #given: Given;
  readonly #made = new Map<string, Promise<Encoder>>();

  constructor(given: Given) {
    this.#given = given;
  }

  async encoders({
    document,
    query,
  }: Pick<TowersPoint, 'document' | 'query'>): Promise<Map<EncoderName, Encoder>> {
    return new Map([
      ['query', await this.#encoder('query', query)],
      ['document', await this.#encoder('document', document)],
    ]);
  }

  #encoder(side: Side, { layers, width }: TowerSize): Promise<Encoder> {
    const key = `${side} ${nameOf({ layers, width })}`;
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const { base, model, output, request } = this.#given;
    const made = encoderOf(model, output, {
      pooling: trainablePooling(base.manifest),
      dimensions: base.manifest.dimensions,
      layers,
      width: width === 'full' ? undefined : width,
      randomSeed: request.seed + SIDE_SEEDS[side],
      trainTables: true,
    });
    this.#made.set(key, made);
    return made;
  }
}

function pointSettings(given: Given, { document, query, pairs }: TowersPoint): Settings {
  return { ...settingsOf(given), start: 'random', document: nameOf(document), query: nameOf(query), pairs };
}

/** Measures a point, or reads it from an earlier run. */
function measure(given: Given, family: Family, point: TowersPoint): Promise<MeasuredTowers> {
  const settings = pointSettings(given, point);
  return measureOnce(given, settings, MeasuredTowers, async (folder) => {
    given.log(`training ${describeTowers(point)}`);
    const encoders = await family.encoders(point);
    const trained = await trainPoint(given, encoders, { pairs: point.pairs, folder, settings });
    const sized = (side: Side) => {
      const { model, matrices } = encoders.get(side)!;
      return { ...point[side], parameters: parameterCount(model, matrices) };
    };
    given.log(`${describeTowers(point)}: entropy ${trained.entropy.toFixed(4)}`);
    return { document: sized('document'), query: sized('query'), pairs: point.pairs, ...trained };
  });
}

/** Says what is left to do and how long it takes, as the first steps of each size took. */
async function announce(
  given: Given,
  family: Family,
  { points, heldOut, maxMinutes, batch, signal }: TowersRequest,
): Promise<void> {
  const { log, out } = given;
  const left: TowersPoint[] = [];
  for (const point of [...points, heldOut]) {
    const known = await finished(given, pointSettings(given, point), MeasuredTowers);
    if (known === undefined) left.push(point);
  }
  const count = `${points.length} points and one held out`;
  if (left.length === 0) {
    log(`plan: ${count}, all of them measured before`);
    return;
  }
  const most = Math.max(...left.map(({ pairs }) => pairs));
  const trial = join(out, 'trial');
  const seconds = new Map<string, number>();
  const sizes = left.flatMap(({ document, query }) => [document, query]);
  for (const size of new Map(sizes.map((each) => [nameOf(each), each])).values()) {
    const point = { document: size, query: size, pairs: most };
    const settings = { ...pointSettings(given, point), trial: 1 };
    await rm(trial, { recursive: true, force: true });
    await makeFolder(trial);
    const encoders = await family.encoders(point);
    const taken = await firstSteps(signal, (stop, onProgress) =>
      trainPoint(given, encoders, { pairs: most, folder: trial, settings, signal: stop, onProgress }),
    );
    seconds.set(nameOf(size), taken);
  }
  await rm(trial, { recursive: true, force: true });
  const { texts } = await given.train(most);
  const [query, document] = [meanLength(texts.queries), meanLength(texts.documents)];
  const share = document / (document + query);
  let [operations, minutes] = [0, 0];
  for (const point of left) {
    const { pairs, texts: own } = await given.train(point.pairs);
    const batches = new Batches([...pairs.keys()], { size: batch, seed: given.request.seed });
    operations += trainingFlops(await family.encoders(point), own, batches, batches.perEpoch);
    // Of two towers of one size each takes its share by the tokens that it reads.
    const step =
      share * seconds.get(nameOf(point.document))! + (1 - share) * seconds.get(nameOf(point.query))!;
    minutes += (batches.perEpoch * step) / 60;
  }
  log(
    `plan: ${count}, ${left.length} of them to train: ${operations.toExponential(1)} operations, about ` +
      `${minutes.toFixed(1)} minutes as the first steps went`,
  );
  if (minutes > maxMinutes) {
    throw new TrainingError(
      'REQUEST_INVALID',
      `the plan takes about ${Math.ceil(minutes)} minutes, and --max-minutes is ${maxMinutes}: allow more, take the ` +
        'small grid (--small), or give less --data',
    );
  }
}

function meanLength(texts: readonly (readonly number[])[]): number {
  return texts.reduce((sum, { length }) => sum + length, 0) / texts.length;
}
