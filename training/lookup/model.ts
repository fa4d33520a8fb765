import {
  type LookupStage,
  type LookupStages,
  type TableName,
  versionOf,
} from '../../towers/lookup/stages.ts';
import { GraphBuilder } from '../onnx/builder.ts';
import { int, ints, type Model } from '../onnx/model.ts';
import { elementCode, float32, toNumbers, type Tensor } from '../onnx/tensor.ts';
import type { PairDictionary } from './pair-dictionary.ts';

/** Names of the tables of a lookup student, all float32: a row for each token, or for each pair. */
export const TOKEN_VECTORS = 'vectors';
export const LOG_WEIGHTS = 'log_weights';
/** What makes a token heavier when other tokens show it, and what the token itself shows. */
export const SEEKS = 'seeks';
export const SHOWS = 'shows';
export const PAIR_VECTORS = 'pair_vectors';
/** The dictionary of pairs: keys and rows by slot. */
const PAIR_KEYS = 'pair_keys';
const PAIR_ROWS = 'pair_rows';
/** What leads from the vectors' components to the space's dimensions, where they are fewer: [components, dimensions]. */
export const PROJECTION = 'projection';
/** Logarithms of the factors of a token's weight by its position in the text. The last one counts for all later positions. */
export const POSITIONS = 'positions';

/**
 * The student as a graph: `input_ids` and `attention_mask`, int64 [batch, length], become `sentence_embedding`, float32
 * [batch, dimensions], not normalised: the sum of the tokens' vectors, each times its weight, and of the vectors of
 * neighbouring tokens; times {@link PROJECTION} where there is one. A token's weight is the exponent of its own, of its position's where those are learned, and of what
 * it seeks times the mean of what the text's tokens show.
 */
export function lookupModel(weights: ReadonlyMap<string, Tensor>, pairs: PairDictionary): Model {
  const g = new GraphBuilder();
  const ids = g.input('input_ids', 'int64', ['batch', 'length']);
  const mask = g.input('attention_mask', 'int64', ['batch', 'length']);
  const table = (name: string): Tensor => weights.get(name)!;
  const row = (values: string): string => g.node('Unsqueeze', [values, g.ints([1])]);
  const rows = (name: string, value: Tensor, of: string): string =>
    g.node('Gather', [g.initializer(name, value), of]);

  const present = row(g.node('Cast', [mask], { to: int(elementCode('float32')) }));
  const length = g.node('ReduceSum', [present, g.ints([-1])]);
  const shown = g.node('Div', [g.node('MatMul', [present, rows(SHOWS, table(SHOWS), ids)]), length]);
  const seeks = g.node('Transpose', [rows(SEEKS, table(SEEKS), ids)], { perm: ints([0, 2, 1]) });
  let agreement = g.node('MatMul', [shown, seeks]);
  const positions = weights.get(POSITIONS);
  if (positions !== undefined) {
    const width = g.node('Squeeze', [g.node('Shape', [ids], { start: int(1) }), g.ints([0])]);
    const places = g.node('Range', [g.scalar(0, 'int64'), width, g.scalar(1, 'int64')]);
    const last = g.scalar(positions.dims[0]! - 1, 'int64');
    agreement = g.node('Add', [agreement, rows(POSITIONS, positions, g.node('Min', [places, last]))]);
  }
  const tokenWeights = g.node('Mul', [present, g.node('Exp', [agreement])]);
  const tokens = rows(TOKEN_VECTORS, weighted(table(TOKEN_VECTORS), table(LOG_WEIGHTS)), ids);
  const sums = [g.node('MatMul', [tokenWeights, tokens])];
  if (pairs.size > 1) {
    const part = (value: string, axis: number, start: number, end: number): string =>
      g.node('Slice', [value, g.ints([start]), g.ints([end]), g.ints([axis])]);
    const first = part(ids, 1, 0, -1);
    const second = part(ids, 1, 1, END);
    const { keys, rows: places } = pairs.tensors();
    const key = g.node('Add', [g.node('Mul', [first, g.scalar(pairs.base, 'int64')]), second]);
    const slot = g.node('Mod', [key, g.scalar(pairs.keys.length, 'int64')]);
    const stored = g.node('Cast', [rows(PAIR_KEYS, keys, slot)], { to: int(elementCode('int64')) });
    const found = g.node('Equal', [stored, key]);
    const place = g.node('Where', [found, rows(PAIR_ROWS, places, slot), g.scalar(0, 'int32')]);
    const vectors = rows(PAIR_VECTORS, table(PAIR_VECTORS), place);
    sums.push(g.node('MatMul', [part(present, 2, 1, END), vectors]));
  }
  const sum = g.node('Squeeze', [sums.length === 1 ? sums[0]! : g.node('Add', sums), g.ints([1])]);
  const projection = weights.get(PROJECTION);
  const vectors =
    projection === undefined ? sum : g.node('MatMul', [sum, g.initializer(PROJECTION, projection)]);
  const { dims } = projection ?? table(TOKEN_VECTORS);
  g.output('sentence_embedding', vectors, 'float32', ['batch', dims[1]!]);
  return g.build();
}

/**
 * The stages of {@link lookupModel}'s graph, for whoever runs its weights without it: see `towers/lookup`.
 *
 * @param model - the graph as it is written, in eight bits or not
 */
export function lookupStages({ graph: { initializers } }: Model, { base }: PairDictionary): LookupStages {
  const names = [...initializers.keys()];
  const part = (name: string, what: string): string | undefined =>
    names.find((each) => each.startsWith(`${name}_${what}_`));
  const table = (name: string): TableName => {
    const [bytes, halves, scales] = [part(name, 'int8'), part(name, 'int4'), part(name, 'scales')];
    if (scales === undefined) return name;
    if (halves !== undefined) return { values: halves, scales, bits: 4 };
    return bytes === undefined ? name : { values: bytes, scales };
  };
  const stages: LookupStage[] = [
    {
      type: 'weights',
      seeks: table(SEEKS),
      shows: table(SHOWS),
      ...(initializers.has(POSITIONS) && { positions: POSITIONS }),
    },
    { type: 'tokens', rows: table(TOKEN_VECTORS) },
  ];
  if (initializers.has(PAIR_KEYS)) {
    stages.push({ type: 'pairs', keys: PAIR_KEYS, places: PAIR_ROWS, rows: table(PAIR_VECTORS), base });
  }
  const projection = table(PROJECTION);
  if (typeof projection !== 'string' || initializers.has(projection)) {
    stages.push({ type: 'projection', matrix: projection });
  }
  return { version: versionOf(stages), stages };
}

/** Past the end of every text: ONNX cuts it there. */
const END = 2 ** 31 - 1;

/** Vectors times the exponents of their weights. */
function weighted(vectors: Tensor, logWeights: Tensor): Tensor {
  const width = vectors.dims[1]!;
  const factors = Float32Array.from(toNumbers(logWeights), Math.exp);
  const values = Float32Array.from(toNumbers(vectors), (x, i) => x * factors[Math.floor(i / width)]!);
  return float32(vectors.dims, values);
}
