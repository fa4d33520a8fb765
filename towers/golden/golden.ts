import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { TowerError } from '../errors.ts';
import { canonicalJson, writeWhole } from '../json.ts';
import type { TowerManifest } from '../manifest.ts';
import type { Tower } from '../tower.ts';
import { cosineDistance, fromFixed, rowsOf, toFixed } from './vectors.ts';
import { PROBE_LISTS, PROBES, PROBES_VERSION } from './probes.ts';
import { hereOn, Where } from './where.ts';

export { PROBES, PROBES_VERSION } from './probes.ts';

/** Name of the file with a tower's golden vectors, in the tower's folder and among the `files` of its manifest. */
export const GOLDEN_FILE = 'golden.json';

/**
 * Least tolerance, as a cosine distance: what one model moves between machines. Where 4-bit weights are multiplied with
 * 8-bit accumulation, as in the default tower, x86-64 and arm64 round differently: vectors lie up to 0.026 and 0.050 from
 * those of float32 arithmetic, thus 0.056 from each other, which is a cosine distance of 0.0016.
 */
export const TOLERANCE_FLOOR = 0.002;

/**
 * Most tolerance. Two quantisations of one model differ by about as much: a model that moves further by itself can't be
 * told from another one.
 */
export const TOLERANCE_CEILING = 0.02;

/** The tolerance is so many times what the model moved while it was recorded: the next time it may move a bit more. */
export const TOLERANCE_MARGIN = 2;

/** `golden.json`: how a model encoded the probes when its space was made. */
export const Golden = z.strictObject({
  /** Which list of probes: see `probes.ts`. */
  probes: z
    .int()
    .refine((version) => PROBE_LISTS.has(version), 'is a list of probes that this version does not have'),
  dimensions: z.int().positive(),
  /** Cosine distance up to which a vector counts as the same. */
  tolerance: z.number().min(TOLERANCE_FLOOR).max(TOLERANCE_CEILING),
  /** The largest cosine distance between two encodings of one probe while it was recorded: alone, and with others. */
  moved: z.number().nonnegative(),
  recordedAt: z.iso.datetime(),
  recordedOn: Where,
  /** The probes' vectors at unit length: a component is a whole number of 1/32767, 16 bits, little end first; base64. */
  vectors: z.base64(),
});
export type Golden = z.infer<typeof Golden>;

/** How far a model is from a record. */
export interface Drift {
  /** Whether any probe is further off than the tolerance. */
  drifted: boolean;
  /** The largest cosine distance; infinite where a vector has no direction. */
  worst: number;
  median: number;
  tolerance: number;
  /** How many probes were compared. */
  probes: number;
}

/** What is needed of a tower. */
export type ProbedTower = Pick<Tower, 'manifest' | 'tokenizeAll' | 'encodeAll'> &
  Partial<Pick<Tower, 'device'>>;

/**
 * Encodes the probes several times, alone and with others, and records their vectors with how far they moved meanwhile.
 * Each time is a pass over the probes: the cost is four times that of {@link encodeProbes}.
 *
 * @param options.where what computes, where that is not this machine
 * @throws {TowerError} `TOWER_UNSTABLE` where the model moves more than any tolerance allows; what encoding throws
 */
export async function recordGolden(
  tower: ProbedTower,
  options: { where?: Partial<Where>; signal?: AbortSignal | undefined } = {},
): Promise<Golden> {
  const { signal } = options;
  const { dimensions, name } = tower.manifest;
  const together = await encodeProbes(tower, { signal });
  const others = [
    await encodeInParts(
      tower,
      PROBES.map((_, index) => [index]),
      signal,
    ),
    await encodeInParts(tower, interleaved(PROBES.length, 2), signal),
    await encodeInParts(tower, interleaved(PROBES.length, 7), signal),
  ];
  const passes = [together, ...others];
  requireDirections(together, name);
  let moved = 0;
  for (const [index, pass] of passes.entries()) {
    for (const other of passes.slice(index + 1)) moved = Math.max(moved, worstOf(distances(pass, other)));
  }
  const tolerance = Math.max(TOLERANCE_FLOOR, TOLERANCE_MARGIN * moved);
  if (!(tolerance <= TOLERANCE_CEILING)) {
    throw new TowerError(
      'TOWER_UNSTABLE',
      `${name} moves by itself: one text, encoded alone and with others, gave vectors a cosine distance of ` +
        `${shown(moved)} apart, and more than ${TOLERANCE_CEILING / TOLERANCE_MARGIN} can't be told from another model; ` +
        'have it encode one text at a time, or use an export that is not dynamically quantised',
    );
  }
  return {
    probes: PROBES_VERSION,
    dimensions,
    tolerance,
    moved,
    recordedAt: new Date().toISOString(),
    recordedOn: { ...hereOn(tower.device), ...options.where },
    vectors: toFixed(together).toString('base64'),
  };
}

