import { status } from '@grpc/grpc-js';
import { Histogram } from './histogram.ts';

/** Width of the bins in which a phase is followed over time. */
export const BIN_MS = 100;

/** Statuses by which a server refuses a call that it might take later. */
const isRefusal = (outcome: number | string): boolean =>
  outcome === status.RESOURCE_EXHAUSTED || outcome === status.UNAVAILABLE;

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
  /** By status. */
  readonly #codes = new Uint32Array(100);
  readonly #words = new Map<string, number>();
  readonly #accepted = new Histogram();
  readonly #refused = new Histogram();
  readonly #failed = new Histogram();
  readonly #lateness = new Histogram();
  readonly #bins: Bin[] = [];
  #offered = 0;

  constructor(name: string, seconds: number) {
    this.#name = name;
    this.#seconds = seconds;
  }

  sent(latenessMs: number): void {
    this.#offered++;
    this.#lateness.record(1000 * latenessMs);
  }

  /** @param at when the call was to begin, after the phase began */
  ended(outcome: number | string, at: number, tookMs: number): void {
    if (typeof outcome === 'number') this.#codes[outcome]!++;
    else this.#words.set(outcome, (this.#words.get(outcome) ?? 0) + 1);
    const index = Math.max(0, Math.floor(at / BIN_MS));
    while (this.#bins.length <= index) this.#bins.push({ accepted: 0, refused: 0, failed: 0, slowest: 0 });
    const bin = this.#bins[index]!;
    if (outcome === status.OK) {
      this.#accepted.record(1000 * tookMs);
      bin.accepted++;
      bin.slowest = Math.max(bin.slowest, tookMs);
    } else if (isRefusal(outcome)) {
      this.#refused.record(1000 * tookMs);
      bin.refused++;
    } else {
      this.#failed.record(1000 * tookMs);
      bin.failed++;
    }
  }

  report(): PhaseReport {
    const named = [...this.#codes].flatMap((count, code): [string, number][] =>
      count === 0 ? [] : [[status[code] ?? String(code), count]],
    );
    return {
      name: this.#name,
      seconds: this.#seconds,
      from: this.#from,
      to: this.#from + 1000 * this.#seconds,
      offered: this.#offered,
      statuses: Object.fromEntries([...named, ...this.#words]),
      accepted: latencies(this.#accepted),
      refused: latencies(this.#refused),
      failed: latencies(this.#failed),
      lateness: latencies(this.#lateness),
      bins: this.#bins,
    };
  }
}

/** In milliseconds, of a histogram in microseconds. */
function latencies(of: Histogram): Latencies {
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
