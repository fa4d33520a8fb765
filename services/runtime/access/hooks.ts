import type { Hooks, Ticket } from '../listener/seams.ts';
import type { Access } from './access.ts';

/** Puts the question who calls before what others ask of calls as they come in. */
export function accessHooks(access: Access, others: Hooks = {}): Hooks {
  if (!access.asks && !access.audits) return others;
  const { beforeCall } = others;
  return {
    ...others,
    beforeCall: (arrival) => {
      const own = access.arrive(arrival);
      if (!beforeCall) return own;
      // A call that the others refuse has ended.
      const refused = (error: unknown): never => {
        own.done?.();
        throw error;
      };
      try {
        const theirs = beforeCall(own.flow === undefined ? arrival : { ...arrival, flow: own.flow });
        return theirs instanceof Promise
          ? theirs.then((other) => both(own, other), refused)
          : both(own, theirs);
      } catch (error) {
        return refused(error);
      }
    },
  };
}

function both(one: Ticket, other: Ticket | undefined): Ticket {
  if (!other) return one;
  return {
    metadata: { ...other.metadata, ...one.metadata },
    inflated: other.inflated,
    done: () => {
      one.done?.();
      other.done?.();
    },
  };
}
