import { randomBytes } from 'node:crypto';
import type { Context } from 'hono';
import { getCookie, setCookie } from 'hono/cookie';
import { ScalingnoteError } from '../../../clients/index.ts';
import { type Addresses, Desk } from '../desk.ts';
import { fromCallError, HttpError } from '../http/errors.ts';
import type { Tokens } from './tokens.ts';

/** People who are logged in at a time. The one who has done nothing for the longest makes room. */
export const MAX_SESSIONS = 100;
/** Logins that are checked at a time. */
const MAX_LOGINS = 8;
/** A session in which nobody does anything ends: a search or an ingest is something, a page that is open is not. */
export const IDLE_MS = 30 * 60_000;
/** And every session ends after a day of work. */
export const LONGEST_MS = 12 * 3600_000;
/** How long a credential counts as good before the services are asked again. */
const CHECKED_MS = 30_000;
const CHECK_TIMEOUT_MS = 5_000;

/** Somebody who is logged in. */
interface Session {
  desk: Desk;
  startedAt: number;
  usedAt: number;
  checkedAt: number;
  /** Whether the credential may read metrics, and so traces, which are of all callers. */
  maySeeTraces: boolean;
  /** Of the issuer that has said who it is; `undefined` for a key or token that somebody has entered. */
  tokens: Tokens | undefined;
}

/** Limits that tests make smaller. */
export interface SessionLimits {
  maxSessions?: number | undefined;
  idleMs?: number | undefined;
  longestMs?: number | undefined;
  checkedMs?: number | undefined;
}

/** Who is logged in. All is in memory: a restart ends all sessions. */
export class Sessions {
  readonly #addresses: Addresses;
  /** Addresses of metrics. */
  readonly #metrics: readonly string[];
  readonly #isTls: boolean;
  readonly #limits: Required<{ [Name in keyof SessionLimits]: number }>;
  /** By the secret in the cookie, the one that was used last at the end. */
  readonly #sessions = new Map<string, Session>();
  readonly #sweeper: NodeJS.Timeout;
  #logins = 0;

  constructor(addresses: Addresses, metrics: readonly string[], isTls: boolean, limits: SessionLimits = {}) {
    this.#addresses = addresses;
    this.#metrics = metrics.filter((address) => address !== '');
    this.#isTls = isTls;
    const { idleMs = IDLE_MS, longestMs = LONGEST_MS, checkedMs = CHECKED_MS } = limits;
    this.#limits = { idleMs, longestMs, checkedMs, maxSessions: limits.maxSessions ?? MAX_SESSIONS };
    this.#sweeper = setInterval(() => this.#sweep(), Math.min(idleMs, 60_000)).unref();
  }

  get size(): number {
    return this.#sessions.size;
  }

