import { status } from '@grpc/grpc-js';
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';

/** Width of the bins in which a phase is followed over time. */
export const BIN_MS = 100;

/** Longest latency that is told from longer ones: two minutes, in microseconds. */
const HIGHEST_US = 120e6;

/** Statuses by which a server refuses a call that it might take later. */
const REFUSALS: ReadonlySet<number | string> = new Set([status.RESOURCE_EXHAUSTED, status.UNAVAILABLE]);

/** What the caller gave up, because its deadline passed. */
export const GAVE_UP = 'GAVE_UP';

/** Latencies, in milliseconds. */
export interface Latencies {
  count: number;
  mean: number;
  p50: number;
  p90: number;
  p99: number;
  p999: number;
  max: number;
}

/** What became of the calls that were to begin in one stretch of a phase. */
export interface Bin {
  accepted: number;
  refused: number;
  failed: number;
  /** Of the accepted ones, in milliseconds. */
  slowest: number;
}

/** How a phase went. */
export interface PhaseReport {
  name: string;
  /** How long calls were to begin, in seconds. */
  seconds: number;
  /** When the first and the last were, in milliseconds since the epoch. */
  from: number;
  to: number;
  offered: number;
  /** Calls by status: gRPC's names, and a word where the server sent none. */
  statuses: Record<string, number>;
  /** Calls with the status OK. */
  accepted: Latencies;
  /** Calls with the status RESOURCE_EXHAUSTED or UNAVAILABLE. */
  refused: Latencies;
  /** All others. */
  failed: Latencies;
  /** How much later than planned the calls were sent. */
  lateness: Latencies;
  /** A bin for each {@link BIN_MS}. */
  bins: Bin[];
}

/** Counts the calls of a phase. All times are in milliseconds, and count from when a call was to begin. */
export class Tally {
  readonly #name: string;
  readonly #seconds: number;
  readonly #from = Date.now();
  readonly #statuses = new Map<number | string, number>();
  readonly #accepted = histogram();
  readonly #refused = histogram();
  readonly #failed = histogram();
  readonly #lateness = histogram();
  readonly #bins: Bin[] = [];
  #offered = 0;

  constructor(name: string, seconds: number) {
    this.#name = name;
    this.#seconds = seconds;
  }

  sent(latenessMs: number): void {
    this.#offered++;
    record(this.#lateness, latenessMs);
  }

  /** @param at when the call was to begin, after the phase began */
  ended(outcome: number | string, at: number, tookMs: number): void {
    this.#statuses.set(outcome, (this.#statuses.get(outcome) ?? 0) + 1);
    const index = Math.max(0, Math.floor(at / BIN_MS));
    while (this.#bins.length <= index) this.#bins.push({ accepted: 0, refused: 0, failed: 0, slowest: 0 });
    const bin = this.#bins[index]!;
    if (outcome === status.OK) {
      record(this.#accepted, tookMs);
      bin.accepted++;
      bin.slowest = Math.max(bin.slowest, tookMs);
    } else if (REFUSALS.has(outcome)) {
      record(this.#refused, tookMs);
      bin.refused++;
    } else {
      record(this.#failed, tookMs);
      bin.failed++;
    }
  }

  report(): PhaseReport {
    const named = [...this.#statuses].map(([outcome, count]): [string, number] => [
      typeof outcome === 'number' ? (status[outcome] ?? String(outcome)) : outcome,
      count,
    ]);
    return {
      name: this.#name,
      seconds: this.#seconds,
      from: this.#from,
      to: this.#from + 1000 * this.#seconds,
      offered: this.#offered,
      statuses: Object.fromEntries(named),
      accepted: latencies(this.#accepted),
      refused: latencies(this.#refused),
      failed: latencies(this.#failed),
      lateness: latencies(this.#lateness),
      bins: this.#bins,
    };
  }
}

/** Three figures at every size: the HDR histogram of Node, in microseconds. */
function histogram(): RecordableHistogram {
  return createHistogram({ lowest: 1, highest: HIGHEST_US, figures: 3 });
}

function record(into: RecordableHistogram, ms: number): void {
  into.record(Math.min(HIGHEST_US, Math.max(1, Math.round(ms * 1000))));
}

function latencies(of: RecordableHistogram): Latencies {
  const ms = (us: number): number => us / 1000;
  if (of.count === 0) return { count: 0, mean: 0, p50: 0, p90: 0, p99: 0, p999: 0, max: 0 };
  return {
    count: of.count,
    mean: ms(of.mean),
    p50: ms(of.percentile(50)),
    p90: ms(of.percentile(90)),
    p99: ms(of.percentile(99)),
    p999: ms(of.percentile(99.9)),
    max: ms(of.max),
  };
}
