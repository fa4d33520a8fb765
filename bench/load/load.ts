import { setTimeout as sleep } from 'node:timers/promises';
import { gapMs, seeded, type Arrivals } from './arrivals.ts';
import { Connection, type Sent } from './connection.ts';
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
    }
);

/** What to load, and how. */
export interface LoadPlan {
  host: string;
  port: number;
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

interface Call extends Sent {
  connection: Connection;
  /** When it was to begin. */
  at: number;
  ended: boolean;
}

/** Loads a server. Latencies count from when a call was to begin, so that a server that stalls hides nothing. */
export async function load(plan: LoadPlan): Promise<LoadReport> {
  const loader = new Loader(plan);
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
  readonly #connections: Connection[];
  /** In the order of their beginning, which is that of their deadlines. */
  #calls: Call[] = [];
  #random: () => number;
  #next = 0;
  #underWay = 0;

  constructor(plan: LoadPlan) {
    this.#plan = plan;
    this.#random = seeded(plan.seed);
    const timeout = plan.deadlineMs === undefined ? {} : { 'grpc-timeout': `${plan.deadlineMs}m` };
    this.#headers = callHeaders(plan.path, `${plan.host}:${plan.port}`, { ...timeout, ...plan.headers });
    this.#connections = Array.from({ length: plan.connections }, () => this.#connect());
  }

  async run(phase: Phase): Promise<PhaseReport> {
    const tally = new Tally(phase.name, phase.ms / 1000);
    const began = performance.now();
    const end = began + phase.ms;
    if ('rate' in phase) {
      const gap = (): number => gapMs(phase.arrivals, phase.rate, this.#random);
      let due = began + gap();
      while (due < end) {
        const now = performance.now();
        for (; due <= now && due < end; due += gap()) this.#begin(tally, due, began);
        this.#turn(now);
        await sleep(TICK_MS);
      }
    } else {
      const again = (): void => {
        const now = performance.now();
        if (now < end) this.#begin(tally, now, began, again);
      };
      for (let caller = 0; caller < phase.callers; caller++) again();
      while (performance.now() < end) {
        this.#turn(performance.now());
        await sleep(TICK_MS);
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
    const { host, port } = this.#plan;
    return new Connection({ host, port }, this.#headers);
  }

  #begin(tally: Tally, at: number, began: number, after?: () => void): void {
    const index = this.#next++;
    const place = index % this.#connections.length;
    let connection = this.#connections[place]!;
    if (!connection.usable) connection = this.#connections[place] = this.#connect();
    const call: Call = {
      body: this.#plan.bodies[index % this.#plan.bodies.length]!,
      connection,
      at,
      ended: false,
      done: (outcome) => {
        if (call.ended) return;
        call.ended = true;
        this.#underWay--;
        tally.ended(outcome, at - began, performance.now() - at);
        after?.();
      },
    };
    this.#underWay++;
    tally.sent(performance.now() - at);
    this.#calls.push(call);
    connection.send(call);
  }

  /** Sends what was begun, and gives up what is late. */
  #turn(now: number, all = false): void {
    const { deadlineMs = Infinity } = this.#plan;
    let passed = 0;
    for (const call of this.#calls) {
      if (!call.ended && !all && call.at + deadlineMs > now) break;
      passed++;
      if (call.ended) continue;
      call.connection.cancel(call);
      call.done(GAVE_UP);
    }
    if (passed > 0) this.#calls.splice(0, passed);
    for (const connection of this.#connections) connection.flush();
  }
}
