import { type QueryClient, ScalingnoteError } from '../clients/index.ts';

/**
 * From this share of unknown tokens on, distilling a query tower from the collection's own texts pays off. The tower that
 * ships hardly knows 2 to 5 % of the tokens of collections on which its retention is 0.82 to 0.88; a tower distilled from
 * them has under 1 %.
 */
const HIGH_SHARE = 0.015;

/** Looking at a sample takes the service well under a second. */
const TIMEOUT_MS = 10_000;

/** Share of a collection's tokens that the query tower hardly knows; undefined if it cannot be measured. */
export async function unknownShare(
  client: QueryClient,
  scope: { collection: string; tenant?: string },
): Promise<number | undefined> {
  try {
    return (await client.measureFamiliarity(scope, { timeoutMs: TIMEOUT_MS })).unknownTokenShare;
  } catch (error) {
    // Nobody asked for this advice, so its errors are not shown.
    if (error instanceof ScalingnoteError) return undefined;
    throw error;
  }
}

/** Advice in one line if the share is high; otherwise undefined. */
export function familiarityAdvice(collection: string, share: number | undefined): string | undefined {
  if (share === undefined || share < HIGH_SHARE) return undefined;
  return (
    `the query tower hardly saw ${asPercent(share)} of the words in "${collection}" when it was trained, and will miss some of ` +
    `them; "scalingnote distill --collection ${collection} --out DIR" makes one that knows them, for the same vectors`
  );
}

/** A share for people. */
export function asPercent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
