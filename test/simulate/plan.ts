import type { ClientPlan, Content, PlannedOperation } from '../faults/history.ts';
import type { Simulation } from '../../store/testing/simulation.ts';

const CLIENTS = 4;
const OPERATIONS = 24;
const TENANTS = ['', 'other'];

/** Texts by number of passages, which "|" separates. */
const TEXTS = ['one', 'one|two', 'one|two|three', 'four|five', 'six'];
const KEYS = ['k0', 'k1', 'k2'];

/** How versions are given: few make operations meet, many make them stale. */
const VERSIONS = {
  /** What comes later wins. */
  none: (): number => 0,
  few: (simulation: Simulation): number => 1 + simulation.below(3),
  some: (simulation: Simulation): number => simulation.below(10),
  /** As a clock gives them: each is higher than those before. */
  growing: (_: Simulation, sequence: number, client: number): number => sequence * CLIENTS + client,
};

/** Names of these. */
export type Versions = keyof typeof VERSIONS;
export const VERSION_NAMES = Object.keys(VERSIONS) as Versions[];

/** What clients have to get into the store. */
export function planOf(simulation: Simulation, versions: Versions): ClientPlan[] {
  const versionOf = VERSIONS[versions];
  const documents = simulation.pick([2, 4, 8]);
  const contents = simulation.pick([3, 8, 40]);
  const expires = simulation.chance(0.3);
  const patchShare = simulation.pick([0, 0.2, 0.5]);
  return Array.from({ length: CLIENTS }, (_, client) => ({
    client: `c${client}`,
    tenant: TENANTS[client % TENANTS.length]!,
    operations: Array.from({ length: OPERATIONS }, (_, index): PlannedOperation => {
      const sequence = index + 1 + (index >= OPERATIONS / 2 ? 3 : 0);
      const id = `d${simulation.below(documents)}`;
      const common = { sequence, id, version: versionOf(simulation, sequence, client) };
      if (simulation.chance(0.2)) return { ...common, kind: 'delete' };
      if (simulation.chance(patchShare)) return { ...common, kind: 'patch', ...patchOf(simulation) };
      return { ...common, kind: 'put', content: contentOf(simulation, contents, expires) };
    }),
  }));
}

function patchOf(simulation: Simulation): { set: Record<string, string>; remove: string[] } {
  const [first, second] = simulation.chance(0.5) ? [KEYS[0]!, KEYS[1]!] : [KEYS[2]!, KEYS[1]!];
  const set = { [first]: `p${simulation.below(6)}` };
  return { set, remove: simulation.chance(0.3) ? [second] : [] };
}

/** Contents with the same tag are the same; text and title come again with other metadata. */
function contentOf(simulation: Simulation, contents: number, expires: boolean): Content {
  const tag = simulation.below(contents);
  const content = {
    title: `title ${tag % 2}`,
    text: TEXTS[tag % TEXTS.length]!,
    metadata: { tag: `t${tag}`, [KEYS[tag % KEYS.length]!]: `v${tag % 4}` },
  };
  return expires && tag % 3 === 0
    ? { ...content, expiresAt: simulation.now + 100 * (1 + (tag % 20)) }
    : content;
}
