import { type Applicant, CallQueue } from '../../services/runtime/admission/call-queue.ts';
import { LoopTurns } from '../../services/runtime/admission/loop-turns.ts';
import { gapMs, seeded } from '../load/arrivals.ts';
import { Histogram } from '../load/histogram.ts';

/** What a model of a service is given. Times are in milliseconds. */
export interface Model {
  /** Calls a second. */
  rate: number;
  seconds: number;
  connections: number;
  /** To read a head and look at it; and then to answer, in the caller's turn, or to refuse. */
  head: number;
  answer: number;
  refuse: number;
  slots: number;
  places: number;
  deadline: number;
  /** Whether the queue sees the turns of the loop. */
  seesLoop: boolean;
}

export interface Outcome {
  /** A second. */
  answered: number;
  refused: number;
  gaveUp: number;
  p99: number;
  refusedP99: number;
}

/** Calls of a connection that the loop reads at once: 64 KiB of them. */
const READ_AT_ONCE = 280;

interface Call {
  readonly at: number;
  readonly applicant: Applicant;
}

/**
 * Plays calls against the queue of the admission on a clock of its own, with an event loop as Node has it: a turn reads what
 * lies in the kernel connection by connection; all calls of a read are looked at before any of them is worked on; work runs
 * in the turn. So what a busy machine does to a measurement is not in it, and neither is what nobody thought of.
 */
export async function play(model: Model): Promise<Outcome> {
  const { rate, seconds, connections, head, answer, refuse, deadline } = model;
  let now = 0;
  let endTurn: (() => void) | undefined;
  const clock = (): number => now;
  const loop = new LoopTurns(clock, (end) => (endTurn = end));
  const { slots, places } = model;
  const queue = new CallQueue({ slots, places, now: clock, ...(model.seesLoop && { loop }) });
  const kernels = arrivals(rate, seconds, connections);
  const answered = new Histogram();
  const refused = new Histogram();
  let gaveUp = 0;
  let running: Call[] = [];

  const end = (into: Histogram, { at }: Call): void => {
    if (now - at > deadline) gaveUp++;
    else into.record(1000 * (now - at));
  };
  const refuseCall = (call: Call): void => {
    now += refuse;
    end(refused, call);
  };
  const work = async (): Promise<void> => {
    await settled();
    while (running.length > 0) {
      const batch = running;
      running = [];
      for (const call of batch) {
        now += answer;
        end(answered, call);
        queue.leave(call.applicant);
      }
      await settled();
    }
  };
  const look = (at: number): void => {
    now += head;
    const applicant: Applicant = { priority: 'interactive', deadline: loop.call() + deadline };
    const call = { at, applicant };
    const wait = queue.enter(applicant);
    if (wait instanceof Promise) {
      wait.then(
        () => running.push(call),
        () => refuseCall(call),
      );
    } else if (wait) refuseCall(call);
    else running.push(call);
  };
  for (;;) {
    const next = Math.min(...kernels.map((kernel) => kernel.at(-1) ?? Infinity));
    if (next === Infinity) break;
    now = Math.max(now, next);
    const began = now;
    for (const kernel of kernels.filter((each) => (each.at(-1) ?? Infinity) <= began)) {
      const readAt = now;
      for (let calls = 0; calls < READ_AT_ONCE && (kernel.at(-1) ?? Infinity) <= readAt; calls++) {
        const at = kernel.pop()!;
        // Its reset came with it.
        if (readAt - at > deadline) gaveUp++;
        else look(at);
      }
      await work();
    }
    endTurn?.();
    endTurn = undefined;
  }
  return {
    answered: answered.count / seconds,
    refused: refused.count / seconds,
    gaveUp: gaveUp / seconds,
    p99: answered.percentile(99) / 1000,
    refusedP99: refused.percentile(99) / 1000,
  };
}

/** When calls come to each connection, the first last. */
function arrivals(rate: number, seconds: number, connections: number): number[][] {
  const random = seeded(1);
  const kernels: number[][] = Array.from({ length: connections }, () => []);
  for (let at = gapMs('poisson', rate, random); at < 1000 * seconds; at += gapMs('poisson', rate, random)) {
    kernels[Math.floor(random() * connections)]!.push(at);
  }
  return kernels.map((kernel) => kernel.reverse());
}

/** Resolves when what was promised has run. */
function settled(): Promise<void> {
  return new Promise((resolve) => process.nextTick(() => queueMicrotask(() => queueMicrotask(resolve))));
}
