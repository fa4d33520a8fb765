import { comparePairs, type Pair, type RatioGoal } from '../pairs.ts';
import type { Comparison } from '../report.ts';
import { BUSY_LOST, closedLoop, openLoop, type Side, warmUp } from './sides.ts';

/** How often and how long each load is measured. */
export interface Effort {
  /** No two starts of a process are alike. */
  starts: number;
  /** In each start. */
  turns: number;
  /** Of each load of each side, in milliseconds. */
  ms: number;
}

const CALLERS = [1, 8];
/** Shares of what the slower side answers to eight callers. */
const SHARES = [0.3, 0.6, 0.9];

/** Pairs by what was measured. */
export class Pairs {
  readonly #pairs = new Map<string, { unit: string; pairs: Pair[] }>();
  readonly #refused = new Map<string, number>();

  add(what: string, unit: string, ours: number, peer: number): void {
    const known = this.#pairs.get(what) ?? { unit, pairs: [] };
    known.pairs.push({ ours, peer });
    this.#pairs.set(what, known);
  }

  /** @param share of the calls of a stretch that were refused */
  refused(what: string, share: number): void {
    if (share > 0) this.#refused.set(what, Math.max(share, this.#refused.get(what) ?? 0));
  }

  comparisons(goals: Readonly<Record<string, RatioGoal>>): Comparison[] {
    const missing = Object.keys(goals).find((what) => !this.#pairs.has(what));
    if (missing !== undefined) throw new Error(`"${missing}" has a goal, and was not measured`);
    return [...this.#pairs].map(([what, { unit, pairs }]) => comparePairs(what, unit, pairs, goals[what]));
  }

  notes(): string[] {
    return [...this.#refused].map(
      ([what, share]) => `${what}: of a stretch at most ${(100 * share).toFixed(1)} % were refused`,
    );
  }
}

/** Calls two servers in turn: one caller and several, then at given rates. */
export async function compareCalls(
  sides: { ours: Side; peer: Side },
  { turns, ms }: Effort,
  pairs: Pairs,
): Promise<void> {
  const both = [sides.ours, sides.peer];
  for (const side of both) await warmUp(side, CALLERS.at(-1)!);
  let peak = Infinity;
  for (let turn = 0; turn < turns; turn++) {
    for (const callers of CALLERS) {
      const [ours, peer] = await inTurns(turn, both, (side) => closedLoop(side, callers, ms, BUSY_LOST));
      const load = `${callers} in flight`;
      pairs.refused(load, ours.lost);
      pairs.add(`calls, ${load}`, '/s', ours.perSecond, peer.perSecond);
      pairs.add(`p50, ${load}`, 'ms', ours.p50, peer.p50);
      pairs.add(`p99, ${load}`, 'ms', ours.p99, peer.p99);
      pairs.add(`CPU of the server a call, ${load}`, 'µs', ours.cpuMicros, peer.cpuMicros);
      if (callers === CALLERS.at(-1)) peak = Math.min(peak, ours.perSecond, peer.perSecond);
    }
  }
  for (let turn = 0; turn < turns; turn++) {
    for (const share of SHARES) {
      const [ours, peer] = await inTurns(turn, both, (side) => openLoop(side, share * peak, ms));
      const load = `open loop at ${100 * share} % of the slower side`;
      pairs.add(`p50, ${load}`, 'ms', ours.p50, peer.p50);
      pairs.add(`p99, ${load}`, 'ms', ours.p99, peer.p99);
      pairs.refused(load, ours.lost);
    }
  }
}

/** Measures both sides; who is first changes with each turn. */
export async function inTurns<Found>(
  turn: number,
  [ours, peer]: readonly Side[],
  measure: (side: Side) => Promise<Found>,
): Promise<[ours: Found, peer: Found]> {
  if (turn % 2 === 1) {
    const found = await measure(peer!);
    return [await measure(ours!), found];
  }
  const found = await measure(ours!);
  return [found, await measure(peer!)];
}
