import { readFileSync } from 'node:fs';
import type { CryptoKey, FlattenedJWSInput, JWK, JWSHeaderParameters, LocalJWKSet } from 'jose';
import type { Logger } from 'pino';
import type { Agent } from 'undici';
import { reloadingConnector, type OutgoingTls } from '../../../../calls/outgoing-tls.ts';
import { ConfigError } from '../../setting-types.ts';
import { WatchedFiles } from '../watched-file.ts';

/** How long keys count as new; then they are fetched again, so that a key that was withdrawn stops working. */
export const REFRESH_MS = 10 * 60_000;
/** Pause between two fetches, whoever asks for them: tokens with made-up key ids must not become requests. */
export const COOLDOWN_MS = 30_000;
/** How long keys are used that can't be fetched again: an outage of the issuer must not be ours for as long. */
export const KEPT_MS = 6 * 3600_000;
/** Longest wait for the issuer's answer. A call that needs it waits no longer than its own deadline, either. */
const FETCH_TIMEOUT_MS = 5_000;
/** Largest set of keys that is read: a hundred keys with their certificates are half of it. */
const MAX_JWKS_BYTES = 512 * 1024;
/** Most keys of one issuer: a token that names none is tried with all that fit. */
const MAX_JWKS_KEYS = 100;

/** Times that tests shorten. */
export interface KeyTimes {
  refreshMs?: number | undefined;
  cooldownMs?: number | undefined;
  keptMs?: number | undefined;
}

/** The issuer's keys can't be had: nothing is known of the token. */
export class KeysAwayError extends Error {
  override readonly name = 'KeysAwayError';
}

/** What a key verifies a token with, and how it is recognised in the next set. */
export interface VerifyingKey {
  key: CryptoKey;
  thumbprint: string;
}

interface KeySet {
  find: LocalJWKSet;
  thumbprints: ReadonlySet<string>;
}

/** The public keys of an issuer: from its address, or from a file. */
export class IssuerKeys {
  readonly #source: string;
  readonly #log: Logger;
  readonly #times: Required<{ [Name in keyof KeyTimes]: number }>;
  readonly #file: WatchedFiles<string> | undefined;
  readonly #tls: OutgoingTls;
  /** Told when the keys are others than before. */
  readonly #changed: () => void;
  #agent: Agent | undefined;
  #set: KeySet | undefined;
  #text = '';
  /** When the keys were read, and when that was last tried, as of `performance.now()`. */
  #readAt = -Infinity;
  #triedAt = -Infinity;
  #failure: string | undefined;
  #reading: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Fetches that failed. */
  failures = 0;

  /**
   * Reads a file at once, and begins to fetch from an address.
   *
   * @param source - an address, or the path of a file
   * @throws {ConfigError} where it can't be used
   */
  constructor(source: string, tls: OutgoingTls, log: Logger, changed: () => void, times: KeyTimes = {}) {
    this.#source = source;
    this.#tls = tls;
    this.#log = log;
    this.#changed = changed;
    const { refreshMs = REFRESH_MS, cooldownMs = COOLDOWN_MS, keptMs = KEPT_MS } = times;
    this.#times = { refreshMs, cooldownMs, keptMs };
    if (isAddress(source)) {
      this.#refresh();
      return;
    }
    const read = (): string => {
      const text = fileOf(source);
      keysOf(text);
      return text;
    };
    this.#file = new WatchedFiles([source], read, log, () => void this.#read());
    void this.#read();
  }

  /** Seconds since the keys were read; nothing before the first time. */
  get ageSeconds(): number {
    return this.#set ? (performance.now() - this.#readAt) / 1000 : Number.NaN;
  }

