import type { TowerSolution } from './tower-law.ts';

/** What is read over a period. */
export interface Load {
  /** Documents, each read once. */
  documents: number;
  tokensPerDocument: number;
  tokensPerQuery: number;
  days: number;
}

/** Weights of both towers. */
export interface TowerSizes {
  document: number;
  query: number;
}

/** The range of sizes that were measured. */
export interface SizeRange {
  document: readonly [least: number, most: number];
  query: readonly [least: number, most: number];
}

const SECONDS_PER_DAY = 86_400;

/** A pass costs two operations for each weight and token. */
const PER_WEIGHT = 2;

/** Operations of all documents, once, and of the queries of the period. */
export function operationsOf({ document, query }: TowerSizes, load: Load, queriesPerSecond: number): number {
  const { documents, tokensPerDocument, tokensPerQuery, days } = load;
  return (
    PER_WEIGHT *
    (document * documents * tokensPerDocument +
      query * tokensPerQuery * queriesPerSecond * days * SECONDS_PER_DAY)
  );
}

/** How near the logarithm of a size has to be to the best: a hundredth of a percent of it. */
const PRECISION = 1e-4;

const GOLDEN = (Math.sqrt(5) - 1) / 2;

/**
 * The pair of sizes that reaches an entropy for the fewest operations, by a law, within the sizes that were measured: in
 * logarithms of sizes costs and law are convex, so that one number is searched for and the other follows from the law.
 *
 * @param solution - a law whose terms fall with size
 * @param entropy - to reach, on `pairs` training pairs
 * @returns undefined where the largest of both do not reach it
 */
export function cheapestPair(
  solution: TowerSolution,
  target: { entropy: number; pairs: number },
  range: SizeRange,
  costOf: (sizes: TowerSizes) => number,
): TowerSizes | undefined {
  const { pairs, entropy } = target;
  const [least, most] = range.query;
  const reaches = (document: number, query: number): boolean =>
    solution.at({ document, query, pairs }) <= entropy;
  if (!reaches(range.document[1], most)) return undefined;
  /** The smallest query tower that will do with a document tower. */
  const queryFor = (document: number): number =>
    least * Math.exp(smallest(Math.log(most / least), (x) => reaches(document, least * Math.exp(x))));
  const [first, last] = range.document.map(Math.log) as [number, number];
  // Below it not even the largest query tower reaches the entropy.
  let low = first + smallest(last - first, (x) => reaches(Math.exp(first + x), most));
  let high = last;
  const sizesAt = (log: number): TowerSizes => {
    const document = Math.exp(log);
    return { document, query: queryFor(document) };
  };
  const costAt = (log: number): number => costOf(sizesAt(log));
  while (high - low > PRECISION) {
    const [a, b] = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)];
    if (costAt(a) <= costAt(b)) high = b;
    else low = a;
  }
  return sizesAt((low + high) / 2);
}

/** The smallest number from 0 to `most` that is enough, by halving; `most` where none below it is. */
function smallest(most: number, isEnough: (x: number) => boolean): number {
  if (isEnough(0)) return 0;
  let [low, high] = [0, most];
  while (high - low > PRECISION / 4) {
    const middle = (low + high) / 2;
    if (isEnough(middle)) high = middle;
    else low = middle;
  }
  return high;
}

/** Entropies from that of the largest pair to that of the smallest, without both ends. */
export function targetsBetween(solution: TowerSolution, range: SizeRange, pairs: number): number[] {
  const at = (end: 0 | 1): number =>
    solution.at({ document: range.document[end], query: range.query[end], pairs });
  const [best, worst] = [at(1), at(0)];
  return TARGET_SHARES.map((share) => best + share * (worst - best));
}

/** How far up from the best entropy that the sizes reach: a demanding target, a middling one and an easy one. */
const TARGET_SHARES = [0.25, 0.5, 0.75];

