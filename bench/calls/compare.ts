import { comparePairs, type Pair, type RatioGoal } from '../pairs.ts';
import type { Comparison } from '../report.ts';
import { closedLoop, openLoop, type Seen, type Side, warmUp } from './sides.ts';

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

/**
 * A service refuses some calls of a busy machine. A turn in which more than this share was refused is measured again: it
 * would say what refusals cost.
 */
const BUSY_LOST = 0.2;
/** Turns of a run that are measured again. Later ones count as they are, and the notes have their share. */
const MOST_AGAIN = 6;

/** Pairs by what was measured, and what has to be known of them. */
export class Pairs {
  readonly #pairs = new Map<string, { unit: string; pairs: Pair[] }>();
  /** The largest share of the calls of a stretch, by load. */
  readonly #refused = new Map<string, number>();
  /** How often there was no ratio, by what was measured. */
  readonly #without = new Map<string, number>();
  #again = 0;

  /** Pairs without a ratio (nothing was counted, or this system does not count it) are left out, and the notes say so. */
  add(what: string, unit: string, ours: number, peer: number): void {
    if (!Number.isFinite(ours / peer)) {
      this.#without.set(what, (this.#without.get(what) ?? 0) + 1);
      return;
    }
    const known = this.#pairs.get(what) ?? { unit, pairs: [] };
    known.pairs.push({ ours, peer });
    this.#pairs.set(what, known);
  }

  /**
   * Measures one stretch of each side; who is first changes with each turn. Where too many calls were refused, all sides
   * are measured again.
   *
   * @returns what each side saw; `undefined` where one of them answered nothing
   */
  async measure<const Sides extends readonly unknown[], Found extends Pick<Seen, 'lost'>>(
    load: string,
    turn: number,
    sides: Sides,
    stretch: (side: Sides[number]) => Promise<Found>,
  ): Promise<{ [Place in keyof Sides]: Found } | undefined> {
    for (;;) {
      const seen: Found[] = [];
      for (let place = 0; place < sides.length; place++) {
        const index = (place + turn) % sides.length;
        seen[index] = await stretch(sides[index]!);
      }
      const lost = Math.max(...seen.map((each) => each.lost));
      if (lost > BUSY_LOST && this.#again < MOST_AGAIN) {
        this.#again++;
        continue;
      }
      if (lost > 0) this.#refused.set(load, Math.max(lost, this.#refused.get(load) ?? 0));
      return lost < 1 ? (seen as { [Place in keyof Sides]: Found }) : undefined;
    }
  }

  /** @param goals by what they are for */
  comparisons(goals: Readonly<Record<string, RatioGoal>>): Comparison[] {
    // Where calls were refused, it may be that no turn was answered.
    const missing = Object.keys(goals).find((what) => !this.#pairs.has(what));
    if (missing !== undefined && this.#refused.size === 0)
      throw new Error(`"${missing}" has a goal, and was not measured`);
    return [...this.#pairs].map(([what, { unit, pairs }]) => comparePairs(what, unit, pairs, goals[what]));
  }

  notes(): string[] {
    return [
      ...[...this.#refused].map(
        ([load, share]) =>
          `${load}: up to ${(100 * share).toFixed(1)} % of the calls of a stretch were refused`,
      ),
      ...(this.#again > 0
        ? [
            `${this.#again} turns were measured again, since too many calls were refused: the machine was busy`,
          ]
        : []),
      ...[...this.#without].map(([what, count]) => `${what}: left out ${count} times, without a ratio`),
    ];
  }
}

/** Calls two servers in turn: one caller and several, then at given rates. */
export async function compareCalls(
  sides: { ours: Side; peer: Side },
  { turns, ms }: Effort,
  pairs: Pairs,
): Promise<void> {
  const both = [sides.ours, sides.peer] as const;
  for (const side of both) await warmUp(side, CALLERS.at(-1)!);
  let peak = Infinity;
  for (let turn = 0; turn < turns; turn++) {
    for (const callers of CALLERS) {
      const load = `${callers} in flight`;
      const seen = await pairs.measure(load, turn, both, (side) => closedLoop(side, callers, ms));
      if (!seen) continue;
      const [ours, peer] = seen;
      pairs.add(`calls, ${load}`, '/s', ours.perSecond, peer.perSecond);
      pairs.add(`p50, ${load}`, 'ms', ours.p50, peer.p50);
      pairs.add(`p99, ${load}`, 'ms', ours.p99, peer.p99);
      pairs.add(`CPU of the server a call, ${load}`, 'µs', ours.cpuMicros, peer.cpuMicros);
      if (callers === CALLERS.at(-1)) peak = Math.min(peak, ours.perSecond, peer.perSecond);
    }
  }
  if (peak === Infinity) return;
  for (let turn = 0; turn < turns; turn++) {
    for (const share of SHARES) {
      const load = `open loop at ${100 * share} % of the slower side`;
      const seen = await pairs.measure(load, turn, both, (side) => openLoop(side, share * peak, ms));
      if (!seen) continue;
      const [ours, peer] = seen;
      pairs.add(`p50, ${load}`, 'ms', ours.p50, peer.p50);
      pairs.add(`p99, ${load}`, 'ms', ours.p99, peer.p99);
    }
  }
}
