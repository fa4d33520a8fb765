import { TowerError } from '../errors.ts';
import type { Price } from './runtime.ts';

/** What remote encoding has cost. */
export interface Spent {
  /** Tokens that were read, as the server counts them where it says so. */
  tokens: number;
  requests: number;
  /** Undefined where the tower has no price. */
  money: number | undefined;
  currency: string | undefined;
}

/** Counts tokens that are paid for, and stops before there are too many. */
export class Spending {
  readonly #most: number;
  readonly #price: Price | undefined;
  #tokens = 0;
  #promised = 0;
  #requests = 0;

  /** @param most tokens that may be spent */
  constructor(price: Price | undefined, most = Number.POSITIVE_INFINITY) {
    this.#price = price;
    this.#most = most;
  }

  get spent(): Spent {
    return {
      tokens: this.#tokens,
      requests: this.#requests,
      money: this.#price && moneyOf(this.#tokens, this.#price),
      currency: this.#price?.currency,
    };
  }

  /**
   * Sets tokens aside for a request.
   *
   * @returns what is to be called when the request has ended, with what was really read: nothing where it failed
   * @throws {TowerError} `SPENDING_LIMIT_REACHED`
   */
  reserve(tokens: number): (read: number) => void {
    if (this.#tokens + this.#promised + tokens > this.#most) {
      throw new TowerError(
        'SPENDING_LIMIT_REACHED',
        `${this.#tokens} tokens were spent and ${this.#promised + tokens} more are wanted, and the limit is ${this.#most}; ` +
          'what is done is kept: raise the limit and go on',
        { metadata: { spent: String(this.#tokens), limit: String(this.#most) } },
      );
    }
    this.#promised += tokens;
    let open = true;
    return (read) => {
      if (!open) return;
      open = false;
      this.#promised -= tokens;
      this.#tokens += read;
      if (read > 0) this.#requests++;
    };
  }
}

/** What tokens cost. */
export function moneyOf(tokens: number, price: Price): number {
  return (tokens / 1e6) * price.perMillionTokens;
}
