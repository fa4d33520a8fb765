import { LookupError } from './errors.ts';
import { list, object, text } from './read.ts';

/**
 * A table: the name of a float32 tensor in the model's file, or the names of its rows in few bits and of their scales. Rows
 * of eight bits are int8. Rows of four bits are uint8, half as long: the low halves of the bytes are the first half of a
 * row, and q stands for 2 q − 15.
 */
export type TableName = string | { values: string; scales: string; bits?: 4 };

/**
 * One step from token ids to a vector. A token's weight is 1 until a stage says otherwise. A new kind of lookup adds a kind
 * of stage: here, in `encoder.ts`, and where training writes it.
 */
export type LookupStage =
  /** Weights from what each token seeks and the text's tokens show on average, and from its position where that counts. */
  | { type: 'weights'; seeks: TableName; shows: TableName; positions?: string }
  /** Adds each token's row, times its weight. */
  | { type: 'tokens'; rows: TableName }
  /** Adds the rows of neighbouring tokens that the dictionary has: keys and rows by slot. */
  | { type: 'pairs'; keys: string; places: string; rows: TableName; base: number }
  /** Leads from rows with fewer components to the dimensions of the space: the last stage, where it is there. */
  | { type: 'projection'; matrix: TableName };

/** `lookup` in `tower.json`: how a lookup tower is run without its graph. */
export interface LookupStages {
  /** Of the list of stages: a program refuses a version that it does not know. */
  version: 1 | 2;
  stages: readonly LookupStage[];
}

/** The first version, and the one since which tables may have four bits. A list has the lowest that says what it says. */
export const STAGES_VERSION = 1;
export const FOUR_BITS_VERSION = 2;

/** Checks what a manifest says. @throws {LookupError} that names the part */
export function parseStages(value: unknown): LookupStages {
  const { version, stages } = object(value, 'lookup', ['version', 'stages']);
  if (version !== STAGES_VERSION && version !== FOUR_BITS_VERSION) {
    throw new LookupError(
      `lookup.version is ${JSON.stringify(version)}, and here ${STAGES_VERSION} and ${FOUR_BITS_VERSION} are known; ` +
        'update scalingnote',
    );
  }
  const parsed = list(stages, 'lookup.stages').map((stage, index) =>
    stageOf(stage, `lookup.stages[${index}]`),
  );
  if (version < versionOf(parsed)) {
    throw new LookupError(
      `lookup.version is ${version}, and tables of four bits are there since ${FOUR_BITS_VERSION}`,
    );
  }
  if (!parsed.some(({ type }) => type === 'tokens')) throw new LookupError('lookup.stages has no tokens');
  const early = parsed.findIndex(({ type }, at) => type === 'projection' && at < parsed.length - 1);
  if (early >= 0)
    throw new LookupError(`lookup.stages[${early}] is a projection, which must be the last one`);
  return { version, stages: parsed };
}

/** The lowest version that has what stages say. */
export function versionOf(stages: readonly LookupStage[]): LookupStages['version'] {
  const tables = stages.flatMap((stage) => Object.values(stage) as unknown[]);
  return tables.some((table) => typeof table === 'object' && table !== null && 'bits' in table)
    ? FOUR_BITS_VERSION
    : STAGES_VERSION;
}

function stageOf(value: unknown, path: string): LookupStage {
  const known = ['type', 'seeks', 'shows', 'positions', 'rows', 'keys', 'places', 'base', 'matrix'];
  const { type } = object(value, path, known);
  switch (type) {
    case 'weights': {
      const stage = object(value, path, ['type', 'seeks', 'shows', 'positions']);
      const { positions } = stage;
      return {
        type,
        seeks: tableOf(stage['seeks'], `${path}.seeks`),
        shows: tableOf(stage['shows'], `${path}.shows`),
        ...(positions !== undefined && { positions: text(positions, `${path}.positions`) }),
      };
    }
    case 'tokens':
      return { type, rows: tableOf(object(value, path, ['type', 'rows'])['rows'], `${path}.rows`) };
    case 'pairs': {
      const stage = object(value, path, ['type', 'keys', 'places', 'rows', 'base']);
      const { base } = stage;
      if (!Number.isSafeInteger(base) || (base as number) < 1) {
        throw new LookupError(`${path}.base must be a whole number, 1 or more`);
      }
      return {
        type,
        keys: text(stage['keys'], `${path}.keys`),
        places: text(stage['places'], `${path}.places`),
        rows: tableOf(stage['rows'], `${path}.rows`),
        base: base as number,
      };
    }
    case 'projection': {
      const { matrix } = object(value, path, ['type', 'matrix']);
      return { type, matrix: tableOf(matrix, `${path}.matrix`) };
    }
    default:
      throw new LookupError(
        `${path}.type is ${JSON.stringify(type)}; known are weights, tokens, pairs, projection: update scalingnote`,
      );
  }
}

function tableOf(value: unknown, path: string): TableName {
  if (typeof value === 'string') return value;
  const { values, scales, bits } = object(value, path, ['values', 'scales', 'bits']);
  if (bits !== undefined && bits !== 4) {
    throw new LookupError(
      `${path}.bits is ${JSON.stringify(bits)}; it may be 4, and is 8 where it is left out`,
    );
  }
  return {
    values: text(values, `${path}.values`),
    scales: text(scales, `${path}.scales`),
    ...(bits !== undefined && { bits }),
  };
}