  /** Whether tokens may count on these keys: they are here, and not too old. */
  get areKnown(): boolean {
    if (!this.#set) return false;
    return this.#file !== undefined || performance.now() - this.#readAt < this.#times.keptMs;
  }

  /** Whether the issuer still has a key. */
  has(thumbprint: string): boolean {
    return this.#set?.thumbprints.has(thumbprint) ?? false;
  }

  /**
   * The keys that may have signed a token. One that is not known makes the keys be read again, if that was not just done.
   *
   * @throws {KeysAwayError} where it can't be said
   */
  async keysFor(header: JWSHeaderParameters, token: FlattenedJWSInput): Promise<VerifyingKey[]> {
    if (this.#reading && !this.areKnown) await this.#reading;
    let found = await this.#find(header, token);
    if (found.length === 0 && !this.#file) {
      await (this.#reading ?? (this.#mayTry() ? this.#read() : undefined));
      found = await this.#find(header, token);
    }
    if (found.length === 0 && (!this.areKnown || this.#failure !== undefined)) {
      throw new KeysAwayError('the keys of the issuer are not to be had');
    }
    return found;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#file?.close();
    void this.#agent?.destroy();
  }

  #mayTry(): boolean {
    return performance.now() - this.#triedAt >= this.#times.cooldownMs;
  }

  #refresh(): void {
    void this.#read();
    const { refreshMs, cooldownMs } = this.#times;
    this.#timer = setInterval(
      () => {
        const isDue = performance.now() - this.#readAt >= refreshMs || this.#failure !== undefined;
        if (isDue && !this.#reading && this.#mayTry()) void this.#read();
      },
      Math.min(refreshMs, cooldownMs),
    ).unref();
  }

  async #find(header: JWSHeaderParameters, token: FlattenedJWSInput): Promise<VerifyingKey[]> {
    if (!this.areKnown) return [];
    const { errors, calculateJwkThumbprint, exportJWK } = await import('jose');
    const keys: CryptoKey[] = [];
    try {
      keys.push(await this.#set!.find(header, token));
    } catch (error) {
      if (error instanceof errors.JWKSMultipleMatchingKeys) {
        for await (const key of error) keys.push(key);
      } else if (!(error instanceof errors.JOSEError)) throw error;
    }
    return Promise.all(
      keys.map(async (key) => ({ key, thumbprint: await calculateJwkThumbprint(await exportJWK(key)) })),
    );
  }

  /** Reads the keys; one at a time. Never rejects: what went wrong is in the log, and the keys stay. */
  #read(): Promise<void> {
    this.#triedAt = performance.now();
    const reading = this.#fetch().then((text) => this.#take(text));
    this.#reading = reading
      .then(
        () => {
          this.#readAt = performance.now();
          if (this.#failure !== undefined)
            this.#log.info({ from: this.#source }, 'the issuer’s keys are back');
          this.#failure = undefined;
        },
        (error: unknown) => {
          this.failures++;
          // An outage is one line, not one for each attempt.
          const why = reasonOf(error);
          if (why !== this.#failure) {
            const left = this.areKnown
              ? `those of before stay in force for ${Math.round(this.#times.keptMs / 60_000)} minutes in all`
              : 'tokens of this issuer can’t be checked';
            this.#log.error({ from: this.#source }, `the issuer’s keys can’t be read: ${why}; ${left}`);
          }
          this.#failure = why;
        },
      )
      .finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  async #take(text: string): Promise<void> {
    if (text === this.#text && this.#set) return;
    const { calculateJwkThumbprint, createLocalJWKSet } = await import('jose');
    const keys = keysOf(text);
    const thumbprints = await Promise.all(keys.map((key) => calculateJwkThumbprint(key)));
    this.#set = { find: createLocalJWKSet({ keys }), thumbprints: new Set(thumbprints) };
    this.#text = text;
    this.#log.info({ from: this.#source, keys: keys.length }, 'keys of an issuer');
    this.#changed();
  }

  async #fetch(): Promise<string> {
    if (this.#file) return this.#file.value;
    const { Agent, buildConnector, request } = await import('undici');
    this.#agent ??= new Agent({
      connections: 1,
      maxResponseSize: MAX_JWKS_BYTES,
      connect: reloadingConnector(buildConnector, this.#tls, { timeout: FETCH_TIMEOUT_MS }),
    });
    const { statusCode, body } = await request(this.#source, {
      dispatcher: this.#agent,
      headers: { accept: 'application/jwk-set+json, application/json' },
      signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
    });
    const text = await body.text();
    if (statusCode !== 200) throw new Error(`it answers with status ${statusCode}`);
    return text;
  }
}

/** Whether a source is an address; everything else is the path of a file. */
export function isAddress(source: string): boolean {
  return /^https?:\/\//i.test(source);
}

/**
 * The keys of a set that verify signatures. A secret key has no place there: whoever can read the set could sign.
 *
 * @throws {Error} where the text is no set of keys
 */
function keysOf(text: string): JWK[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new Error('it is no JSON');
  }
  const { keys } = (parsed ?? {}) as { keys?: unknown };
  if (!Array.isArray(keys)) throw new Error('it has no list "keys"');
  if (keys.length > MAX_JWKS_KEYS)
    throw new Error(`it has ${keys.length} keys; ${MAX_JWKS_KEYS} is the most`);
  const usable = (keys as (JWK | null)[]).filter(
    (key): key is JWK => key !== null && typeof key === 'object' && key.use !== 'enc',
  );
  const secret = usable.find(({ kty, d }) => kty === 'oct' || d !== undefined);
  if (secret) throw new Error('it has a secret key; publish public keys alone, and replace that one');
  const known = usable.filter(({ kty }) => ['RSA', 'EC', 'OKP'].includes(kty ?? ''));
  if (known.length === 0) throw new Error('it has no public key that signatures are verified with');
  // What may be exported, and so recognised, is not the issuer's to say.
  return known.map((key) => ({ ...key, ext: true }));
}

function fileOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigError(`--jwt-jwks: ${(error as Error).message}`, { cause: error });
  }
}

/** Undici says "fetch failed" and the like, and the rest in the cause. */
function reasonOf(error: unknown): string {
  const { message, name } = error as Error;
  return name === 'TimeoutError' ? `no answer within ${FETCH_TIMEOUT_MS} ms` : message || name;
}
