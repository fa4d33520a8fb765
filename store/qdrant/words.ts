import type { CallOptions, CountedWords } from '../store.ts';
import { ofTenant } from './filters.ts';
import type { Points } from './points.ts';

/**
 * The words of a tenant's passages. Every point has its own, under an index that the server counts: they come and go with
 * the points, and nothing else has to be kept up to date.
 *
 * @returns a stamp that no other answer has: the server does not say whether something has changed
 */
export async function countWords(
  points: Points,
  tenant: string,
  limit: number,
  options: CallOptions,
): Promise<CountedWords> {
  const found = await points.values('words', ofTenant(tenant, undefined), limit, options);
  return {
    stamp: `${Date.now()}-${Math.random()}`,
    counted: {
      words: found.map(({ value }) => value).join('\n'),
      passages: Uint32Array.from(found, ({ count }) => count),
    },
  };
}
