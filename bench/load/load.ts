import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { gapMs, seeded, type Arrivals } from './arrivals.ts';
import { Connection, type Template, templateOf } from './connection.ts';
import { callHeaders } from './frames.ts';
import { GAVE_UP, Tally, type PhaseReport } from './tally.ts';

/** One stretch of load. */
export type Phase = { name: string; ms: number } & (
  | {
      /** Calls a second that begin, whatever becomes of those before: an open loop. */
      rate: number;
      arrivals: Arrivals;
    }
  | {
      /** Calls that are under way at any time, each followed by another: a closed loop. */
      callers: number;
      /** How long a caller whose call was not answered waits before the next. @default 0 */
      backOffMs?: number;
    }
);

/** What to load, and how. */
export interface LoadPlan {
  host: string;
  port: number;
  /** The CA of a server that speaks TLS, as PEM. @default plain text */
  ca?: string | undefined;
  /** `/package.Service/Method`. */
  path: string;
  /** The bodies of the calls, one after another and over again: whole messages with their prefixes. */
  bodies: readonly Buffer[];
  /** Metadata of every call. */
  headers: Readonly<Record<string, string>>;
  /** After which a caller gives its call up; the server is told so. `undefined`: never. */
  deadlineMs: number | undefined;
  connections: number;
  phases: readonly Phase[];
  seed: number;
}

/** How the load went. */
export interface LoadReport {
  phases: PhaseReport[];
  /** Processor time of this process, as a share of one core, while it loaded. */
  cpuShare: number;
}

/** How long to wait for answers after the last call of a phase, where calls have no deadline. */
const PATIENCE_MS = 30_000;
/** Turns of the clock that sends what is due. */
const TICK_MS = 1;
const CLOSED_TICK_MS = 10;

/** Calls under way that can be told apart: those of half a minute at 30 000 a second. */
const CALLS = 1 << 20;

/** Loads a server. Latencies count from when a call was to begin, so that a server that stalls hides nothing. */
export async function load(plan: LoadPlan): Promise<LoadReport> {
  const loader = new Loader(plan);
  await loader.known();
  const cpu = process.cpuUsage();
  const began = performance.now();
  const phases: PhaseReport[] = [];
  for (const phase of plan.phases) phases.push(await loader.run(phase));
  const { user, system } = process.cpuUsage(cpu);
  loader.close();
  return { phases, cpuShare: (user + system) / 1000 / (performance.now() - began) };
}

class Loader {
  readonly #plan: LoadPlan;
  readonly #headers: Buffer;
  readonly #templates: readonly Template[];
  readonly #connections: Connection[];
  /** Of each call: when it was to begin, whether it is under way, and the place of its connection. */
  readonly #at = new Float64Array(CALLS);
  readonly #isOpen = new Uint8Array(CALLS);
  readonly #by = Array.from<Connection | undefined>({ length: CALLS });
  readonly #random: () => number;
  /** The oldest call that may be under way, and the next. They begin in the order of their deadlines. */
  #first = 0;
  #next = 0;
  #underWay = 0;
  #tally: Tally | undefined;
  #began = 0;
  /** Until when a call that ends is followed by another, and how long after one that was not answered. */
  #again = 0;
  #backOffMs = 0;
  #flushing = false;

  constructor(plan: LoadPlan) {
    this.#plan = plan;
    this.#random = seeded(plan.seed);
    const timeout = plan.deadlineMs === undefined ? {} : { 'grpc-timeout': `${plan.deadlineMs}m` };
    const authority = `${plan.host}:${plan.port}`;
    const scheme = plan.ca === undefined ? 'http' : 'https';
    const headers = callHeaders(plan.path, authority, { ...timeout, ...plan.headers }, scheme);
    this.#headers = headers;
    this.#templates = plan.bodies.map((body) => templateOf(headers, body));
    this.#connections = Array.from({ length: plan.connections }, () => this.#connect());
  }

  /** Resolves when all servers have said how many streams they take. */
  async known(): Promise<void> {
    await Promise.all(this.#connections.map((connection) => connection.known));
  }

  async run(phase: Phase): Promise<PhaseReport> {
    const tally = new Tally(phase.name, phase.ms / 1000);
    this.#tally = tally;
    const began = performance.now();
    this.#began = began;
    const end = began + phase.ms;
    if ('rate' in phase) {
      this.#again = 0;
      const gap = (): number => gapMs(phase.arrivals, phase.rate, this.#random);
      let due = began + gap();
      while (due < end) {
        const now = performance.now();
        for (; due <= now && due < end; due += gap()) this.#begin(due, now);
        this.#turn(now);
        await sleep(TICK_MS);
      }
    } else {
      this.#again = end;
      this.#backOffMs = phase.backOffMs ?? 0;
      for (let caller = 0; caller < phase.callers; caller++) this.#begin(began, performance.now());
      // A call that ends sends the next one; only deadlines wait for the clock.
      while (performance.now() < end) {
        this.#turn(performance.now());
        await sleep(CLOSED_TICK_MS);
      }
    }
    const patience = performance.now() + (this.#plan.deadlineMs ?? PATIENCE_MS);
    while (this.#underWay > 0) {
      const now = performance.now();
      this.#turn(now, now > patience);
      await sleep(TICK_MS);
    }
    return tally.report();
  }

  close(): void {
    for (const connection of this.#connections) connection.close();
  }

  #connect(): Connection {
    const { host, port, ca } = this.#plan;
    return new Connection({ host, port, ca }, this.#headers, this.#ended);
  }

  #begin(at: number, now: number): void {
    const call = this.#next++ % CALLS;
    if (this.#isOpen[call]) throw new Error(`more than ${CALLS} calls are under way`);
    const place = call % this.#connections.length;
    let connection = this.#connections[place]!;
    if (!connection.usable) connection = this.#connections[place] = this.#connect();
    this.#at[call] = at;
    this.#isOpen[call] = 1;
    this.#by[call] = connection;
    this.#underWay++;
    this.#tally!.sent(now - at);
    connection.send(call, this.#templates[call % this.#templates.length]!);
  }

  readonly #ended = (call: number, outcome: number | string): void => {
    if (!this.#isOpen[call]) return;
    this.#isOpen[call] = 0;
    this.#underWay--;
    const now = performance.now();
    const at = this.#at[call]!;
    this.#tally!.ended(outcome, at - this.#began, now - at);
    if (now >= this.#again) return;
    if (outcome === status.OK || this.#backOffMs === 0) {
      this.#begin(now, now);
      this.#flushSoon();
    } else setTimeout(this.#beginAgain, this.#backOffMs, this.#again);
  };

  /** @param until - the end of the phase that the caller belongs to */
  readonly #beginAgain = (until: number): void => {
    const now = performance.now();
    if (until !== this.#again || now >= until) return;
    this.#begin(now, now);
    this.#flushSoon();
  };

  /** The next call of a caller may go by another connection than the answer came by, which nothing else writes now. */
  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    setImmediate(this.#flush);
  }

  readonly #flush = (): void => {
    this.#flushing = false;
    for (const connection of this.#connections) connection.flush();
  };

  /** Sends what was begun, and gives up what is late. */
  #turn(now: number, all = false): void {
    const { deadlineMs = Infinity } = this.#plan;
    for (; this.#first < this.#next; this.#first++) {
      const call = this.#first % CALLS;
      if (!this.#isOpen[call]) continue;
      if (!all && this.#at[call]! + deadlineMs > now) break;
      this.#by[call]!.cancel(call);
      this.#ended(call, GAVE_UP);
    }
    this.#flush();
  }
}
