import * as fc from 'fast-check';

/** xoshiro128**, after D. Blackman and S. Vigna: small, and the same on every machine. */
class Generator {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(a: number, b: number, c: number, d: number) {
    this.#a = a;
    this.#b = b;
    this.#c = c;
    this.#d = d;
  }

  clone(): Generator {
    return new Generator(this.#a, this.#b, this.#c, this.#d);
  }

  next(): number {
    const product = Math.imul(this.#b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9);
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result | 0;
  }

  getState(): readonly number[] {
    return [this.#a, this.#b, this.#c, this.#d];
  }
}

/** The random numbers of one case: whoever knows seed and index has the case again, without those before it. */
export function randomOf(seed: number, index: number): fc.Random {
  const state = [seed, index, seed ^ 0x5bd1e995, index ^ 0x2545f491].map((value, at) => {
    let mixed = Math.imul(value ^ (value >>> 16), 0x21f0aaad) + Math.imul(at + 1, 0x9e3779b9);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return mixed ^ (mixed >>> 15);
  });
  const generator = new Generator(state[0]! | 1, state[1]!, state[2]!, state[3]!);
  // Seeds and indexes are small numbers: what they differ in has to spread first.
  for (let turn = 0; turn < 12; turn++) generator.next();
  return new fc.Random(generator);
}