  /**
   * Logs in with a key or token, which the services judge.
   *
   * @param credential - or what gets one from an issuer
   * @throws {HttpError} where they do not take it, or are away
   */
  async login(context: Context, credential: string | (() => Promise<Tokens>)): Promise<void> {
    if (this.#logins >= MAX_LOGINS) {
      throw new HttpError(429, 'TOO_MANY_LOGINS', 'others are logging in; try again', { retryDelayMs: 1000 });
    }
    this.#logins++;
    let desk: Desk | undefined;
    let tokens: Tokens | undefined;
    try {
      if (typeof credential === 'string') desk = openDesk(this.#addresses, credential);
      else {
        tokens = await credential();
        desk = openDesk(this.#addresses, tokens.current);
      }
      await check(desk);
      const maySeeTraces = await this.#mayRead(desk);
      this.logout(context);
      const now = performance.now();
      const secret = randomBytes(32).toString('base64url');
      const times = { startedAt: now, usedAt: now, checkedAt: now };
      this.#sessions.set(secret, { desk, ...times, maySeeTraces, tokens });
      desk = tokens = undefined;
      this.#setCookie(context, secret, Math.ceil(this.#limits.longestMs / 1000));
      for (const [oldest] of this.#sessions) {
        if (this.#sessions.size <= this.#limits.maxSessions) break;
        this.#end(oldest);
      }
    } finally {
      this.#logins--;
      tokens?.end();
      await desk?.close();
    }
  }

  /** @returns whether an issuer has said who it was */
  logout(context: Context): boolean {
    const secret = getCookie(context, this.#cookie);
    if (secret === undefined) return false;
    const byIssuer = this.#sessions.get(secret)?.tokens !== undefined;
    this.#end(secret);
    this.#setCookie(context, '', 0);
    return byIssuer;
  }

  /** Whether a request is of somebody who is logged in. */
  async has(context: Context): Promise<boolean> {
    try {
      await this.require(context, false);
      return true;
    } catch (error) {
      if (error instanceof HttpError && error.status === 401) return false;
      throw error;
    }
  }

  /** @throws {HttpError} where a request is of nobody, or of somebody whose credential does not work any more */
  async require(context: Context, forTraces: boolean): Promise<void> {
    const secret = getCookie(context, this.#cookie) ?? '';
    const session = this.#sessions.get(secret);
    const now = performance.now();
    if (!session || this.#isOver(session, now)) {
      this.#end(secret);
      throw loginNeeded('log in with an API key or a token');
    }
    await session.tokens?.keepFresh().catch((error: unknown) => {
      this.#end(secret);
      throw loginNeeded(`log in again: ${(error as Error).message}`);
    });
    if (now - session.checkedAt > this.#limits.checkedMs) {
      session.checkedAt = now;
      await check(session.desk).catch((error: unknown) => {
        // A service that is away says nothing about the credential.
        if (!(error instanceof HttpError) || error.status !== 401) return;
        this.#end(secret);
        throw error;
      });
    }
    // A page that only looks, again and again, does not keep somebody logged in who has gone.
    if (context.req.method !== 'GET' && this.#sessions.has(secret)) {
      session.usedAt = now;
      this.#sessions.delete(secret);
      this.#sessions.set(secret, session);
    }
    if (!forTraces || session.maySeeTraces) return;
    throw new HttpError(
      403,
      'SCOPE_MISSING',
      'traces are of all callers, and need a credential with the scope metrics',
    );
  }

  /** The desk of a request that {@link require} has let pass. */
  readonly deskOf = (context: Context): Desk => {
    const session = this.#sessions.get(getCookie(context, this.#cookie) ?? '');
    if (!session) throw loginNeeded('log in with an API key or a token');
    return session.desk;
  };

  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    const all = [...this.#sessions.values()];
    this.#sessions.clear();
    for (const { tokens } of all) tokens?.end();
    await Promise.all(all.map(({ desk }) => desk.close()));
  }

  /** With TLS, a name that no other host of the domain can set a cookie by (RFC 6265bis, "__Host-"). */
  get #cookie(): string {
    return this.#isTls ? '__Host-scalingnote' : 'scalingnote';
  }

  #setCookie(context: Context, value: string, maxAge: number): void {
    setCookie(context, this.#cookie, value, {
      path: '/',
      httpOnly: true,
      sameSite: 'Strict',
      secure: this.#isTls,
      maxAge,
    });
  }

  #isOver({ startedAt, usedAt }: Session, now: number): boolean {
    return now - startedAt >= this.#limits.longestMs || now - usedAt >= this.#limits.idleMs;
  }

  #sweep(): void {
    const now = performance.now();
    for (const [secret, session] of this.#sessions) if (this.#isOver(session, now)) this.#end(secret);
  }

  #end(secret: string): void {
    const session = this.#sessions.get(secret);
    if (!session) return;
    this.#sessions.delete(secret);
    session.tokens?.end();
    void session.desk.close();
  }

  async #mayRead(desk: Desk): Promise<boolean> {
    const answers = await Promise.allSettled(
      this.#metrics.map((address) => desk.metrics(address, CHECK_TIMEOUT_MS)),
    );
    for (const answer of answers) if (answer.status === 'fulfilled') await answer.value.body?.cancel();
    return answers.some((answer) => answer.status === 'fulfilled' && answer.value.ok);
  }
}

/** Nobody is logged in. */
export function loginNeeded(message: string): HttpError {
  return new HttpError(401, 'LOGIN_NEEDED', message);
}

/** @throws {HttpError} for what no header can carry */
function openDesk(addresses: Addresses, credential: string | (() => string)): Desk {
  try {
    return new Desk(addresses, credential);
  } catch (error) {
    throw fromCallError(error, '');
  }
}

/** Asks the services whether a credential is good: the first that answers says it. @throws {HttpError} */
async function check({ documents, queries }: Desk): Promise<void> {
  const [query] = queries.clients;
  const bounds = { timeoutMs: CHECK_TIMEOUT_MS };
  const asked = await Promise.allSettled([query![1].describe(bounds), documents.client.describe(bounds)]);
  const refusal = asked.find(
    (each) =>
      each.status === 'rejected' &&
      each.reason instanceof ScalingnoteError &&
      each.reason.code === 'UNAUTHENTICATED',
  );
  if (refusal?.status === 'rejected') throw loginNeeded((refusal.reason as Error).message);
  if (asked.some(({ status }) => status === 'fulfilled')) return;
  throw fromCallError((asked[0] as PromiseRejectedResult).reason, query![0]);
}
