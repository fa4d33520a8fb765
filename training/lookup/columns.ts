import type { TokenCounts } from './counts.ts';

/** What is fitted to what. All arrays are in memory that threads share. */
export interface LookupProblem {
  texts: TokenCounts;
  /** Unit vectors of the texts, `rows` × `dimensions`. */
  targets: Float32Array;
  dimensions: number;
  /** Where the token vectors start, and what each is held to: tokens × `dimensions`. */
  prior: Float32Array;
  /** Strength of the ridge towards the prior. */
  ridge: number;
}

/** What is known of each text when a round begins. */
export interface TextWeights {
  /** What a text's sum is multiplied by to be of the length of its target. */
  scales: Float32Array;
  /** Square root of what the text's squared residual counts. */
  weights: Float32Array;
}

/** Columns that are worked on at a time: as many sums as fit in registers. */
const LANES = 8;

/**
 * Some dimensions of all token vectors. In a least-squares fit dimensions know nothing of each other, so each thread
 * solves for a few of them.
 */
export class Columns {
  readonly #problem: LookupProblem;
  readonly #from: number;
  readonly #to: number;
  /** Columns, rounded up to whole lanes: the rest is 0. */
  readonly #width: number;
  readonly #prior: Float32Array;
  readonly #vectors: Float32Array;
  readonly #row: Float32Array;

