import { status } from '@grpc/grpc-js';
import type { Scope } from '../../../keys/scopes.ts';
import { DEFAULT_RETRY_DELAY_MS, overloaded, ServiceError } from '../errors.ts';
import type { Caller } from './caller.ts';

// Why callers are refused. No message holds a credential, or a part of one.

/** Longest name of a caller's that a message repeats. */
const MAX_QUOTED_CHARS = 100;

const HOW = 'send one in the header "authorization: Bearer CREDENTIAL"';

/** A call without a credential. */
export function credentialMissing(): ServiceError {
  return new ServiceError(
    status.UNAUTHENTICATED,
    'CREDENTIAL_MISSING',
    `this service asks for a credential; ${HOW}`,
  );
}

/** The header is not of the form that we read. */
export function credentialMalformed(what: string): ServiceError {
  return new ServiceError(status.UNAUTHENTICATED, 'CREDENTIAL_INVALID', `authorization: ${what}; ${HOW}`);
}

/** What was sent is no credential of this service; it does not say why, so that nobody can probe for keys. */
export function credentialUnknown(what: string): ServiceError {
  return new ServiceError(
    status.UNAUTHENTICATED,
    'CREDENTIAL_INVALID',
    `${what} is not known here; check that it is whole, and made for this service`,
  );
}

/** A token that its issuer has signed says something that we can't use; the message names the claim. */
export function tokenUnusable(why: string): ServiceError {
  return new ServiceError(status.UNAUTHENTICATED, 'CREDENTIAL_INVALID', `the token's claim ${why}`);
}

/** Nobody can say now whether a token is good. */
export function issuerAway(): ServiceError {
  return new ServiceError(
    status.UNAVAILABLE,
    'ISSUER_UNAVAILABLE',
    "the keys of the token's issuer can't be had now, so the token can't be checked; send it again later",
    { retryDelayMs: DEFAULT_RETRY_DELAY_MS },
  );
}

/** Too many tokens that were not seen before come at a time. */
export function tokensWait(): ServiceError {
  return overloaded('too many new tokens wait to be checked; send it again', DEFAULT_RETRY_DELAY_MS);
}

/** A service that checks no credentials was sent a key: whoever sent it believes that it counts. */
export function credentialUnchecked(): ServiceError {
  return new ServiceError(
    status.UNAUTHENTICATED,
    'CREDENTIAL_INVALID',
    'this service has no keys, and would ignore the one that was sent; start it with --keys, or send none ' +
      '(SCALINGNOTE_API_KEY)',
  );
}

/** The credential was good once. */
export function credentialDead(caller: Caller, death: 'revoked' | 'expired'): ServiceError {
  return new ServiceError(
    status.UNAUTHENTICATED,
    death === 'expired' ? 'CREDENTIAL_EXPIRED' : 'CREDENTIAL_REVOKED',
    `${named(caller)} is ${death}; get a new one`,
    { metadata: { caller: caller.id } },
  );
}

/** The credential does not allow what the method or route does. */
export function scopeMissing(caller: Caller, scope: Scope, what: string): ServiceError {
  const has = [...caller.scopes].join(', ') || 'none';
  return new ServiceError(
    status.PERMISSION_DENIED,
    'SCOPE_MISSING',
    `${what} needs the scope ${scope}; ${named(caller)} has ${has}`,
    { metadata: { caller: caller.id, scope } },
  );
}

/** The credential is for other tenants. */
export function tenantNotAllowed(caller: Caller, field: string, tenant: string): ServiceError {
  const whose = `${named(caller)}, which is for the tenants ${caller.tenants.toString()}`;
  const what =
    tenant === ''
      ? `is empty, which means data without a tenant; name a tenant of ${whose}`
      : `${quoted(tenant)} is not for ${whose}`;
  return new ServiceError(status.PERMISSION_DENIED, 'TENANT_NOT_ALLOWED', `${field}: ${what}`, {
    metadata: { caller: caller.id },
  });
}

/** The request is about all tenants, and the credential is for some. */
export function allTenantsNotAllowed(caller: Caller, field: string): ServiceError {
  return new ServiceError(
    status.PERMISSION_DENIED,
    'TENANT_NOT_ALLOWED',
    `${field} needs a credential for the tenants "*"; ${named(caller)} is for ${caller.tenants.toString()}`,
    { metadata: { caller: caller.id } },
  );
}

/** The credential is for other collections. */
export function collectionNotAllowed(caller: Caller, field: string, collection: string): ServiceError {
  const whose = `${named(caller)}, which is for the collections ${caller.collections.toString()}`;
  const what =
    collection === ''
      ? `is empty; name a collection of ${whose}`
      : `${quoted(collection)} is not for ${whose}`;
  return new ServiceError(status.PERMISSION_DENIED, 'COLLECTION_NOT_ALLOWED', `${field}: ${what}`, {
    metadata: { caller: caller.id },
  });
}

function named({ kind, id }: Caller): string {
  return kind === 'anonymous' ? 'this caller' : `the ${kind} ${JSON.stringify(id)}`;
}

function quoted(name: string): string {
  return JSON.stringify(name.length > MAX_QUOTED_CHARS ? `${name.slice(0, MAX_QUOTED_CHARS)}…` : name);
}