/**
 * The probes' vectors as the tower makes them now, all in one call.
 *
 * @param options.version of the list of probes
 */
export async function encodeProbes(
  tower: ProbedTower,
  { version = PROBES_VERSION, signal }: { version?: number; signal?: AbortSignal | undefined } = {},
): Promise<Float32Array[]> {
  return encodeTexts(tower, PROBE_LISTS.get(version)!, signal);
}

/** Encodes the probes again. @throws {TowerError} what encoding throws; `TOWER_MANIFEST_INVALID` for a record of another tower */
export async function compareGolden(
  tower: ProbedTower,
  golden: Golden,
  { signal }: { signal?: AbortSignal } = {},
): Promise<Drift> {
  return compareVectors(await encodeProbes(tower, { version: golden.probes, signal }), golden);
}

/** {@link compareGolden} of vectors that are there already. */
export function compareVectors(measured: readonly Float32Array[], golden: Golden): Drift {
  const recorded = vectorsOf(golden);
  const { tolerance } = golden;
  if (recorded.length !== measured.length || recorded[0]!.length !== measured[0]!.length) {
    const [ours, theirs] = [recorded, measured].map((rows) => `${rows.length} × ${rows[0]!.length}`);
    throw new TowerError(
      'TOWER_MANIFEST_INVALID',
      `${GOLDEN_FILE} has ${ours} numbers and the model gives ${theirs}: it is the record of another model`,
    );
  }
  return driftOf(distances(measured, recorded), tolerance);
}

/** @throws {TowerError} `TOWER_UNSTABLE` where a vector is all zero or not finite */
export function requireDirections(rows: readonly Float32Array[], name: string): void {
  const flawed = rows.findIndex((row) => !Number.isFinite(cosineDistance(row, row)));
  if (flawed < 0) return;
  throw new TowerError(
    'TOWER_UNSTABLE',
    `${name} gives probe ${flawed + 1} of ${rows.length} a vector without direction: all zero, or not finite`,
  );
}

/** What distances to a record say. */
export function driftOf(each: readonly number[], tolerance: number): Drift {
  const worst = worstOf(each);
  const sorted = each.toSorted((a, b) => a - b);
  const median = sorted[sorted.length >>> 1] ?? 0;
  return { drifted: !(worst <= tolerance), worst, median, tolerance, probes: each.length };
}

/**
 * The identity of golden vectors, which stands in the space of a model that can't be hashed: sha256 over the version of
 * the list, the dimensions and the vectors. When, where and how exactly they were recorded is not part of it.
 */
export function hashGolden({ probes, dimensions, vectors }: Golden): string {
  return createHash('sha256').update(canonicalJson({ probes, dimensions, vectors })).digest('hex');
}

/** The text of `golden.json`. */
export function goldenText(golden: Golden): string {
  return `${JSON.stringify(golden, undefined, 2)}\n`;
}

/** Writes `golden.json`. @returns the sha256 of the file, for the `files` of the manifest */
export async function writeGolden(directory: string, golden: Golden): Promise<string> {
  const text = goldenText(Golden.parse(golden));
  await writeWhole(join(directory, GOLDEN_FILE), text);
  return createHash('sha256').update(text).digest('hex');
}

