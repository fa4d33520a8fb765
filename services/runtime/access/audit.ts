import { status } from '@grpc/grpc-js';
import type { ServiceError } from '../errors.ts';
import type { Caller } from './caller.ts';
import type { Named } from './rules.ts';

/** Longest name of a tenant or collection that a line repeats. */
const MAX_NAME_CHARS = 256;

/** Writes a line of JSON for each call: who did what, where, and what became of it. Never a text, never a credential. */
export class AuditLog {
  readonly #append: (line: string) => void;

  constructor(append: (line: string) => void) {
    this.#append = append;
  }

  write(
    what: string,
    caller: Caller | undefined,
    peer: string | undefined,
    { tenant, collection }: Named,
    error: ServiceError | undefined,
  ): void {
    this.#append(
      `${JSON.stringify({
        time: new Date().toISOString(),
        what: what.replace(/^\//, ''),
        who: caller?.id ?? '',
        kind: caller?.kind ?? 'unknown',
        from: peer ?? '',
        ...(tenant === undefined ? {} : { tenant: tenant.slice(0, MAX_NAME_CHARS) }),
        ...(collection === undefined ? {} : { collection: collection.slice(0, MAX_NAME_CHARS) }),
        outcome: error ? (status[error.code] ?? 'UNKNOWN') : 'OK',
        ...(error && { reason: error.reason }),
      })}\n`,
    );
  }
}
