import { ServiceError } from '../errors.ts';
import type { Admitted, Arrival, Hooks, Ticket } from '../listener/seams.ts';
import type { Access } from './access.ts';

/** Puts the question who calls before what others ask of calls as they come in. */
export function accessHooks(access: Access, others: Hooks = {}): Hooks {
  const { beforeCall, onRefusal } = others;
  const ask = (arrival: Arrival): Admitted | Promise<Ticket | undefined> => {
    const arrived = performance.now();
    const refuse = (error: unknown): never => {
      if (error instanceof ServiceError) onRefusal?.(arrival.method, error, arrived);
      throw error;
    };
    let own: Ticket | Promise<Ticket>;
    try {
      own = access.arrive(arrival);
    } catch (error) {
      return refuse(error);
    }
    if (!(own instanceof Promise)) return beforeCall ? andOthers(own, beforeCall, arrival) : own;
    return own.then(
      // It came when it came, whatever it has waited for.
      async (ticket) => {
        const both = beforeCall ? await andOthers(ticket, beforeCall, { ...arrival, arrived }) : ticket;
        if (both instanceof ServiceError) throw both;
        return both;
      },
      refuse,
    );
  };
  // Where nobody is asked, only a credential that counts for nothing is looked at.
  const concerns = access.asks || access.audits;
  return {
    ...others,
    beforeCall: (arrival) =>
      concerns || arrival.headers.authorization !== undefined ? ask(arrival) : beforeCall?.(arrival),
  };
}

/** Asks the others as well, who take turns by whose the call is. */
function andOthers(
  own: Ticket,
  beforeCall: NonNullable<Hooks['beforeCall']>,
  arrival: Arrival,
): Admitted | Promise<Ticket> {
  if (own.flow !== undefined) arrival.flow = own.flow;
  const theirs = beforeCall(arrival);
  if (theirs instanceof Promise) return theirs.then((other) => both(own, other));
  return theirs instanceof ServiceError ? theirs : both(own, theirs);
}

function both(own: Ticket, theirs: Ticket | undefined): Ticket {
  if (!theirs) return own;
  theirs.visitor = own.visitor;
  return theirs;
}
