import type { InstrumentSnapshot } from '../telemetry/snapshot.ts';
import type { QuotaName } from '../tenants/quotas.ts';

/** What a process let a tenant have of a quota that is counted in seconds. */
export interface Spent {
  quota: QuotaName;
  tenant: string;
  amount: number;
}

/** What a parent says to one of its processes. */
export type ToMember =
  | {
      /** Comes with a connection. */
      type: 'connection';
      peer: string;
    }
  | {
      /** The service stops: say that it does not serve. Connections may still come. */
      type: 'stop';
    }
  | {
      /** No more connections come. */
      type: 'drain';
    }
  | { type: 'measure'; id: number }
  | { type: 'spent'; spent: readonly Spent[] };

/** What a process says to its parent, besides its `ServiceReport`. */
export type ToParent =
  | {
      /** Whether it serves: why not, in words. */
      type: 'serving';
      reason: string | undefined;
    }
  | {
      /** A connection has ended. */
      type: 'closed';
      peer: string;
    }
  | {
      /** Its event loop turns. */
      type: 'beat';
    }
  | {
      /** It wants no more connections, and waits for `drain`. */
      type: 'stopping';
    }
  | {
      type: 'measured';
      /** Of the question; absent for the last word of a process that ends. */
      id: number | undefined;
      instruments: readonly InstrumentSnapshot[];
    }
  | { type: 'spent'; spent: readonly Spent[] }
  | {
      /** Lines of the audit log. */
      type: 'audit';
      lines: readonly string[];
    };