/**
 * The golden vectors that a tower came with; `undefined` where it came with none.
 *
 * @throws {TowerError} `TOWER_MANIFEST_INVALID`, `TOWER_NOT_FOUND`
 */
export async function readGolden({
  directory,
  manifest,
}: {
  directory: string;
  manifest: Pick<TowerManifest, 'dimensions' | 'files' | 'space'>;
}): Promise<Golden | undefined> {
  if (manifest.files[GOLDEN_FILE] === undefined && manifest.space.golden === undefined) return undefined;
  const path = join(directory, GOLDEN_FILE);
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new TowerError('TOWER_NOT_FOUND', `${path} can't be read: ${String(cause)}`, { cause });
  });
  const golden = parseGolden(text, path);
  const { dimensions, space } = manifest;
  const invalid = (why: string): TowerError => new TowerError('TOWER_MANIFEST_INVALID', `${path} ${why}`);
  if (golden.dimensions !== dimensions) {
    throw invalid(`has ${golden.dimensions} dimensions, and the tower has ${dimensions}`);
  }
  if (space.golden !== undefined && hashGolden(golden) !== space.golden) {
    throw invalid('does not hold the vectors that the space names; fetch the tower again');
  }
  return golden;
}

/** @param where what to call it in an error @throws {TowerError} `TOWER_MANIFEST_INVALID` */
export function parseGolden(text: string, where: string): Golden {
  const invalid = (why: string, cause?: unknown): TowerError =>
    new TowerError('TOWER_MANIFEST_INVALID', `${where} is no record of golden vectors:\n${why}`, { cause });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(String(error), error);
  }
  const parsed = Golden.safeParse(value);
  if (!parsed.success) throw invalid(z.prettifyError(parsed.error), parsed.error);
  const { probes, dimensions, vectors } = parsed.data;
  const numbers = Buffer.from(vectors, 'base64').length / 2;
  const wanted = PROBE_LISTS.get(probes)!.length * dimensions;
  if (numbers !== wanted) throw invalid(`vectors: are ${numbers} numbers, and must be ${wanted}`);
  return parsed.data;
}

/** The vectors of a record, one a probe. */
export function vectorsOf({ vectors, dimensions }: Pick<Golden, 'vectors' | 'dimensions'>): Float32Array[] {
  return rowsOf(fromFixed(Buffer.from(vectors, 'base64')), dimensions);
}

/** A distance as people read it. */
export function shown(distance: number): string {
  if (!Number.isFinite(distance)) return 'no direction';
  return distance > 0 && distance < 1e-6 ? 'less than 0.000001' : String(Number(distance.toPrecision(2)));
}

async function encodeTexts(
  tower: ProbedTower,
  texts: readonly string[],
  signal: AbortSignal | undefined,
): Promise<Float32Array[]> {
  const { space, dimensions } = tower.manifest;
  const tokens = await tower.tokenizeAll(texts, { prompt: space.documentPrompt });
  return rowsOf(await tower.encodeAll(tokens, { signal }), dimensions);
}

/** Encodes each part by itself. @param parts indexes of probes */
async function encodeInParts(
  tower: ProbedTower,
  parts: readonly (readonly number[])[],
  signal: AbortSignal | undefined,
): Promise<Float32Array[]> {
  const rows: Float32Array[] = [];
  for (const part of parts) {
    const vectors = await encodeTexts(
      tower,
      part.map((index) => PROBES[index]!),
      signal,
    );
    for (const [place, index] of part.entries()) rows[index] = vectors[place]!;
  }
  return rows;
}

/** Each n-th of `count`, from the last on: other neighbours, in another order. */
function interleaved(count: number, parts: number): number[][] {
  const all = Array.from({ length: count }, (_, index) => count - 1 - index);
  return Array.from({ length: parts }, (_, part) => all.filter((index) => index % parts === part));
}

function distances(left: readonly Float32Array[], right: readonly Float32Array[]): number[] {
  return left.map((row, index) => cosineDistance(row, right[index]!));
}

function worstOf(each: readonly number[]): number {
  return each.reduce((worst, distance) => Math.max(worst, distance), 0);
}
