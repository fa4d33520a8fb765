import { LookupError } from './errors.ts';
import { list, object, text } from './read.ts';

/** A table: the name of a float32 tensor in the model's file, or the names of its rows in eight bits and of their scales. */
export type TableName = string | { values: string; scales: string };

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
  version: 1;
  stages: readonly LookupStage[];
}

/** The one version there is. */
export const STAGES_VERSION = 1;

/** Checks what a manifest says. @throws {LookupError} that names the part */
export function parseStages(value: unknown): LookupStages {
  const { version, stages } = object(value, 'lookup', ['version', 'stages']);
  if (version !== STAGES_VERSION) {
    throw new LookupError(
      `lookup.version is ${JSON.stringify(version)}, and here ${STAGES_VERSION} is known; update scalingnote`,
    );
  }
  const parsed = list(stages, 'lookup.stages').map((stage, index) =>
    stageOf(stage, `lookup.stages[${index}]`),
  );
  if (!parsed.some(({ type }) => type === 'tokens')) throw new LookupError('lookup.stages has no tokens');
  const early = parsed.findIndex(({ type }, at) => type === 'projection' && at < parsed.length - 1);
  if (early >= 0)
    throw new LookupError(`lookup.stages[${early}] is a projection, which must be the last one`);
  return { version, stages: parsed };
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
  const { values, scales } = object(value, path, ['values', 'scales']);
  return { values: text(values, `${path}.values`), scales: text(scales, `${path}.scales`) };
}