/** A choice of towers: the cheapest that reach an entropy at a rate of queries. */
export interface Choice {
  entropy: number;
  queriesPerSecond: number;
  /** By the law, of any size within those measured; absent where the largest towers do not reach the entropy. */
  best?: TowerSizes & {
    operations: number;
    /** Share of the operations that are the queries'. */
    queryShare: number;
    /** Ends of the measured sizes that it lies at: beyond them a better pair may be, and the law is not measured there. */
    atEnd: string[];
    /** 95 %, of the sizes, over refits of the law that reach the entropy. */
    intervals: { document: readonly [number, number]; query: readonly [number, number] };
  };
  /** The cheapest pair of the family itself that reaches it by the law. */
  family?: { document: string; query: string; operations: number };
  /** Share of the refits in which the largest towers reach the entropy. */
  reached: number;
}

/** A member of the family: what it is called, and its weights. */
export interface Member {
  name: string;
  parameters: number;
}

/** The cheapest pairs for entropies and rates of queries. */
export function choose(
  fit: { best: TowerSolution; refits: readonly TowerSolution[] },
  given: {
    load: Load;
    range: SizeRange;
    family: { document: readonly Member[]; query: readonly Member[] };
    /** Training pairs that the law is asked at. */
    pairs: number;
    entropies: readonly number[];
    rates: readonly number[];
  },
): Choice[] {
  const { load, range, family, pairs } = given;
  return given.entropies.flatMap((entropy) =>
    given.rates.map((queriesPerSecond): Choice => {
      const target = { entropy, pairs };
      const costOf = (sizes: TowerSizes): number => operationsOf(sizes, load, queriesPerSecond);
      const best = cheapestPair(fit.best, target, range, costOf);
      const refits = fit.refits
        .map((refit) => cheapestPair(refit, target, range, costOf))
        .filter((sizes) => sizes !== undefined);
      const member = cheapestMembers(fit.best, target, family, costOf);
      return {
        entropy,
        queriesPerSecond,
        ...(best !== undefined && {
          best: {
            ...best,
            operations: costOf(best),
            queryShare: 1 - costOf({ ...best, query: 0 }) / costOf(best),
            atEnd: endsOf(best, range),
            intervals: {
              document: middleOf(refits.map(({ document }) => document)),
              query: middleOf(refits.map(({ query }) => query)),
            },
          },
        }),
        ...(member !== undefined && { family: member }),
        reached: refits.length / fit.refits.length,
      };
    }),
  );
}

/** The members that reach an entropy for the fewest operations. */
function cheapestMembers(
  solution: TowerSolution,
  { entropy, pairs }: { entropy: number; pairs: number },
  family: { document: readonly Member[]; query: readonly Member[] },
  costOf: (sizes: TowerSizes) => number,
): Choice['family'] {
  const able = family.document.flatMap((document) =>
    family.query.flatMap((query) => {
      const sizes = { document: document.parameters, query: query.parameters };
      if (solution.at({ ...sizes, pairs }) > entropy) return [];
      return [{ document: document.name, query: query.name, operations: costOf(sizes) }];
    }),
  );
  return able.sort((a, b) => a.operations - b.operations)[0];
}

function endsOf(sizes: TowerSizes, range: SizeRange): string[] {
  return (['document', 'query'] as const).flatMap((tower) => {
    const [least, most] = range[tower];
    const near = (end: number): boolean => Math.abs(Math.log(sizes[tower] / end)) < 1e-3;
    if (near(least)) return [`the smallest ${tower} tower`];
    return near(most) ? [`the largest ${tower} tower`] : [];
  });
}

/** The middle 95 %. */
function middleOf(values: readonly number[]): readonly [number, number] {
  const sorted = [...values].sort((a, b) => a - b);
  const cut = Math.floor(0.025 * sorted.length);
  return [sorted[cut] ?? NaN, sorted[sorted.length - 1 - cut] ?? NaN];
}
