import { collectionReplaced, invalidArgument, StoreError } from '../errors.ts';
import type { Freshness } from '../freshness.ts';
import type { Collection } from './catalog.ts';
import type { Documents } from './documents.ts';

/** How far a collection has come: up to the newest entry of its change log. */
export function freshnessOf({ identity }: Collection, documents: Documents): Freshness {
  return { identity, position: String(documents.changes.bounds().newest) };
}

/** @throws {StoreError} where a search can't answer as freshly as its caller asks */
export function checkFresh(now: Freshness, atLeast: Freshness, name: string): void {
  if (atLeast.identity !== now.identity) throw collectionReplaced(name, atLeast.identity, now.identity);
  const position = /^\d+$/.test(atLeast.position) ? Number(atLeast.position) : NaN;
  if (!Number.isSafeInteger(position)) {
    throw invalidArgument(
      `freshness position ${JSON.stringify(atLeast.position)} is not one of the embedded store; use a token as a ` +
        'watermark of ingest gave it',
    );
  }
  if (position <= Number(now.position)) return;
  throw new StoreError(
    'STORE_NOT_FRESH',
    `collection "${name}" has come to position ${now.position}, and the search asks for ${position}; try again`,
    { metadata: { collection: name, position: now.position, wanted_position: atLeast.position } },
  );
}
