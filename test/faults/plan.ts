import type { ClientPlan, PlannedOperation } from './history.ts';

/** What happens to the system at one moment of a run. */
export interface Mishap {
  /** Milliseconds after the run has begun. */
  at: number;
  kind: MishapKind;
  /** How long it lasts, in milliseconds, where it lasts. */
  ms: number;
  /** Which client, for what happens to one. */
  client: number;
}

/** Everything that can happen to the system. */
export const MISHAPS = [
  /** All connections to the document service are reset, and new ones refused for a while. */
  'connections cut',
  /** All connections are reset towards the clients, and the document service notices only later. */
  'connections cut unnoticed',
  /** From now on each new connection is slow in its own way. */
  'connections delayed',
  'document service killed',
  'document service drained',
  'document service stopped',
  'query service killed',
  'query service stopped',
  'client killed',
  'client stopped',
  'disk full',
  /** The document service begins again with a clock that is off. */
  'clock off',
  /** Somebody drops the collection; the next stream makes another one. */
  'collection dropped',
] as const;

/** One of them. */
export type MishapKind = (typeof MISHAPS)[number];

/** One run: who sends what, and what happens meanwhile. */
export interface RunPlan {
  seed: number;
  collection: string;
  tenants: string[];
  clients: (ClientPlan & { window: number; pauseMs: number })[];
  mishaps: Mishap[];
}

const CLIENTS = 4;
const TENANTS = ['', 'other'];
const KEYS = ['k0', 'k1', 'k2'];
/** Most mishaps of a run, and how far apart, in milliseconds. */
const MOST_MISHAPS = 4;
const SPREAD_MS = 1500;

/** A clock that is off is so by this much, in milliseconds. */
export const CLOCK_OFF_MS = 3_600_000;

/** The run that a seed decides. The processes decide how it goes: the same seed is the same plan, not the same history. */
export function planRun(seed: number, operations: number): RunPlan {
  const random = mulberry32(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const pick = <T>(values: readonly T[]): T => values[below(values.length)]!;
  const versions = pick(['none', 'few', 'growing']);
  const documents = pick([8, 40, 200]);
  const contents = pick([4, 30, 1000]);
  const each = Math.ceil(operations / CLIENTS);
  const clients = Array.from({ length: CLIENTS }, (_, client) => ({
    client: `c${client}`,
    tenant: TENANTS[client >> 1]!,
    window: pick([16, 128, 1024]),
    pauseMs: pick([0, 1, 4]),
    operations: Array.from({ length: each }, (_, index): PlannedOperation => {
      const sequence = index + 1;
      const version = versions === 'none' ? 0 : versions === 'few' ? below(5) : sequence * CLIENTS + client;
      const common = { sequence, id: `d${below(documents)}`, version };
      const dice = random();
      if (dice < 0.15) return { ...common, kind: 'delete' };
      if (dice < 0.3) {
        const set = { [pick(KEYS)]: `p${below(100)}` };
        return { ...common, kind: 'patch', set, remove: [] };
      }
      const tag = below(contents);
      const metadata = { tag: `t${tag}`, [KEYS[tag % KEYS.length]!]: `v${tag % 5}` };
      return {
        ...common,
        kind: 'put',
        content: { title: `title ${tag % 2}`, text: textOf(tag % 50), metadata },
      };
    }),
  }));
  const mishaps = Array.from({ length: 1 + below(MOST_MISHAPS) }, () => ({
    at: 50 + below(SPREAD_MS),
    kind: pick(MISHAPS),
    ms: 50 + below(600),
    client: below(CLIENTS),
  })).sort((a, b) => a.at - b.at);
  return { seed, collection: `run${seed}`, tenants: TENANTS, clients, mishaps };
}

/** One to five passages of the tiny tower, whose words are all different. */
function textOf(tag: number): string {
  const words = 1 + (tag % 13);
  return Array.from({ length: words }, (_, index) => letters(tag * 17 + index + 30)).join(' ');
}

function letters(number: number): string {
  return number === 0 ? '' : letters(Math.floor(number / 26)) + String.fromCodePoint(97 + (number % 26));
}

function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
