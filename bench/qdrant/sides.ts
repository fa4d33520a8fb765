import { type Comparison, median } from '../report.ts';
import { drive, type Load } from './load.ts';

/**
 * The sides: through the services, to Qdrant directly, and through a forwarder that does no more than it
 * must.
 */
export type Side = 'ours' | 'peer' | 'bare';

/** Turns of each side. The turns alternate, so that all sides see the machine in the same state. */
export const ROUNDS = 5;

/** Runs the turns of all sides alternately. The first turn of each side warms it up. */
export async function alternate(
  sides: Record<Side, (index: number) => Promise<unknown>>,
  { calls, inFlight }: { calls: number; inFlight: number },
): Promise<Record<Side, Load[]>> {
  const turns: Record<Side, Load[]> = { ours: [], peer: [], bare: [] };
  for (let round = 0; round <= ROUNDS; round++) {
    for (const side of ['peer', 'bare', 'ours'] as const) {
      const call = async (index: number): Promise<void> => void (await sides[side](index));
      const load = await drive(call, round * calls, calls, inFlight);
      if (round > 0) turns[side].push(load);
    }
  }
  return turns;
}

/** Compares the median turns of two sides. */
export function compare(
  what: string,
  unit: string,
  turns: Pick<Record<Side, readonly Load[]>, 'ours' | 'peer'>,
  value: (load: Load) => number,
): Comparison {
  const ours = median(turns.ours.map(value));
  const peer = median(turns.peer.map(value));
  return { what, unit, ours, peer, ratio: ours / peer };
}

/** Compares the bare forwarder with the direct side: no service can do better than the forwarder. */
export function compareBare(
  what: string,
  unit: string,
  { bare, peer }: Record<Side, readonly Load[]>,
  value: (load: Load) => number,
): Comparison {
  return compare(`${what}: bare forwarder`, unit, { ours: bare, peer }, value);
}