  /** Of the dimensions `from` to before `to`. */
  constructor(problem: LookupProblem, from: number, to: number) {
    this.#problem = problem;
    this.#from = from;
    this.#to = to;
    this.#width = Math.ceil((to - from) / LANES) * LANES;
    this.#row = new Float32Array(this.#width);
    const { prior, dimensions } = problem;
    this.#prior = new Float32Array((prior.length / dimensions) * this.#width);
    for (let token = 0; token * dimensions < prior.length; token++) {
      this.#prior.set(
        prior.subarray(token * dimensions + from, token * dimensions + to),
        token * this.#width,
      );
    }
    this.#vectors = this.#prior.slice();
  }

  /** Adds these dimensions' share of each text's |sum|² to `squares`, and of sum · target to `products`. */
  measure(squares: Float64Array, products: Float64Array): void {
    const { texts, targets, dimensions } = this.#problem;
    for (let row = 0; row < texts.rows; row++) {
      this.#gather(row, this.#vectors);
      const at = row * dimensions + this.#from;
      let square = 0;
      let product = 0;
      for (let column = 0; column < this.#to - this.#from; column++) {
        const value = this.#row[column]!;
        square += value * value;
        product += value * targets[at + column]!;
      }
      squares[row]! += square;
      products[row]! += product;
    }
  }

  /**
   * Minimises Σ ‖scale · (counts · vectors) − weight · target‖² + ridge · ‖vectors − prior‖² by conjugate gradients
   * with a diagonal preconditioner, each dimension with steps of its own, from where the vectors are.
   */
  solve({ scales, weights }: TextWeights, iterations: number): void {
    const width = this.#width;
    const vectors = this.#vectors;
    const { ridge } = this.#problem;
    const inverse = this.#inverseDiagonal(scales);
    const residual = this.#descent(scales, weights);
    const direction = new Float32Array(vectors.length);
    const curvature = new Float32Array(vectors.length);
    let energy = new Float64Array(width);
    for (let index = 0; index < vectors.length; index++) {
      direction[index] = residual[index]! * inverse[Math.floor(index / width)]!;
      energy[index % width]! += residual[index]! * direction[index]!;
    }
    for (let iteration = 0; iteration < iterations; iteration++) {
      this.#curve(scales, direction, curvature);
      const bend = new Float64Array(width);
      for (let at = 0; at < vectors.length; at += width) {
        for (let column = 0; column < width; column++) {
          const index = at + column;
          curvature[index]! += ridge * direction[index]!;
          bend[column]! += direction[index]! * curvature[index]!;
        }
      }
      const step = energy.map((value, column) => value / (bend[column]! || 1));
      const next = new Float64Array(width);
      for (let at = 0, token = 0; at < vectors.length; at += width, token++) {
        for (let column = 0; column < width; column++) {
          const index = at + column;
          vectors[index]! += step[column]! * direction[index]!;
          const left = residual[index]! - step[column]! * curvature[index]!;
          residual[index] = left;
          next[column]! += left * left * inverse[token]!;
        }
      }
      const turn = next.map((value, column) => value / (energy[column]! || 1));
      for (let at = 0, token = 0; at < vectors.length; at += width, token++) {
        for (let column = 0; column < width; column++) {
          const index = at + column;
          direction[index] = residual[index]! * inverse[token]! + turn[column]! * direction[index]!;
        }
      }
      energy = next;
    }
  }

  /** Writes these dimensions into token vectors of all dimensions. */
  write(out: Float32Array): void {
    const { dimensions } = this.#problem;
    for (let token = 0; token * dimensions < out.length; token++) {
      const at = token * this.#width;
      out.set(this.#vectors.subarray(at, at + this.#to - this.#from), token * dimensions + this.#from);
    }
  }

  /** One over the diagonal of the normal equations, for each token. */
  #inverseDiagonal(scales: Float32Array): Float32Array {
    const { texts, ridge } = this.#problem;
    const diagonal = new Float32Array(this.#vectors.length / this.#width).fill(ridge);
    for (let row = 0; row < texts.rows; row++) {
      for (let entry = texts.starts[row]!; entry < texts.starts[row + 1]!; entry++) {
        diagonal[texts.tokens[entry]!]! += (texts.counts[entry]! * scales[row]!) ** 2;
      }
    }
    return diagonal.map((value) => 1 / value);
  }

  /** Half the negative gradient. */
  #descent(scales: Float32Array, weights: Float32Array): Float32Array {
    const { texts, targets, dimensions, ridge } = this.#problem;
    const out = this.#prior.map((value, index) => ridge * (value - this.#vectors[index]!));
    for (let row = 0; row < texts.rows; row++) {
      this.#gather(row, this.#vectors);
      const at = row * dimensions + this.#from;
      const scale = scales[row]!;
      for (let column = 0; column < this.#to - this.#from; column++) {
        this.#row[column] = scale * (weights[row]! * targets[at + column]! - scale * this.#row[column]!);
      }
      this.#scatter(row, out);
    }
    return out;
  }

  /** `out` = countsᵀ · diag(scales²) · counts · direction. */
  #curve(scales: Float32Array, direction: Float32Array, out: Float32Array): void {
    out.fill(0);
    for (let row = 0; row < this.#problem.texts.rows; row++) {
      this.#gather(row, direction);
      const factor = scales[row]! ** 2;
      for (let column = 0; column < this.#width; column++) this.#row[column]! *= factor;
      this.#scatter(row, out);
    }
  }

  /** The sum of a text's token vectors, into the row buffer. */
  #gather(row: number, from: Float32Array): void {
    const { starts, tokens, counts } = this.#problem.texts;
    const width = this.#width;
    const sums = this.#row;
    const begin = starts[row]!;
    const end = starts[row + 1]!;
    for (let column = 0; column < width; column += LANES) {
      let [a, b, c, d, e, f, g, h] = [0, 0, 0, 0, 0, 0, 0, 0];
      for (let entry = begin; entry < end; entry++) {
        const count = counts[entry]!;
        const at = tokens[entry]! * width + column;
        a += count * from[at]!;
        b += count * from[at + 1]!;
        c += count * from[at + 2]!;
        d += count * from[at + 3]!;
        e += count * from[at + 4]!;
        f += count * from[at + 5]!;
        g += count * from[at + 6]!;
        h += count * from[at + 7]!;
      }
      sums[column] = a;
      sums[column + 1] = b;
      sums[column + 2] = c;
      sums[column + 3] = d;
      sums[column + 4] = e;
      sums[column + 5] = f;
      sums[column + 6] = g;
      sums[column + 7] = h;
    }
  }

  /** Adds the row buffer to the vector of each of a text's tokens. */
  #scatter(row: number, to: Float32Array): void {
    const { starts, tokens, counts } = this.#problem.texts;
    const width = this.#width;
    const sums = this.#row;
    const begin = starts[row]!;
    const end = starts[row + 1]!;
    for (let column = 0; column < width; column += LANES) {
      const a = sums[column]!;
      const b = sums[column + 1]!;
      const c = sums[column + 2]!;
      const d = sums[column + 3]!;
      const e = sums[column + 4]!;
      const f = sums[column + 5]!;
      const g = sums[column + 6]!;
      const h = sums[column + 7]!;
      for (let entry = begin; entry < end; entry++) {
        const count = counts[entry]!;
        const at = tokens[entry]! * width + column;
        to[at]! += count * a;
        to[at + 1]! += count * b;
        to[at + 2]! += count * c;
        to[at + 3]! += count * d;
        to[at + 4]! += count * e;
        to[at + 5]! += count * f;
        to[at + 6]! += count * g;
        to[at + 7]! += count * h;
      }
    }
  }
}
