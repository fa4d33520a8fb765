import { ServiceError } from '../errors.ts';
import type { Arrival, Hooks, Ticket } from '../listener/seams.ts';
import type { Access } from './access.ts';

/** Puts the question who calls before what others ask of calls as they come in. */
export function accessHooks(access: Access, others: Hooks = {}): Hooks {
  const { beforeCall, onRefusal } = others;
  const ask = (arrival: Arrival): Ticket | Promise<Ticket> => {
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
      (ticket) => (beforeCall ? andOthers(ticket, beforeCall, { ...arrival, arrived }) : ticket),
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

/** Asks the others as well. A call that they refuse has ended. */
function andOthers(
  own: Ticket,
  beforeCall: NonNullable<Hooks['beforeCall']>,
  arrival: Arrival,
): Ticket | Promise<Ticket> {
  const refused = (error: unknown): never => {
    own.done?.();
    throw error;
  };
  try {
    const theirs = beforeCall(own.flow === undefined ? arrival : { ...arrival, flow: own.flow });
    return theirs instanceof Promise ? theirs.then((other) => both(own, other), refused) : both(own, theirs);
  } catch (error) {
    return refused(error);
  }
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
