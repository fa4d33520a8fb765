import { readManifest } from '../directory.ts';
import { openTower } from '../open.ts';
import type { TowerOptions } from '../options.ts';
import { compareGolden, type Drift, readGolden, shown } from './golden.ts';

/**
 * Has a tower encode the probes, and compares with the golden vectors that it came with; `undefined` where it came with
 * none, which is found without loading a model.
 *
 * @throws {TowerError} for a tower or golden vectors that can't be used; what encoding throws
 */
export async function verifyGolden(directory: string, options?: TowerOptions): Promise<Drift | undefined> {
  const golden = await readGolden({ directory, manifest: await readManifest(directory) });
  if (!golden) return undefined;
  const tower = await openTower(directory, options);
  try {
    return await compareGolden(tower, golden);
  } finally {
    await tower.close();
  }
}

/** What {@link verifyGolden} found, in words. */
export function driftText({ drifted, worst, median, tolerance, probes }: Drift): string {
  const numbers =
    `cosine distance of its ${probes} golden vectors ${shown(worst)} at the worst and ${shown(median)} in the median, ` +
    `where ${shown(tolerance)} is tolerated`;
  return drifted ? `it does not encode as it did: ${numbers}` : `it encodes as it did: ${numbers}`;
}
