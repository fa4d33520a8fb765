import * as z from 'zod';
import { TowerError } from '../errors.ts';
import {
  type Drift,
  driftOf,
  encodeProbes,
  type Golden,
  type ProbedTower,
  requireDirections,
  TOLERANCE_CEILING,
  TOLERANCE_FLOOR,
  vectorsOf,
} from './golden.ts';
import { PROBE_LISTS, PROBES_VERSION } from './probes.ts';
import { cosineDistance, fromBytes, rowsOf, toBytes } from './vectors.ts';
import { hereOn, Where } from './where.ts';

/** A collection keeps the vectors of each third probe: a model that computes differently does so with every text. */
const EVERY = 3;

/**
 * Most numbers of a vector that a collection keeps. What has more is projected: 21 vectors take 8 KB, 11 KB in base64,
 * whatever the model; those of 4 096 dimensions would take 86 KB, which Qdrant sends along whenever it describes the
 * collection.
 */
export const SKETCH_DIMENSIONS = 384;

/**
 * A projected distance is the true one times 1 ± √(2/384) = 7 %. So much more than the tolerance may a projected one be:
 * four standard deviations.
 */
const PROJECTION_SLACK = 1.3;

/** What a collection keeps of how the model encoded when it was made. */
export const Sketch = z.strictObject({
  /** Which list of probes. */
  probes: z.int().positive(),
  /** Of the model. */
  dimensions: z.int().positive(),
  tolerance: z.number().min(TOLERANCE_FLOOR).max(TOLERANCE_CEILING),
  recordedAt: z.iso.datetime(),
  recordedOn: Where,
  /** Of every third probe: as many numbers as the model has dimensions, or {@link SKETCH_DIMENSIONS}; 8 bits each. */
  vectors: z.base64(),
});
export type Sketch = z.infer<typeof Sketch>;

/** The vectors of probes, by their place in a list: those that were measured. */
export interface Measured {
  /** Of the list. */
  probes: number;
  vectors: ReadonlyMap<number, Float32Array>;
}

/** Encodes all probes of a list, as {@link compareGolden} wants them. */
export async function measureAll(
  tower: ProbedTower,
  version: number,
  signal?: AbortSignal,
): Promise<Measured> {
  const vectors = await encodeProbes(tower, { version, signal });
  return { probes: version, vectors: new Map(vectors.entries()) };
}

/**
 * Encodes the probes that a collection keeps, one after the other, so that no neighbour moves them: what one machine
 * computes differently from another shows in any text.
 */
export async function measureSome(tower: ProbedTower, signal?: AbortSignal): Promise<Measured> {
  const vectors = new Map<number, Float32Array>();
  const { space } = tower.manifest;
  for (const [index, text] of PROBE_LISTS.get(PROBES_VERSION)!.entries()) {
    if (index % EVERY !== 0) continue;
    const tokens = await tower.tokenizeAll([text], { prompt: space.documentPrompt });
    vectors.set(index, await tower.encodeAll(tokens, { signal }));
  }
  return { probes: PROBES_VERSION, vectors };
}

/** What {@link measureAll} gave when a record was made. */
export function measuredOf(golden: Golden): Measured {
  return { probes: golden.probes, vectors: new Map(vectorsOf(golden).entries()) };
}

/** What a new collection keeps, as text. @throws {TowerError} `TOWER_UNSTABLE` for a vector without direction */
export function sketchText(
  measured: Measured,
  tower: Pick<ProbedTower, 'manifest' | 'device'>,
  golden?: Golden,
): string {
  const { dimensions } = tower.manifest;
  const rows = kept(measured);
  requireDirections(rows, tower.manifest.name);
  const sketch: Sketch = {
    probes: measured.probes,
    dimensions,
    tolerance: golden?.tolerance ?? TOLERANCE_FLOOR,
    recordedAt: golden?.recordedAt ?? new Date().toISOString(),
    recordedOn: golden?.recordedOn ?? hereOn(tower.device),
    vectors: toBytes(rows.map(projected)).toString('base64'),
  };
  return JSON.stringify(sketch);
}

/** @throws {TowerError} `TOWER_MANIFEST_INVALID` for what this version can't read */
export function parseSketch(text: string): Sketch {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw unreadable(String(error));
  }
  const parsed = Sketch.safeParse(value);
  if (!parsed.success) throw unreadable(z.prettifyError(parsed.error));
  const { probes, dimensions, vectors } = parsed.data;
  const list = PROBE_LISTS.get(probes);
  if (list === undefined) throw unreadable(`probes: list ${probes} is not known here`);
  const wanted = Math.ceil(list.length / EVERY) * Math.min(dimensions, SKETCH_DIMENSIONS);
  const numbers = Buffer.from(vectors, 'base64').length;
  if (numbers !== wanted) throw unreadable(`vectors: are ${numbers} numbers, and must be ${wanted}`);
  return parsed.data;
}

/** How far a model is from what a collection keeps. @throws {TowerError} where they can't be compared */
export function compareSketch(measured: Measured, sketch: Sketch): Drift {
  const { probes, dimensions, tolerance } = sketch;
  const rows = kept(measured);
  if (measured.probes !== probes) {
    throw unreadable(`probes: list ${probes} was not encoded, list ${measured.probes} was`);
  }
  if (rows[0]!.length !== dimensions) {
    throw unreadable(`dimensions: are ${dimensions}, and the model gives ${rows[0]!.length}`);
  }
  const width = Math.min(dimensions, SKETCH_DIMENSIONS);
  const recorded = rowsOf(fromBytes(Buffer.from(sketch.vectors, 'base64')), width);
  const distances = rows.map((row, index) => cosineDistance(projected(row), recorded[index]!));
  return driftOf(distances, dimensions > SKETCH_DIMENSIONS ? tolerance * PROJECTION_SLACK : tolerance);
}

function kept({ vectors }: Measured): Float32Array[] {
  return [...vectors].filter(([index]) => index % EVERY === 0).map(([, vector]) => vector);
}

/** Sums of the components with fixed random signs, one sum a number that is kept. */
function projected(vector: Float32Array): Float32Array {
  if (vector.length <= SKETCH_DIMENSIONS) return vector;
  const sums = new Float32Array(SKETCH_DIMENSIONS);
  let state = 1;
  for (let row = 0; row < SKETCH_DIMENSIONS; row++) {
    let sum = 0;
    for (let column = 0; column < vector.length; column++) {
      // Xorshift, 32 bits: the same signs everywhere and for ever.
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      sum += state < 0 ? -vector[column]! : vector[column]!;
    }
    sums[row] = sum;
  }
  return sums;
}

function unreadable(why: string): TowerError {
  return new TowerError('TOWER_MANIFEST_INVALID', `the golden vectors of a collection can't be used: ${why}`);
}
