import { moneyOf } from './remote/spending.ts';
import type { Tokens, Tower } from './tower.ts';

/** Passages of the sample that is encoded to measure the rate. */
const SAMPLE_PASSAGES = 128;

/** Passages that are encoded first, and not timed: the first run of a model takes longer. */
const WARM_UP_PASSAGES = 4;

/** What it takes to encode documents with a tower. Counts are exact; times follow from a measured rate. */
export interface Estimate {
  documents: number;
  passages: number;
  /** Tokens of all passages, as the model gets them. */
  tokens: number;
  /** Tokens that this machine encodes in a second, measured on the sample; 0 where measuring would cost money. */
  tokensPerSecond: number;
  /** Passages and tokens that were encoded to measure it. */
  sample: { passages: number; tokens: number };
  /** Time to encode all of it at that rate. */
  seconds: number;
  /** The vectors, as float32: what a search holds in memory. */
  vectorBytes: number;
  /** What the tokens cost, of a tower on a server that has a price. */
  cost?: { money: number; currency: string };
}

/**
 * Estimates what it takes to encode documents: cuts every document into passages, as an ingest does, keeps a sample of
 * them that is random and the same in every run, and encodes the sample.
 */
export class Estimator {
  readonly #tower: Pick<Tower, 'eachPassage' | 'encodeAll' | 'manifest'>;
  readonly #sample: Tokens[] = [];
  #documents = 0;
  #passages = 0;
  #tokens = 0;
  #random = 1;

  constructor(tower: Pick<Tower, 'eachPassage' | 'encodeAll' | 'manifest'>) {
    this.#tower = tower;
  }

  /** Counts a document. */
  async add(document: { title: string; text: string }): Promise<void> {
    this.#documents++;
    for await (const { tokens } of this.#tower.eachPassage(document)) {
      this.#passages++;
      this.#tokens += tokens.ids.length;
      // Algorithm R: each passage has the same chance to be in the sample.
      const place = this.#sample.length < SAMPLE_PASSAGES ? this.#sample.length : this.#below(this.#passages);
      if (place < SAMPLE_PASSAGES) this.#sample[place] = tokens;
    }
  }

  /** Encodes the sample, and says what all of it takes. */
  async measure({ signal }: { signal?: AbortSignal } = {}): Promise<Estimate> {
    const tokens = this.#sample.reduce((sum, { ids }) => sum + ids.length, 0);
    let tokensPerSecond = 0;
    const { runtime, dimensions } = this.#tower.manifest;
    // A dry run costs nothing: what a server encodes is paid for.
    if (runtime) this.#sample.length = 0;
    if (this.#sample.length > 0) {
      await this.#tower.encodeAll(this.#sample.slice(0, WARM_UP_PASSAGES), { signal });
      const started = performance.now();
      await this.#tower.encodeAll(this.#sample, { signal });
      tokensPerSecond = (1000 * tokens) / (performance.now() - started);
    }
    return {
      documents: this.#documents,
      passages: this.#passages,
      tokens: this.#tokens,
      tokensPerSecond,
      sample: { passages: this.#sample.length, tokens: runtime ? 0 : tokens },
      seconds: tokensPerSecond > 0 ? this.#tokens / tokensPerSecond : 0,
      vectorBytes: 4 * dimensions * this.#passages,
      ...(runtime?.price && {
        cost: { money: moneyOf(this.#tokens, runtime.price), currency: runtime.price.currency },
      }),
    };
  }

  /** A whole number from 0, below a bound, by a linear congruential generator (Numerical Recipes). */
  #below(bound: number): number {
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#random / 2 ** 32) * bound);
  }
}
