import { Patterns } from '../../../keys/patterns.ts';
import { SCOPES, type Scope } from '../../../keys/scopes.ts';

/** Who calls, and what that credential allows. */
export interface Caller {
  /** Names the credential in logs and errors; no secret: the id of a key, the subject of a token or certificate. */
  readonly id: string;
  readonly kind: 'key' | 'token' | 'certificate' | 'anonymous';
  readonly scopes: ReadonlySet<Scope>;
  readonly tenants: Patterns;
  readonly collections: Patterns;
  /** Why the credential does not work any more; `undefined` while it does. Streams ask again with each message. */
  death(now: number): 'revoked' | 'expired' | undefined;
}

/** What a service that asks nobody for a credential takes each caller for. */
export const ANYBODY: Caller = {
  id: 'anonymous',
  kind: 'anonymous',
  scopes: new Set(SCOPES),
  tenants: new Patterns(['*']),
  collections: new Patterns(['*']),
  death: () => undefined,
};
