import { cancelled, deadlineExceeded, overloaded, type ServiceError } from '../errors.ts';
import { FairQueue } from '../tenants/fair-queue.ts';

// Controlled delay with adaptive LIFO, after B. Maurer, "Fail at Scale", ACM Queue 13(8), 2015, which takes the idea
// from CoDel (K. Nichols, V. Jacobson, ACM Queue 10(5), 2012). What a queue holds is judged by its age: a queue that was
// empty a moment ago is a burst, which will be served; one that has not been empty for a while is overload, in which
// only calls that have just come are worth serving.
//
// A turn of the event loop is a queue, too: what it brings has waited in the kernel since it began. Where no turn has been
// short for a while, that is overload, and what a turn has not come to after the longest wait is refused.
//
// Callers take turns, see `tenants/fair-queue.ts`. One that has less than its share may wait in overload as in a burst, as in
// FQ-CoDel (RFC 8290), which judges each flow by its own queue: it is not what the overload comes from.

/** Longest wait in a burst, and how long a queue has to be without a pause to be taken for overload. */
export const BURST_MS = 100;
/** The same for so long after overload, which then mostly goes on; CoDel's next interval is shorter for that reason, too. */
export const RELAPSE_MS = 10;
const WARY_MS = 1_000;
/** What was shorter after overload was a pause of the collector, say, and no reason to stay wary. */
const LASTING_MS = BURST_MS / 2;
/** Longest wait in overload. */
export const OVERLOAD_WAIT_MS = 5;
/** Shortest and longest time after which a refused caller is told to come again; doubled as overload lasts. */
export const RETRY_DELAY_MS = { min: 100, max: 6_400 } as const;

/** Calls that can't be put off take all slots; those that can leave some of them free. */
export type Priority = 'interactive' | 'batch';

/** What the queue needs to know about a call. */
export interface Applicant {
  readonly priority: Priority;
  /** Whose call it is, as far as that is known. @default everybody's */
  readonly flow?: string;
  /** When its caller stops waiting, by the queue's clock; infinite where it waits for ever. */
  readonly deadline: number;
}

/** The event loop, whose turns are a queue as well; see `loop-turns.ts`. */
export interface Loop {
  /** A call is looked at. @returns when its turn began, by the queue's clock */
  call(): number;
  /** Whether the turn before was over soon. */
  readonly isCalm: boolean;
}

interface Waiter {
  readonly call: Applicant;
  readonly since: number;
  /** It came from a caller that had less than its share: overload is not to be its loss. */
  readonly isSparse: boolean;
  readonly settle: (refusal?: ServiceError) => void;
}

/** Limits how many calls are worked on at a time, and how old those get that wait. */
export class CallQueue {
  readonly #slots: number;
  readonly #batchSlots: number;
  readonly #places: number;
  /** In overload: enough that no slot stays free for a turn of the event loop. */
  readonly #overloadPlaces: number;
  readonly #now: () => number;
  readonly #loop: Loop;
  /** When this turn of the loop began, and whose calls got a slot in it. */
  #turn = 0;
  readonly #servedInTurn = new Set<string>();
  /** Oldest first. */
  readonly #waiting = new Map<Applicant, Waiter>();
  /** The same, by whose they are. */
  readonly #turns = new FairQueue<Waiter>();
  /** Calls that run, by whose they are. */
  readonly #runningOf = new Map<string, number>();
  #sparse = 0;
  #running = 0;
  #runningBatch = 0;
  /** When the queue was last seen empty. */
  #emptyAt: number;
  /** When there was overload last. */
  #overloadAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  /** One object for each delay: whoever refuses thousands a second should not make an error for each. */
  readonly #refusals = new Map<number, ServiceError>();

