import { readFileSync, statSync } from 'node:fs';

/** How often a file is looked at, in milliseconds. */
const LOOK_EVERY_MS = 1_000;

/**
 * The text of a file that holds a secret and nothing else, read again when it has changed. What can't be used then leaves
 * the text as it was: it is being written, and the next look finds it whole.
 *
 * @param check - throws for what is no secret
 * @throws what reading the file throws, and what `check` throws, the first time
 */
export function fileSecret(path: string, check: (secret: string) => void): () => string {
  const read = (): string => {
    const text = readFileSync(path, 'utf8').trim();
    check(text);
    return text;
  };
  const stamp = (): string => {
    const found = statSync(path, { throwIfNoEntry: false });
    return found ? `${found.ino} ${found.size} ${found.mtimeMs}` : '';
  };
  let seen = stamp();
  let secret = read();
  let lookedAt = performance.now();
  return () => {
    const now = performance.now();
    if (now - lookedAt < LOOK_EVERY_MS) return secret;
    lookedAt = now;
    const current = stamp();
    if (current === seen) return secret;
    try {
      secret = read();
      seen = current;
    } catch {
      // See above.
    }
    return secret;
  };
}
