/**
 * How far a collection had come at some moment: everything that was durable then. A watermark carries it to the client of
 * ingest, and the client hands it to a search that has to see its own writes.
 */
export interface Freshness {
  /** Identity of the physical collection; see `CollectionKey.identity`. */
  identity: string;
  /** What the kind of store makes of it: letters, digits, "_" and "-" alone. */
  position: string;
}

const TOKEN = /^(?<identity>col_[0-9a-f]{32})\.(?<position>[\w-]{1,128})$/;

/** A freshness as a token, which clients hand on as it is. */
export function freshnessToken({ identity, position }: Freshness): string {
  return `${identity}.${position}`;
}

/** Whether a position counts writes, as those of the embedded store do: only then an earlier state shows. */
export function countsWrites({ position }: Freshness): boolean {
  return /^\d+$/.test(position);
}

/** Whether a collection has not come as far as it had before: its data were put back to an earlier state. */
export function isBehind(now: Freshness, before: Freshness): boolean {
  return countsWrites(now) && countsWrites(before) && Number(now.position) < Number(before.position);
}

/**
 * In the embedded store, the position of a tenant that has written nothing since positions are kept for each: above all positions of a whole
 * collection, which counted the changes of all tenants, and below all of a tenant's own.
 */
export const FIRST_POSITION = 1e12;

/** What orders positions: the last number of each. */
const ORDER = /^(?<lane>.+-)?(?<number>\d+)$/;

/**
 * Whether a freshness covers a document that is there from a position on (`Origin.position`): whoever handed it to a
 * search, finds the document. In Qdrant, positions are times of the services that wrote, so clocks that differ count.
 *
 * @returns `undefined` where the two have no order
 */
export function isCovered(document: string, { position }: Pick<Freshness, 'position'>): boolean | undefined {
  const [from, to] = [document, position].map((one) => ORDER.exec(one)?.groups);
  if (!from || !to || (from['lane'] === undefined) !== (to['lane'] === undefined)) return undefined;
  const [since, until] = [Number(from['number']), Number(to['number'])];
  // Of one tenant, and of a whole collection.
  if (since >= FIRST_POSITION !== until >= FIRST_POSITION) return undefined;
  return since <= until;
}

/** The reverse of {@link freshnessToken}; `undefined` for what it did not make. */
export function parseFreshness(token: string): Freshness | undefined {
  const { identity, position } = TOKEN.exec(token)?.groups ?? {};
  return identity === undefined || position === undefined ? undefined : { identity, position };
}