  /**
   * @param options.now milliseconds. @default performance.now
   * @param options.loop @default one whose turns take no time
   */
  constructor(options: { slots: number; places: number; now?: () => number; loop?: Loop }) {
    this.#slots = options.slots;
    this.#batchSlots = Math.max(1, Math.floor(options.slots / 4));
    this.#places = options.places;
    this.#overloadPlaces = Math.ceil(options.slots / 4);
    this.#now = options.now ?? (() => performance.now());
    this.#loop = options.loop ?? { call: this.#now, isCalm: true };
    this.#emptyAt = this.#now();
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  get running(): number {
    return this.#running;
  }

  /** Whether what comes now is refused where it would wait. */
  get isOverload(): boolean {
    return this.#isOverload(this.#now());
  }

  /** Age of the oldest call that waits, in milliseconds. */
  get ageMs(): number {
    for (const { since } of this.#waiting.values()) return this.#now() - since;
    return 0;
  }

  /**
   * Refuses whoever has come too late in a turn: it has taken as long as a call may wait, and what else it brought has
   * waited so long. Each caller has its first. To be asked before anything is made for a call.
   *
   * @returns `OVERLOADED`
   */
  turnAway(flow: string): ServiceError | undefined {
    const now = this.#now();
    const since = this.#loop.call();
    if (since !== this.#turn) this.#beginTurn(since);
    this.#seeEmpty(now);
    if (!this.#isOverload(now) || now - since <= OVERLOAD_WAIT_MS || this.#isFirstInTurn(flow))
      return undefined;
    return this.#refusal(now);
  }

  /**
   * Admits a call, now (returns `undefined`) or later (returns a promise), or refuses it (returns an error: see
   * `Hooks.beforeCall`). Call {@link leave} afterwards.
   *
   * @returns `OVERLOADED`, or DEADLINE_EXCEEDED where nobody waits any more; promises reject with these
   */
  enter(call: Applicant): Promise<void> | ServiceError | undefined {
    const now = this.#now();
    if (call.deadline <= now) return deadlineExceeded('the deadline passed before the call was read');
    const late = this.turnAway(flowOf(call));
    if (late) return late;
    const since = this.#turn;
    const isOverload = this.#isOverload(now);
    if (this.#waiting.size === 0 || call.priority === 'interactive') {
      // A call of a batch that waits holds nobody back.
      if (this.#fits(call) && !this.#interactiveWaits()) {
        this.#take(call);
        return undefined;
      }
    }
    // In overload whoever comes is refused there and then; a place would cost more than the refusal.
    const places = isOverload ? Math.min(this.#places, this.#overloadPlaces) : this.#places;
    const isSparse = this.#isSparse(flowOf(call));
    if (this.#waiting.size >= places && !(isOverload && isSparse)) {
      const victim = isOverload ? undefined : this.#turns.victim(flowOf(call));
      if (!victim) return this.#refusal(now);
      victim.settle(this.#refusal(now));
    }
    return new Promise((resolve, reject) => {
      const settle = (refusal?: ServiceError): void => {
        this.#waiting.delete(call);
        this.#turns.remove(waiter);
        if (isSparse) this.#sparse--;
        if (refusal) reject(refusal);
        else resolve();
      };
      const waiter = { call, since, isSparse, settle };
      if (isSparse) this.#sparse++;
      this.#waiting.set(call, waiter);
      this.#turns.push(flowOf(call), waiter);
      this.#watch();
    });
  }

  /** A stream was let in, which takes no slot: its caller has had its first of the turn. */
  passed(flow: string): void {
    this.#servedInTurn.add(flow);
  }

  /** A call that was let in has ended. */
  leave(call: Applicant): void {
    const { priority } = call;
    this.#running--;
    const left = (this.#runningOf.get(flowOf(call)) ?? 1) - 1;
    if (left > 0) this.#runningOf.set(flowOf(call), left);
    else this.#runningOf.delete(flowOf(call));
    if (priority === 'batch') this.#runningBatch--;
    this.#fill();
  }

  /** A caller that waits has gone. */
  abandon(call: Applicant): void {
    this.#waiting.get(call)?.settle(cancelled());
  }

  #fits({ priority }: Applicant): boolean {
    return (
      this.#running < this.#slots && (priority === 'interactive' || this.#runningBatch < this.#batchSlots)
    );
  }

  #interactiveWaits(): boolean {
    for (const { priority } of this.#waiting.keys()) if (priority === 'interactive') return true;
    return false;
  }

  #take(call: Applicant): void {
    const { priority } = call;
    this.#running++;
    this.#servedInTurn.add(flowOf(call));
    this.#runningOf.set(flowOf(call), (this.#runningOf.get(flowOf(call)) ?? 0) + 1);
    if (priority === 'batch') this.#runningBatch++;
  }

  /** Gives free slots to calls that wait. */
  #fill(): void {
    if (this.#waiting.size === 0) return;
    this.#dropOld();
    while (this.#running < this.#slots) {
      const next = this.#choose();
      if (!next) break;
      this.#take(next.call);
      this.#turns.take(next);
      next.settle();
    }
    this.#seeEmpty(this.#now());
  }

  /** Of the caller whose turn it is the oldest call in a burst, the newest in overload; interactive ones first. */
  #choose(): Waiter | undefined {
    const newest = this.#isOverload(this.#now());
    const choose = (priority: Priority) => (waiters: Iterable<Waiter>) => {
      let chosen: Waiter | undefined;
      for (const waiter of waiters) {
        if (waiter.call.priority !== priority || !this.#fits(waiter.call)) continue;
        if (!newest) return waiter;
        chosen = waiter;
      }
      return chosen;
    };
    return this.#turns.next(choose('interactive')) ?? this.#turns.next(choose('batch'));
  }

  /** Whether a caller has none that waits, and fewer that run than its share; few such calls wait at a time. */
  #isSparse(flow: string): boolean {
    if (this.#turns.lengthOf(flow) > 0 || this.#sparse >= this.#slots) return false;
    const own = this.#runningOf.get(flow) ?? 0;
    const flows = this.#runningOf.size + Number(own === 0);
    return own * flows < this.#slots;
  }

  #beginTurn(began: number): void {
    this.#turn = began;
    this.#servedInTurn.clear();
  }

  /** Whether a caller had no call let in in this turn; there are not more of these than slots. */
  #isFirstInTurn(flow: string): boolean {
    return this.#servedInTurn.size < this.#slots && !this.#servedInTurn.has(flow);
  }

  /** Nothing waits, neither here nor in the loop. */
  #seeEmpty(now: number): void {
    if (this.#waiting.size === 0 && this.#loop.isCalm) this.#emptyAt = now;
  }

  #isOverload(now: number): boolean {
    const isWary = now - this.#overloadAt < WARY_MS;
    const busy = now - this.#emptyAt;
    if (busy > LASTING_MS) this.#overloadAt = now;
    return busy > (isWary ? RELAPSE_MS : BURST_MS);
  }

  /** Refuses what is too old, and drops what nobody waits for. */
  #dropOld(): void {
    const now = this.#now();
    const isOverload = this.#isOverload(now);
    for (const { call, since, isSparse, settle } of this.#waiting.values()) {
      const limit = isOverload && !isSparse ? OVERLOAD_WAIT_MS : BURST_MS;
      if (call.deadline <= now) settle(deadlineExceeded('the deadline passed before the call was read'));
      else if (now - since > limit) settle(this.#refusal(now));
    }
  }

  /** Looks after calls that wait while none ends. */
  #watch(): void {
    if (this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#dropOld();
      if (this.#waiting.size > 0) this.#watch();
      else this.#seeEmpty(this.#now());
    }, OVERLOAD_WAIT_MS).unref();
  }

  #refusal(now: number): ServiceError {
    const lasted = Math.max(0, now - this.#emptyAt);
    const { min, max } = RETRY_DELAY_MS;
    const delay = Math.min(max, min * 2 ** Math.max(0, Math.ceil(Math.log2((lasted + 1) / min))));
    let refusal = this.#refusals.get(delay);
    if (!refusal) {
      refusal = overloaded('more calls come than can be answered in time; try again later', delay);
      this.#refusals.set(delay, refusal);
    }
    return refusal;
  }
}

function flowOf({ flow = '' }: Applicant): string {
  return flow;
}
