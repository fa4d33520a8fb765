/** Padded positions of one run. Memory for what lies between forward and backward is in proportion to them. */
const MAX_RUN_TOKENS = 1_024;

/**
 * What a run costs besides its positions, in positions: weights go in, and sums of gradients in and out
 * (all-MiniLM-L6-v2, two cores: 75 ms of CPU time a run, 1.1 ms a position).
 */
const RUN_OVERHEAD = 64;

/**
 * Splits texts into runs, so that padding and what each run costs are the least together.
 *
 * @param lengths - in tokens
 * @returns indices into `lengths`, each exactly once; within a run alike in length
 */
export function planRuns(lengths: readonly number[]): number[][] {
  const order = lengths.map((_, index) => index).sort((a, b) => lengths[a]! - lengths[b]!);
  const lengthAt = (position: number): number => Math.max(1, lengths[order[position]!]!);
  // Texts of one length stay together: what is chosen is which lengths share runs.
  const cuts = [0];
  for (let i = 1; i <= order.length; i++) {
    if (i === order.length || lengthAt(i) !== lengthAt(i - 1)) cuts.push(i);
  }
  const best = [{ cost: 0, from: 0 }];
  for (let to = 1; to < cuts.length; to++) {
    const end = cuts[to]!;
    let least = { cost: Infinity, from: 0 };
    for (let from = 0; from < to; from++) {
      const size = end - cuts[from]!;
      const runs = Math.ceil(size / runSize(lengthAt(end - 1)));
      const cost = best[from]!.cost + size * lengthAt(end - 1) + runs * RUN_OVERHEAD;
      if (cost < least.cost) least = { cost, from };
    }
    best.push(least);
  }
  const planned: number[][] = [];
  for (let to = cuts.length - 1; to > 0; to = best[to]!.from) {
    const part = order.slice(cuts[best[to]!.from]!, cuts[to]!);
    const runs = Math.ceil(part.length / runSize(lengths[part.at(-1)!]!));
    for (let run = 0; run < runs; run++) {
      const at = (index: number): number => Math.floor((index * part.length) / runs);
      planned.push(part.slice(at(run), at(run + 1)));
    }
  }
  return planned;
}

/** Texts of a length that fit into a run; one longer than a run is a run of its own. */
function runSize(length: number): number {
  return Math.max(1, Math.floor(MAX_RUN_TOKENS / Math.max(1, length)));
}
