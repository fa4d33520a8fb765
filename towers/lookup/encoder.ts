import { LookupError } from './errors.ts';
import type { LookupStage, LookupStages } from './stages.ts';
import { readTensors } from './tensors.ts';
import { type Table, Weights } from './weights.ts';

/** Adds to a vector what one stage makes of the tokens; may change their weights, or return another vector. */
type Step = (ids: ArrayLike<number>, weights: Float64Array, sum: Float64Array) => Float64Array | void;

/**
 * A lookup student without its graph and without ONNX Runtime: a browser, a worker and Node give the same vectors, which
 * are those of the graph.
 */
export class LookupEncoder {
  readonly dimensions: number;
  readonly #steps: readonly Step[];
  /** Components of a row. */
  readonly #width: number;
  readonly #normalize: boolean;

  /**
   * @param file the tower's `model.onnx`, of which the weights are read
   * @throws {LookupError} where stages and weights do not fit together
   */
  constructor(
    file: Uint8Array,
    { lookup, dimensions, normalize }: { lookup: LookupStages; dimensions: number; normalize: boolean },
  ) {
    const tensors = readTensors(file);
    this.dimensions = dimensions;
    this.#normalize = normalize;
    const weights = new Weights(tensors, dimensions);
    const last = lookup.stages.at(-1);
    this.#width = last?.type === 'projection' ? weights.table(last.matrix).rows : dimensions;
    this.#steps = lookup.stages.map((stage) => stepOf(stage, weights, this.#width));
  }

  /** The vector of a text's token ids. @throws {LookupError} for an id that has no row */
  vector(ids: ArrayLike<number>): Float32Array<ArrayBuffer> {
    const found = new Float32Array(this.dimensions);
    this.encodeInto(ids, found);
    return found;
  }

  /** {@link vector}, into a row that the caller has. */
  encodeInto(ids: ArrayLike<number>, row: Float32Array): void {
    let sum: Float64Array = new Float64Array(this.#width);
    const weights = new Float64Array(ids.length).fill(1);
    for (const step of this.#steps) sum = step(ids, weights, sum) ?? sum;
    let scale = 1;
    if (this.#normalize) {
      let squares = 0;
      for (const x of sum) squares += x * x;
      if (squares > 0) scale = 1 / Math.sqrt(squares);
    }
    for (let i = 0; i < sum.length; i++) row[i] = sum[i]! * scale;
  }
}

function stepOf(stage: LookupStage, weights: Weights, width: number): Step {
  switch (stage.type) {
    case 'weights':
      return weighing(weights.table(stage.seeks), weights.table(stage.shows), weights.list(stage.positions));
    case 'tokens': {
      const table = weights.rows(stage.rows, width);
      return (ids, factors, sum) => addRows(table, ids, factors, sum);
    }
    case 'pairs':
      return pairing(
        stage.base,
        weights.numbers(stage.keys),
        weights.numbers(stage.places),
        weights.rows(stage.rows, width),
      );
    case 'projection': {
      const matrix = weights.rows(stage.matrix);
      return (_ids, _weights, sum) => project(matrix, sum);
    }
  }
}

function weighing(seeks: Table, shows: Table, positions: ArrayLike<number> | undefined): Step {
  const { width } = seeks;
  if (shows.width !== width) throw new LookupError(`seeks have ${width} components, shows ${shows.width}`);
  return (ids, weights) => {
    const shown = new Float64Array(width);
    for (let at = 0; at < ids.length; at++) add(shows, ids[at]!, 1 / ids.length, shown);
    const { values } = seeks;
    for (let at = 0; at < ids.length; at++) {
      const scale = scaleOf(seeks, ids[at]!, 1);
      const start = ids[at]! * width;
      let agreement = 0;
      for (let i = 0; i < width; i++) agreement += shown[i]! * values[start + i]!;
      agreement *= scale;
      if (positions !== undefined) agreement += positions[Math.min(at, positions.length - 1)]!;
      weights[at]! *= Math.exp(agreement);
    }
  };
}

function pairing(base: number, keys: ArrayLike<number>, places: ArrayLike<number>, table: Table): Step {
  if (keys.length !== places.length || keys.length === 0) {
    throw new LookupError(`the pairs have ${keys.length} keys and ${places.length} places`);
  }
  return (ids, _, sum) => {
    const found: number[] = [];
    for (let at = 0; at + 1 < ids.length; at++) {
      const key = ids[at]! * base + ids[at + 1]!;
      const slot = key % keys.length;
      if (keys[slot] === key) found.push(places[slot]!);
    }
    addRows(table, found, undefined, sum);
  };
}

/** A vector times a matrix: the sum of its rows, each times a component. */
function project(matrix: Table, vector: Float64Array): Float64Array {
  const projected = new Float64Array(matrix.width);
  for (const [row, component] of vector.entries()) add(matrix, row, component, projected);
  return projected;
}

/** Adds a row, times a factor. */
function add(table: Table, row: number, factor: number, sum: Float64Array): void {
  const { width, values } = table;
  const scale = scaleOf(table, row, factor);
  const start = row * width;
  for (let i = 0; i < width; i++) sum[i]! += values[start + i]! * scale;
}

/** Adds rows, each times its factor, if there are any. This is what encoding costs: four at a time, the sum is read and written a quarter as often. */
function addRows(
  table: Table,
  ids: ArrayLike<number>,
  factors: Float64Array | undefined,
  sum: Float64Array,
): void {
  const { width, values } = table;
  const scale = (at: number): number => scaleOf(table, ids[at]!, factors === undefined ? 1 : factors[at]!);
  let at = 0;
  for (; at + 4 <= ids.length; at += 4) {
    const [a, b, c, d] = [ids[at]!, ids[at + 1]!, ids[at + 2]!, ids[at + 3]!];
    const [e, f, g, h] = [scale(at), scale(at + 1), scale(at + 2), scale(at + 3)];
    const first = values.subarray(a * width, (a + 1) * width);
    const second = values.subarray(b * width, (b + 1) * width);
    const third = values.subarray(c * width, (c + 1) * width);
    const fourth = values.subarray(d * width, (d + 1) * width);
    for (let i = 0; i < width; i++) {
      sum[i]! += first[i]! * e + second[i]! * f + third[i]! * g + fourth[i]! * h;
    }
  }
  for (; at < ids.length; at++) add(table, ids[at]!, factors === undefined ? 1 : factors[at]!, sum);
}

/** What a row's numbers are multiplied with. @throws {LookupError} for a token that has no row */
function scaleOf({ rows, scales }: Table, row: number, factor: number): number {
  if (!(row >= 0 && row < rows)) throw new LookupError(`the token ${row} has no row; there are ${rows}`);
  return scales === undefined ? factor : factor * scales[row]!;
}
