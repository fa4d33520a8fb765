import { type QueryClient, ScalingnoteError } from '../clients/index.ts';

/**
 * From this share of unknown tokens on, a query tower that is distilled from the collection's own texts is worth its
 * minutes: the one that ships hardly knows 2 to 5 % of the tokens of collections of which it keeps 0.82 to 0.88, and one
 * that is distilled from them under 1 %.
 */
const HIGH_SHARE = 0.015;

/** Looking at a sample takes the service well under a second. */
const TIMEOUT_MS = 10_000;

/** Share of a collection's tokens that the query tower hardly knows; undefined where nobody can say. */
export async function unknownShare(
  client: QueryClient,
  scope: { collection: string; tenant?: string },
): Promise<number | undefined> {
  try {
    return (await client.measureFamiliarity(scope, { timeoutMs: TIMEOUT_MS })).unknownTokenShare;
  } catch (error) {
    // It says what could be better, and is asked for by nobody: what keeps it from answering is shown where it matters.
    if (error instanceof ScalingnoteError) return undefined;
    throw error;
  }
}

/** What a high share means and how to mend it, in one line; undefined where it is not high. */
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
