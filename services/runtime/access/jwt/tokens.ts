import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { FlattenedJWSInput, JWSHeaderParameters, JWTPayload, JWTVerifyOptions } from 'jose';
import type { Logger } from 'pino';
import { deadlineExceeded, ServiceError } from '../../errors.ts';
import { repeatedKey } from '../../listener/repeated-key.ts';
import type { Caller } from '../caller.ts';
import { credentialDead, credentialUnknown, issuerAway, tokensWait, tokenUnusable } from '../refusals.ts';
import { ClaimError, rightsOf, type ClaimNames } from './claims.ts';
import { KeysAwayError, type IssuerKeys, type VerifyingKey } from './issuer-keys.ts';

/** Verified tokens that are remembered, some 2 KB each. A service with more callers at a time verifies some again. */
export const MAX_TOKENS = 10_000;
/** Refused tokens that are remembered, so that whoever repeats one costs no verification. */
export const MAX_BAD_TOKENS = 1_000;
/** How long they are, in milliseconds: a key may come that verifies one. */
const BAD_TOKEN_MS = 10_000;
/** Tokens that are verified at a time. Whoever sends made-up ones gets no more of the machine than this. */
export const MAX_VERIFYING = 64;
/** Calls that wait for a token to be verified, all together. */
export const MAX_WAITING = 1_000;

/** Who issues tokens for this service. */
export interface Issuer {
  /** The claim `iss`, letter for letter. */
  name: string;
  keys: IssuerKeys;
}

/** What tokens have to be. */
export interface TokenRules {
  /** At least one of these is in the claim `aud`. */
  audiences: readonly string[];
  algorithms: readonly string[];
  /** How far clocks may differ, in seconds. */
  skewS: number;
  claims: ClaimNames;
}

/**
 * Finds out who sends a signed token (RFC 7519). What was verified is remembered by the SHA-256 of the token until it
 * expires, so that only a token that was not seen waits.
 */
export class Tokens {
  readonly #issuers: readonly Issuer[];
  readonly #rules: TokenRules;
  readonly #log: Logger;
  readonly #good = new LRUCache<string, Caller>({ max: MAX_TOKENS });
  readonly #bad = new LRUCache<string, ServiceError>({ max: MAX_BAD_TOKENS, ttl: BAD_TOKEN_MS });
  readonly #verifying = new Map<string, Promise<Caller>>();
  #waiting = 0;

  constructor(issuers: readonly Issuer[], rules: TokenRules, log: Logger) {
    this.#issuers = issuers;
    this.#rules = rules;
    this.#log = log;
  }

  /** Verified tokens that are remembered. */
  get size(): number {
    return this.#good.size;
  }

  /** The keys of an issuer are others than before: what was unknown may be known now. */
  readonly forgetBad = (): void => this.#bad.clear();

