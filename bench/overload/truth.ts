import { status } from '@grpc/grpc-js';
import type { JsonMetric } from '../../services/runtime/telemetry/exposition.ts';
import type { PhaseReport } from '../load/tally.ts';

/** What a service says of its calls of one method. */
export interface Told {
  /** By status. */
  counts: Record<string, number>;
  /** Of those that were answered, by bucket. */
  bounds: number[];
  buckets: number[];
}

type Metric = Pick<JsonMetric, 'name' | 'points'>;

interface Point {
  attributes: Record<string, string>;
  count: number;
  bounds: number[];
  counts: number[];
}

/** Reads `/metrics.json`. @param path of the method */
export async function ask(metrics: string, path: string): Promise<{ told: Told; tookMs: number }> {
  const began = performance.now();
  const response = await fetch(`http://${metrics}/metrics.json`);
  const all = (await response.json()) as Metric[];
  return { told: toldOf(all, path), tookMs: performance.now() - began };
}

/** The same of metrics that are there. */
export function toldOf(all: readonly Metric[], path: string): Told {
  const told: Told = { counts: {}, bounds: [], buckets: [] };
  const durations = all.find(({ name }) => name === 'rpc.server.call.duration');
  for (const { attributes, count, bounds, counts } of (durations?.points ?? []) as unknown as Point[]) {
    if (attributes['rpc.method'] !== path.slice(1)) continue;
    const code = attributes['rpc.response.status_code'] ?? '';
    told.counts[code] = count;
    if (code === status[status.OK]) Object.assign(told, { bounds, buckets: counts });
  }
  return told;
}

/** Whether a service and its callers say the same of one stretch. */
export interface Agreement {
  /** Calls that the service says it answered with each status, and those that the callers saw. */
  counts: Record<string, [service: number, callers: number]>;
  /** Calls that callers gave up; the service may have answered them. */
  gaveUp: number;
  /** Whether the service counts what its callers saw, and besides at most what they gave up. */
  countsAgree: boolean;
  /** The bucket of the 99th percentile of answered calls, by its upper bound in seconds. */
  p99: [service: number, callers: number];
  /** How many buckets lie between the two; 0 and 1 are the same and neighbours. */
  bucketsApart: number;
}

export function compare(before: Told, after: Told, seen: PhaseReport): Agreement {
  const { GAVE_UP: gaveUp = 0, ...statuses } = seen.statuses;
  const names = new Set([...Object.keys(statuses), ...Object.keys(after.counts)]);
  const counts: Agreement['counts'] = {};
  let fewest = 0;
  let unseen = 0;
  for (const name of names) {
    const told = (after.counts[name] ?? 0) - (before.counts[name] ?? 0);
    const saw = statuses[name] ?? 0;
    if (told === 0 && saw === 0) continue;
    counts[name] = [told, saw];
    fewest = Math.min(fewest, told - saw);
    unseen += told - saw;
  }
  const { bounds, buckets } = after;
  const own = buckets.map((count, index) => count - (before.buckets[index] ?? 0));
  const service = bucketOfPercentile(own, 0.99);
  const found = bounds.findIndex((bound) => seen.accepted.p99 / 1000 <= bound);
  const callers = found === -1 ? bounds.length : found;
  return {
    counts,
    gaveUp,
    // What its callers gave up, a service counts as it ended there: cancelled, answered too late, or never read.
    countsAgree: fewest === 0 && unseen <= gaveUp,
    p99: [bounds[service] ?? Infinity, bounds[callers] ?? Infinity],
    bucketsApart: Math.abs(service - callers),
  };
}

function bucketOfPercentile(counts: readonly number[], share: number): number {
  let left = share * counts.reduce((sum, count) => sum + count, 0);
  const index = counts.findIndex((count) => (left -= count) <= 0);
  return index === -1 ? counts.length - 1 : index;
}
