import { collectionReplaced, invalidArgument, StoreError } from '../errors.ts';
import { FIRST_POSITION, type Freshness } from '../freshness.ts';
import type { Collection } from './catalog.ts';
import type { Documents } from './documents.ts';

/** How far a tenant has come in a collection, or all of the collection: up to the newest entry of its change log. */
export function freshnessOf({ identity }: Collection, documents: Documents, tenant?: string): Freshness {
  const { changes, tenants } = documents;
  const position = tenant === undefined ? changes.bounds().newest : changes.position(tenants.find(tenant));
  return { identity, position: String(position) };
}

/**
 * A position of a whole collection is always met: every search reads what is durable now, and an answer that compared it
 * would tell a tenant how much others write.
 *
 * @param now of the tenant
 * @throws {StoreError} where a search can't answer as freshly as its caller asks
 */
export function checkFresh(now: Freshness, atLeast: Freshness, name: string): void {
  if (atLeast.identity !== now.identity) throw collectionReplaced(name, atLeast.identity, now.identity);
  const position = /^\d+$/.test(atLeast.position) ? Number(atLeast.position) : NaN;
  if (!Number.isSafeInteger(position)) {
    throw invalidArgument(
      `freshness position ${JSON.stringify(atLeast.position)} is not one of the embedded store; use a token as a ` +
        'watermark of ingest gave it',
    );
  }
  if (position < FIRST_POSITION || position <= Number(now.position)) return;
  throw new StoreError(
    'STORE_NOT_FRESH',
    `collection "${name}" has come to position ${now.position}, and the search asks for ${position}; try again, with a token of the tenant that searches`,
    { metadata: { collection: name, position: now.position, wanted_position: atLeast.position } },
  );
}
