import type { JWTPayload } from 'jose';
import { flawOfPattern, MAX_PATTERNS, Patterns } from '../../../../keys/patterns.ts';
import { SCOPES, type Scope } from '../../../../keys/scopes.ts';
import type { Caller } from '../caller.ts';

/** Longest subject of a token: it names the caller in logs and errors. */
const MAX_SUBJECT_CHARS = 256;

/** Which claims say what. */
export interface ClaimNames {
  scopes: readonly string[];
  tenants: string;
  collections: string;
}

/** A claim is not what it has to be; the message names it, and not what it holds. */
export class ClaimError extends Error {
  override readonly name = 'ClaimError';
}

/** What a token's claims say of its caller. What no claim allows is not allowed. @throws {ClaimError} */
export function rightsOf(
  claims: JWTPayload,
  names: ClaimNames,
): Pick<Caller, 'id' | 'kind' | 'scopes' | 'tenants' | 'collections'> {
  const { sub } = claims;
  if (typeof sub !== 'string' || sub === '' || sub.length > MAX_SUBJECT_CHARS) {
    throw new ClaimError(`"sub" must be a text of 1 to ${MAX_SUBJECT_CHARS} characters`);
  }
  const texts = new Set(
    names.scopes.flatMap((name) => textsOf(claims, name).flatMap((text) => text.split(' '))),
  );
  return {
    id: sub,
    kind: 'token',
    // A token has scopes of other services as well, "openid" for one.
    scopes: new Set(SCOPES.filter((scope: Scope) => texts.has(scope))),
    tenants: patternsOf(claims, names.tenants),
    collections: patternsOf(claims, names.collections),
  };
}

function patternsOf(claims: JWTPayload, name: string): Patterns {
  const texts = textsOf(claims, name);
  if (texts.length > MAX_PATTERNS) {
    throw new ClaimError(`"${name}" has ${texts.length} names; ${MAX_PATTERNS} is the most`);
  }
  for (const text of texts) {
    const flaw = flawOfPattern(text);
    if (flaw !== undefined) throw new ClaimError(`a name in "${name}" ${flaw}`);
  }
  return new Patterns(texts);
}

function textsOf(claims: JWTPayload, name: string): string[] {
  // A claim of a name that every object has is not there because of that.
  const value = Object.hasOwn(claims, name) ? claims[name] : undefined;
  if (value === undefined) return [];
  const texts: unknown[] = Array.isArray(value) ? value : [value];
  if (!texts.every((text) => typeof text === 'string')) {
    throw new ClaimError(`"${name}" must be a text, or a list of texts`);
  }
  return texts;
}
