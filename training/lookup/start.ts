import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FOUR_BITS_VERSION, type LookupStage } from '../../towers/lookup/stages.ts';
import { readTensors } from '../../towers/lookup/tensors.ts';
import { rowsOfTable, Weights } from '../../towers/lookup/weights.ts';
import type { LocalTower } from '../../towers/pull.ts';
import { TrainingError } from '../errors.ts';
import { LOG_WEIGHTS, PAIR_VECTORS, POSITIONS, PROJECTION, SEEKS, SHOWS, TOKEN_VECTORS } from './model.ts';
import { PairDictionary } from './pair-dictionary.ts';

/** What training starts from, instead of the teacher's vectors of single tokens. */
export interface LookupStart {
  /** By the names of the trainer's tables: those that the tower has. */
  tables: ReadonlyMap<string, Float32Array>;
  /** Components of its vectors. */
  width: number;
  pairs: PairDictionary | undefined;
  /** Bits of a number of its tables. */
  bits: 4 | 8;
}

/**
 * The tables of a lookup that was made before.
 *
 * @throws {TrainingError} `REQUEST_INVALID` for a tower that is no lookup
 */
export async function readLookup({ directory, manifest }: LocalTower): Promise<LookupStart> {
  const { lookup, name, dimensions } = manifest;
  if (lookup === undefined) {
    throw new TrainingError('REQUEST_INVALID', `${name} is no lookup that a student could start from`);
  }
  const weights = new Weights(readTensors(await readFile(join(directory, 'model.onnx'))), dimensions);
  const stage = <Type extends LookupStage['type']>(
    type: Type,
  ): Extract<LookupStage, { type: Type }> | undefined =>
    lookup.stages.find((each): each is Extract<LookupStage, { type: Type }> => each.type === type);
  const tables = new Map<string, Float32Array>();
  const tokens = weights.table(stage('tokens')!.rows);
  const { vectors, logWeights } = apart(rowsOfTable(tokens), tokens.width);
  tables.set(TOKEN_VECTORS, vectors).set(LOG_WEIGHTS, logWeights);
  const context = stage('weights');
  if (context !== undefined) {
    tables.set(SEEKS, rowsOfTable(weights.table(context.seeks)));
    tables.set(SHOWS, rowsOfTable(weights.table(context.shows)));
    const positions = weights.list(context.positions);
    if (positions !== undefined) tables.set(POSITIONS, Float32Array.from(positions));
  }
  const pairs = stage('pairs');
  if (pairs !== undefined) tables.set(PAIR_VECTORS, rowsOfTable(weights.table(pairs.rows)));
  const projection = stage('projection');
  if (projection !== undefined) tables.set(PROJECTION, rowsOfTable(weights.table(projection.matrix)));
  return {
    tables,
    width: tokens.width,
    bits: lookup.version === FOUR_BITS_VERSION ? 4 : 8,
    pairs:
      pairs &&
      PairDictionary.restored(pairs.base, weights.numbers(pairs.keys), weights.numbers(pairs.places)),
  };
}

/** Rows as vectors of like length and the logarithms of their weights: a written tower has them multiplied. */
function apart(rows: Float32Array, width: number): { vectors: Float32Array; logWeights: Float32Array } {
  const lengths = Float64Array.from({ length: rows.length / width }, (_, row) =>
    Math.hypot(...rows.subarray(row * width, (row + 1) * width)),
  );
  const known = lengths.filter((length) => length > 0);
  const mean = known.reduce((sum, length) => sum + length, 0) / Math.max(1, known.length);
  const weights = Float64Array.from(lengths, (length) => (length > 0 ? length / mean : 1));
  return {
    vectors: Float32Array.from(rows, (x, i) => x / weights[Math.floor(i / width)]!),
    logWeights: Float32Array.from(weights, Math.log),
  };
}
