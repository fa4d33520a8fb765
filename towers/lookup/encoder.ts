import { LookupError } from './errors.ts';
import { Kernel } from './kernel.ts';
import { type Arithmetic, plain, type Rows, type Vector } from './rows.ts';
import type { LookupStage, LookupStages, TableName } from './stages.ts';
import { readTensors } from './tensors.ts';
import { Weights } from './weights.ts';

/** Adds to a vector what one stage makes of the tokens; may change their weights, or return another vector. */
type Step = (ids: ArrayLike<number>, weights: Float64Array, sum: Vector) => Vector | void;

/**
 * A lookup student without its graph and without ONNX Runtime: a browser, a worker and Node give the same vectors, which
 * are those of the graph.
 */
export class LookupEncoder {
  readonly dimensions: number;
  readonly #steps: readonly Step[];
  readonly #sum: Vector;
  /** Makes the length 1, where the tower does. */
  readonly #toUnit: ((vector: Vector) => void) | undefined;

  /**
   * @param file the tower's `model.onnx`, of which the weights are read
   * @throws {LookupError} where stages and weights do not fit together
   */
  constructor(
    file: Uint8Array,
    { lookup, dimensions, normalize }: { lookup: LookupStages; dimensions: number; normalize: boolean },
  ) {
    this.dimensions = dimensions;
    const weights = new Weights(readTensors(file), dimensions);
    const tables = lookup.stages.flatMap(tablesOf).map((name) => weights.table(name));
    const arithmetic = Kernel.open(tables) ?? plain;
    const last = lookup.stages.at(-1);
    // Components of a row.
    const width = last?.type === 'projection' ? weights.table(last.matrix).rows : dimensions;
    this.#steps = lookup.stages.map((stage) => stepOf(stage, weights, width, arithmetic));
    this.#sum = arithmetic.vector(width);
    this.#toUnit = normalize ? (vector) => arithmetic.toUnit(vector) : undefined;
  }

  /** The vector of a text's token ids. @throws {LookupError} for an id that has no row */
  vector(ids: ArrayLike<number>): Float32Array<ArrayBuffer> {
    const found = new Float32Array(this.dimensions);
    this.encodeInto(ids, found);
    return found;
  }

  /** {@link vector}, into a row that the caller has. */
  encodeInto(ids: ArrayLike<number>, row: Float32Array): void {
    let sum = this.#sum.fill(0);
    const weights = new Float64Array(ids.length).fill(1);
    for (const step of this.#steps) sum = step(ids, weights, sum) ?? sum;
    this.#toUnit?.(sum);
    row.set(sum);
  }
}

function tablesOf(stage: LookupStage): TableName[] {
  switch (stage.type) {
    case 'weights':
      return [stage.seeks, stage.shows];
    case 'projection':
      return [stage.matrix];
    default:
      return [stage.rows];
  }
}

function stepOf(stage: LookupStage, weights: Weights, width: number, arithmetic: Arithmetic): Step {
  const rows = (name: TableName, components?: number): Rows =>
    arithmetic.rows(weights.rows(name, components));
  switch (stage.type) {
    case 'weights': {
      const [seeks, shows] = [weights.table(stage.seeks), weights.table(stage.shows)];
      if (shows.width !== seeks.width) {
        throw new LookupError(`seeks have ${seeks.width} components, shows ${shows.width}`);
      }
      const shown = arithmetic.vector(seeks.width);
      return weighing(arithmetic.rows(seeks), arithmetic.rows(shows), shown, weights.list(stage.positions));
    }
    case 'tokens': {
      const table = rows(stage.rows, width);
      return (ids, factors, sum) => table.add(ids, factors, sum);
    }
    case 'pairs':
      return pairing(
        stage.base,
        weights.numbers(stage.keys),
        weights.numbers(stage.places),
        rows(stage.rows, width),
      );
    case 'projection':
      return projecting(rows(stage.matrix), width, arithmetic.vector(weights.table(stage.matrix).width));
  }
}

function weighing(seeks: Rows, shows: Rows, shown: Vector, positions: ArrayLike<number> | undefined): Step {
  return (ids, weights) => {
    shows.add(ids, undefined, shown.fill(0));
    const agreements = new Float64Array(ids.length);
    seeks.multiply(ids, shown, agreements);
    for (let at = 0; at < ids.length; at++) {
      const place = positions === undefined ? 0 : positions[Math.min(at, positions.length - 1)]!;
      weights[at]! *= Math.exp(agreements[at]! / ids.length + place);
    }
  };
}

function pairing(base: number, keys: ArrayLike<number>, places: ArrayLike<number>, table: Rows): Step {
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
    table.add(found, undefined, sum);
  };
}

/** A vector times a matrix: the sum of its rows, each times a component. */
function projecting(matrix: Rows, width: number, projected: Vector): Step {
  const all = Int32Array.from({ length: width }, (_, row) => row);
  return (_ids, _weights, sum) => {
    matrix.add(all, sum, projected.fill(0));
    return projected;
  };
}