  /**
   * Who sends a token.
   *
   * @param deadline - as of `performance.now()`: the caller waits no longer
   * @throws {ServiceError} UNAUTHENTICATED, UNAVAILABLE, RESOURCE_EXHAUSTED; at once, or later
   */
  callerOf(token: string, deadline: number): Caller | Promise<Caller> {
    const hash = createHash('sha256').update(token).digest('base64');
    const known = this.#good.get(hash);
    if (known) {
      const death = known.death(Date.now());
      if (death === undefined) return known;
      this.#good.delete(hash);
      throw credentialDead(known, death);
    }
    const refusal = this.#bad.get(hash);
    if (refusal) throw refusal;
    if (this.#waiting >= MAX_WAITING) throw tokensWait();
    let verifying = this.#verifying.get(hash);
    if (!verifying) {
      if (this.#verifying.size >= MAX_VERIFYING) throw tokensWait();
      verifying = this.#remembered(hash, token).finally(() => this.#verifying.delete(hash));
      this.#verifying.set(hash, verifying);
      // Each who waits hears of a failure; nobody may wait any more.
      verifying.catch(() => {});
    }
    return this.#wait(verifying, deadline);
  }

  async #wait(verifying: Promise<Caller>, deadline: number): Promise<Caller> {
    this.#waiting++;
    let timer: NodeJS.Timeout | undefined;
    try {
      if (deadline === Infinity) return await verifying;
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(deadlineExceeded()), Math.max(0, deadline - performance.now()));
      });
      return await Promise.race([verifying, late]);
    } finally {
      clearTimeout(timer);
      this.#waiting--;
    }
  }

  async #remembered(hash: string, token: string): Promise<Caller> {
    try {
      const caller = await this.#verify(token);
      this.#good.set(hash, caller);
      return caller;
    } catch (error) {
      if (error instanceof KeysAwayError) throw issuerAway();
      if (error instanceof KeyUnknownError) throw this.#unknown('of a key that is not known');
      if (error instanceof ServiceError) this.#bad.set(hash, error);
      throw error;
    }
  }

  async #verify(token: string): Promise<Caller> {
    const claims = payloadOf(token);
    const issuer = claims && this.#issuers.find(({ name }) => name === claims['iss']);
    // The rest of what may be wrong is found after the signature: what is made up tells nothing.
    if (!issuer) throw this.#unknown(claims ? 'of another issuer' : 'no token that can be read');
    const { audiences, algorithms, skewS } = this.#rules;
    const { errors } = await import('jose');
    try {
      const { payload, thumbprint } = await verifiedBy(issuer.keys, token, {
        issuer: issuer.name,
        audience: [...audiences],
        algorithms: [...algorithms],
        clockTolerance: skewS,
        requiredClaims: ['exp', 'iss', 'aud', 'sub'],
      });
      return this.#callerOf(payload, issuer, thumbprint);
    } catch (error) {
      if (error instanceof ClaimError) throw tokenUnusable(error.message);
      if (error instanceof errors.JWTExpired) throw this.#expired(error.payload, issuer);
      if (error instanceof errors.JWTClaimValidationFailed) {
        throw this.#unknown(`the claim ${JSON.stringify(error.claim)}: ${error.reason}`);
      }
      if (error instanceof errors.JOSEError) throw this.#unknown(error.code);
      throw error;
    }
  }

  #callerOf(claims: JWTPayload, issuer: Issuer, thumbprint: string): Caller {
    const endsAt = (claims.exp! + this.#rules.skewS) * 1000;
    const rights = rightsOf(claims, this.#rules.claims);
    return {
      ...rights,
      id: this.#issuers.length === 1 ? rights.id : `${rights.id} of ${issuer.name}`,
      death: (now) => {
        if (now >= endsAt) return 'expired';
        // A key that its issuer has withdrawn takes its tokens along. Where nobody knows, they work until they expire.
        return issuer.keys.areKnown && !issuer.keys.has(thumbprint) ? 'revoked' : undefined;
      },
    };
  }

  #expired(claims: JWTPayload, issuer: Issuer): ServiceError {
    try {
      return credentialDead(this.#callerOf(claims, issuer, ''), 'expired');
    } catch (error) {
      return tokenUnusable((error as Error).message);
    }
  }

  /** Callers are not told what is wrong with what they made up; whoever runs the service finds it in the log. */
  #unknown(why: string): ServiceError {
    this.#log.debug({ why }, 'a token was refused');
    return credentialUnknown('the token');
  }
}

/** No key of the issuer fits. The next set of keys may have it, so this is not remembered; nor did it cost much. */
class KeyUnknownError extends Error {
  override readonly name = 'KeyUnknownError';
}

/** Verifies a token with the first key that does; several may fit one that names no key. */
async function verifiedBy(
  keys: IssuerKeys,
  token: string,
  options: JWTVerifyOptions,
): Promise<{ payload: JWTPayload; thumbprint: string }> {
  const { errors, jwtVerify } = await import('jose');
  let found: VerifyingKey[] = [];
  let tried = 0;
  const next = async (header: JWSHeaderParameters, input: FlattenedJWSInput) => {
    if (tried === 0) found = await keys.keysFor(header, input);
    const candidate = found[tried++];
    if (!candidate) throw new KeyUnknownError();
    return candidate.key;
  };
  for (;;) {
    try {
      const { payload } = await jwtVerify(token, next, options);
      return { payload, thumbprint: found[tried - 1]!.thumbprint };
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed) || tried >= found.length) throw error;
    }
  }
}

/**
 * What a token says of itself, before anybody has verified it; `undefined` where it can't be read, or can be read in two
 * ways: a key that comes twice is one thing here and another elsewhere.
 */
function payloadOf(token: string): Record<string, unknown> | undefined {
  const parts = token.split('.');
  if (parts.length !== 3) return undefined;
  const [header, payload] = parts.slice(0, 2).map(objectOf);
  return header && payload;
}

function objectOf(part: string): Record<string, unknown> | undefined {
  try {
    const json = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(part, 'base64url'));
    const value: unknown = JSON.parse(json);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject && repeatedKey(json) === undefined ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
