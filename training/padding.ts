import { int64, type Tensor } from './onnx/tensor.ts';

/**
 * Padded tokens of one run. Memory for what lies between forward and backward is in proportion to them, whatever the
 * batch; more is no faster.
 */
const MAX_RUN_TOKENS = 2_048;

/** What a run costs besides its tokens, in tokens: the sums of gradients go in and out of it. */
const RUN_COST = 64;

/**
 * Splits texts into runs, alike in length, so that padding and runs together cost least; longest first, so that a lack
 * of memory shows at the start. Of 128 sentences and titles at a time, sorted among 2048, 0.97 are then tokens, where
 * padding a batch to its longest text leaves 0.73 (scifact, cranfield).
 *
 * @param lengths - in tokens. A text that is longer than a run may be is a run of its own.
 * @returns indices into `lengths`, each exactly once
 */
export function planRuns(lengths: readonly number[]): number[][] {
  const order = lengths.map((_, index) => index).sort((a, b) => lengths[b]! - lengths[a]!);
  const longest = (start: number): number => Math.max(1, lengths[order[start]!]!);
  // cost[start] is that of the texts from there on, in runs of which the first ends at end[start].
  const cost = new Float64Array(order.length + 1);
  const ends = new Uint32Array(order.length);
  for (let start = order.length - 1; start >= 0; start--) {
    const limit = Math.max(1, Math.floor(MAX_RUN_TOKENS / longest(start)));
    cost[start] = Infinity;
    for (let end = start + 1; end <= Math.min(start + limit, order.length); end++) {
      const found = RUN_COST + (end - start) * longest(start) + cost[end]!;
      if (found < cost[start]!) {
        cost[start] = found;
        ends[start] = end;
      }
    }
  }
  const runs: number[][] = [];
  for (let start = 0; start < order.length; start = ends[start]!) runs.push(order.slice(start, ends[start]));
  return runs;
}

/**
 * Token inputs of some texts, padded on the right: int64 [texts, longest].
 * @param inputs - names of those that a graph reads. @default all
 */
export function pad(
  texts: readonly (readonly number[])[],
  inputs?: ReadonlySet<string>,
): Record<string, Tensor> {
  const length = texts.reduce((longest, ids) => Math.max(longest, ids.length), 1);
  const valueOf: Record<string, (ids: readonly number[], at: number) => number> = {
    input_ids: (ids, at) => ids[at] ?? 0,
    attention_mask: (ids, at) => (at < ids.length ? 1 : 0),
    token_type_ids: () => 0,
    position_ids: (_, at) => at,
  };
  const names = Object.keys(valueOf).filter((name) => inputs?.has(name) ?? true);
  return Object.fromEntries(
    names.map((name) => [
      name,
      int64(
        texts.flatMap((ids) => Array.from({ length }, (_, at) => valueOf[name]!(ids, at))),
        [texts.length, length],
      ),
    ]),
  );
}
