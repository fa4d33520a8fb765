import type { Kept, Node, Plan, Range } from './plan.ts';

/** Hours of a month, as clouds count them: a twelfth of a year. */
export const MONTH_HOURS = 730;
/** More copies are a matter of searches, which Qdrant's own benchmarks know, and not of safety. */
const MOST_REPLICAS = 9;

/** What things cost, in the same money as the budget. */
export interface Prices {
  coreHour: number;
  /** Of memory. */
  gbMonth: number;
  /** Of disk. */
  diskGbMonth: number;
}

/** A machine for a shard, with the cores that are paid for. */
export interface PricedNode extends Node {
  cores: number;
}

/** A way to keep and search the vectors, and what it costs. */
export interface Offer {
  store: 'qdrant' | 'embedded';
  kind: Kept['kind'] | 'float32 and int8';
  /** Machines of one copy. */
  shards: number;
  /** Money a month, with one copy of everything. */
  money: Range;
  /** Whether one copy fits: `perhaps` where the slowest measurement does not, and the fastest does. */
  fits: 'yes' | 'perhaps' | 'no';
  /** The most copies that fit by the slowest measurement, 9 at most; 0 for none. */
  replicas: number;
}

/** What a plan costs. */
export interface Costs {
  budget: number;
  /** Whether any offer fits by the slowest measurement. */
  fits: boolean;
  /** To encode everything once, on a machine like this one. */
  encodeOnce: Range;
  offers: Offer[];
}

/** The formulae, as `scalingnote plan` shows them. */
export const BUDGET_FORMULAE: readonly string[] = [
  `a core for a month = its price an hour × ${MONTH_HOURS}`,
  'Qdrant, a month = query cores + replicas × (shards × (cores of a machine + its memory × price of a GB) + vectors on disk × price of a GB)',
  'embedded store, a month = replicas × (cores of queries and scans + memory × processes, one for each core, × price of a GB)',
  'once = hours to encode × cores of this machine × price of a core for an hour',
];

/** What a plan costs, and what of it a budget pays. @param cores of this machine */
export function costsOf(
  plan: Plan,
  { budget, prices, node, cores }: { budget: number; prices: Prices; node: PricedNode; cores: number },
): Costs {
  const coreMonth = prices.coreHour * MONTH_HOURS;
  const coresFor = (needed: Range): Range => map(needed, (each) => Math.max(1, Math.ceil(each)));
  const queries = map(coresFor(plan.queryCores), (each) => each * coreMonth);
  const offers = plan.qdrant.kept.map(({ kind, shards }): Offer => {
    const machine = node.cores * coreMonth + node.memoryGb * prices.gbMonth;
    const copy = shards * machine + plan.qdrant.diskGb * prices.diskGbMonth;
    return offerOf({ store: 'qdrant', kind, shards }, budget, (replicas) =>
      map(queries, (each) => each + replicas * copy),
    );
  });
  const { embedded } = plan;
  if (embedded) {
    const needed = coresFor(sum(plan.queryCores, embedded.scanCores));
    // Each process has a copy of the vectors.
    const copy = map(needed, (each) => each * (coreMonth + embedded.memoryGb * prices.gbMonth));
    offers.push(
      offerOf({ store: 'embedded', kind: 'float32 and int8', shards: 1 }, budget, (replicas) =>
        map(copy, (each) => replicas * each),
      ),
    );
  }
  return {
    budget,
    fits: offers.some(({ fits }) => fits === 'yes'),
    encodeOnce: map(plan.encodeHours, (hours) => hours * cores * prices.coreHour),
    offers,
  };
}

function offerOf(
  about: Pick<Offer, 'store' | 'kind' | 'shards'>,
  budget: number,
  moneyOf: (replicas: number) => Range,
): Offer {
  const money = moneyOf(1);
  let replicas = 0;
  while (replicas < MOST_REPLICAS && moneyOf(replicas + 1).high <= budget) replicas++;
  return { ...about, money, fits: replicas > 0 ? 'yes' : money.low <= budget ? 'perhaps' : 'no', replicas };
}

function map({ low, middle, high }: Range, change: (value: number) => number): Range {
  return { low: change(low), middle: change(middle), high: change(high) };
}

function sum(a: Range, b: Range): Range {
  return { low: a.low + b.low, middle: a.middle + b.middle, high: a.high + b.high };
}
