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
      if (own instanceof Promise) return own.then((ticket) => after(ticket));
      return after(own);

      /** A call that the others refuse has ended. */
      function after(ticket: Ticket): Ticket | Promise<Ticket> {
        try {
          const theirs = beforeCall!(arrival);
          if (theirs instanceof Promise) {
            return theirs.then(
              (other) => both(ticket, other),
              (error: unknown) => {
                ticket.done?.();
                throw error;
              },
            );
          }
          return both(ticket, theirs);
        } catch (error) {
          ticket.done?.();
          throw error;
        }
      }
    },
  };
}

function both(one: Ticket, other: Ticket | undefined): Ticket {
  if (!other) return one;
  return {
    metadata: { ...other.metadata, ...one.metadata },
    done: () => {
      one.done?.();
      other.done?.();
    },
  };
}
