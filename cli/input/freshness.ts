/** Of the embedded store a number; of Qdrant a number after what made it, or after a word where no copy can lag. */
const POSITION = /\.(?:(?<lane>[0-9a-f]{12}|everywhere)-)?(?<number>\d+)$/;

/**
 * The freshness token that covers what several streams wrote into one collection: the latest of theirs.
 *
 * @param tokens those that are empty are of streams that wrote nothing
 * @returns `undefined` where no one says which is the latest: two services made them
 */
export function latestToken(tokens: readonly string[]): string | undefined {
  return tokens.reduce<string | undefined>(
    (latest, token) => (latest === undefined ? undefined : later(latest, token)),
    '',
  );
}

function later(one: string, other: string): string | undefined {
  if (one === '' || other === '' || one === other) return one || other;
  const [mine, theirs] = [one, other].map((token) => POSITION.exec(token)?.groups);
  if (!mine || !theirs || mine['lane'] !== theirs['lane']) return undefined;
  return Number(mine['number']) > Number(theirs['number']) ? one : other;
}
