import type * as fc from 'fast-check';
import type { Case } from './case.ts';
import { HTTP1_KINDS } from './kinds/http1.ts';
import { HTTP2_KINDS } from './kinds/http2.ts';
import type { Ground, Kind } from './kinds/kind.ts';
import { RPC_KINDS } from './kinds/rpc.ts';
import { WEB_KINDS } from './kinds/web.ts';
import { randomOf } from './random.ts';

export const KINDS: readonly Kind[] = [...RPC_KINDS, ...WEB_KINDS, ...HTTP2_KINDS, ...HTTP1_KINDS];

/** How much of a value is large: as much as fast-check has by default in most runs. */
const BIAS = 3;

/** Makes cases: the same one for the same seed and index, whatever was made before. */
export class Generator {
  readonly #choices: { kind: Kind; upTo: number }[] = [];
  readonly #arbitraries = new Map<Kind, fc.Arbitrary<Case>>();
  readonly #total: number;
  readonly #ground: Ground;
  readonly #seed: number;

  /** @param kinds that are made, among {@link KINDS} */
  constructor(ground: Ground, seed: number, kinds: readonly Kind[]) {
    this.#ground = ground;
    this.#seed = seed;
    let total = 0;
    for (const kind of kinds) {
      total += kind.weight;
      this.#choices.push({ kind, upTo: total });
    }
    this.#total = total;
  }

  /** The case of an index. */
  make(index: number): Case {
    return this.#draw(index).value.value;
  }

  /** Smaller cases of the same kind, from the smallest step on. */
  smaller(index: number): { one: Case; smaller: () => Iterable<Shrunk> } {
    const { value, arbitrary } = this.#draw(index);
    return { one: value.value, smaller: () => shrunk(arbitrary, value) };
  }

  #draw(index: number): { value: fc.Value<Case>; arbitrary: fc.Arbitrary<Case> } {
    const random = randomOf(this.#seed, index);
    const place = random.nextInt(0, this.#total - 1);
    const { kind } = this.#choices.find(({ upTo }) => place < upTo)!;
    let arbitrary = this.#arbitraries.get(kind);
    if (!arbitrary) {
      arbitrary = kind.of(this.#ground);
      this.#arbitraries.set(kind, arbitrary);
    }
    return { value: arbitrary.generate(random, BIAS), arbitrary };
  }
}

/** A smaller case, and how it gets smaller yet. */
export interface Shrunk {
  one: Case;
  smaller: () => Iterable<Shrunk>;
}

function* shrunk(arbitrary: fc.Arbitrary<Case>, value: fc.Value<Case>): Iterable<Shrunk> {
  for (const next of arbitrary.shrink(value.value, value.context)) {
    yield { one: next.value, smaller: () => shrunk(arbitrary, next) };
  }
}
