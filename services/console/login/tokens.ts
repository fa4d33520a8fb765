import { HttpError } from '../http/errors.ts';

/** A token is renewed when so much of its time is left, more than a call takes; one that is good for less, in its last quarter. */
const RENEW_BEFORE_MS = 60_000;
const RENEW_BEFORE_SHARE = 1 / 4;
/** An issuer that is away is asked again after so long, and not by every request. */
const RETRY_MS = 5_000;

/** What an issuer has given for a login, or for the renewal of one. */
export interface Issued {
  /** For the services. */
  token: string;
  /** Whom it is for: `sub`; `undefined` where a renewal says nothing of the person. */
  subject: string | undefined;
  /** How long the token is good, in milliseconds; `undefined` where the issuer has not said. */
  lastsMs: number | undefined;
  /** What gets the next one; `undefined` where there is none, or where the one before stays good. */
  refreshToken: string | undefined;
}

/** What is asked of an issuer while somebody is logged in. */
export interface Renewal {
  /** @throws {HttpError} 401 where the issuer does not go along, 503 where it is away */
  renew(refreshToken: string): Promise<Issued>;
  /** The tokens are not used any more. Never fails. */
  revoke(refreshToken: string): Promise<void>;
}

/** The tokens of one login, which are renewed for as long as their issuer goes along. */
export class Tokens {
  readonly #renewal: Renewal;
  readonly #subject: string | undefined;
  #token: string;
  /** When it is due for renewal, as of `performance.now()`. */
  #dueAt: number;
  #refreshToken: string | undefined;
  #renewing: Promise<void> | undefined;
  #awayAt = -Infinity;
  #isOver = false;

  constructor(first: Issued, renewal: Renewal) {
    this.#renewal = renewal;
    this.#subject = first.subject;
    this.#token = first.token;
    this.#refreshToken = first.refreshToken;
    this.#dueAt = dueOf(first);
  }

  /** For the services: each call takes the one that is current. */
  readonly current = (): string => this.#token;

  /**
   * Renews the token where it ends soon and can be renewed. Requests at once share one renewal: a refresh token that is used
   * twice looks stolen to its issuer.
   *
   * @throws {HttpError} 401 where the issuer does not go along. One that is away changes nothing: the services say when the
   *   token has ended
   */
  async keepFresh(): Promise<void> {
    const refreshToken = this.#refreshToken;
    const now = performance.now();
    if (refreshToken === undefined || now < this.#dueAt || now - this.#awayAt < RETRY_MS) return;
    this.#renewing ??= this.#renew(refreshToken).finally(() => (this.#renewing = undefined));
    await this.#renewing;
  }

  /** The login is over: the issuer forgets the refresh token, where it can. */
  end(): void {
    this.#isOver = true;
    const refreshToken = this.#refreshToken;
    this.#refreshToken = undefined;
    if (refreshToken !== undefined) void this.#renewal.revoke(refreshToken);
  }

  async #renew(refreshToken: string): Promise<void> {
    let next: Issued;
    try {
      next = await this.#renewal.renew(refreshToken);
    } catch (error) {
      if (!(error instanceof HttpError) || error.status === 401) throw error;
      this.#awayAt = performance.now();
      return;
    }
    const latest = next.refreshToken ?? refreshToken;
    if (this.#isOver || (next.subject ?? this.#subject) !== this.#subject) {
      void this.#renewal.revoke(latest);
      throw new HttpError(401, 'LOGIN_REFUSED', 'the issuer renews the login of somebody else; log in again');
    }
    this.#token = next.token;
    this.#dueAt = dueOf(next);
    this.#refreshToken = latest;
  }
}

/** Of a token that is good for no known time, the services say when it has ended. */
function dueOf({ lastsMs = Infinity }: Issued): number {
  return performance.now() + Math.max(lastsMs - RENEW_BEFORE_MS, lastsMs * (1 - RENEW_BEFORE_SHARE));
}
