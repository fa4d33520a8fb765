import type { Filter, SearchQuery } from '../queries.ts';
import type { CallOptions, Store } from '../store.ts';

/** How many places of a ranking are looked at: as many as the deepest page of a search reaches. */
export const RANK_BOUND = 11_000;

/**
 * Subtracted from a score before it becomes a threshold, as a share of it: a store may add up a document's score in
 * another order when it looks for it alone.
 */
const SLACK = 1e-6;

/** A document's place in one ranking. */
export interface Place {
  score: number;
  /** Index of the passage that gave the score. */
  passage: number;
  /** From 1; absent past {@link RANK_BOUND}. */
  rank?: number;
}

/** What places need of a store. */
export type RankedStore = Pick<Store, 'search'>;

/** What a ranking is by: one kind of vector, a tenant and a filter. */
export type Ranking = Pick<SearchQuery, 'tenant' | 'filter' | 'atLeast' | 'vector' | 'sparse'>;

/**
 * The places of documents in one ranking, dense or sparse, by document id; none for a document that is not in it. Every
 * vector is compared, whatever index the store has. It takes two searches, however many documents.
 */
export async function placesOf(
  store: RankedStore,
  collection: string,
  ranking: Ranking,
  ids: readonly string[],
  options: CallOptions,
): Promise<Map<string, Place>> {
  const places = await scoresOf(store, collection, ranking, ids, options);
  if (places.size === 0) return places;
  const lowest = Math.min(...[...places.values()].map(({ score }) => score));
  const scoreThreshold = lowest - SLACK * Math.max(1e-3, Math.abs(lowest));
  const above = await store.search(
    collection,
    { ...bare(ranking), limit: RANK_BOUND, scoreThreshold },
    options,
  );
  for (const [index, { documentId }] of above.entries()) {
    const place = places.get(documentId);
    if (place) place.rank = index + 1;
  }
  return places;
}

/** The scores of documents in one ranking, without their ranks. */
export async function scoresOf(
  store: RankedStore,
  collection: string,
  ranking: Ranking,
  ids: readonly string[],
  options: CallOptions,
): Promise<Map<string, Place>> {
  if (ids.length === 0) return new Map();
  const filter = among(ids, ranking.filter);
  const found = await store.search(collection, { ...bare(ranking), filter, limit: ids.length }, options);
  return new Map(found.map(({ documentId, score, passage }) => [documentId, { score, passage }]));
}

/** A filter that holds for some documents only, nested no deeper than before. */
function among(ids: readonly string[], filter: Filter = {}): Filter {
  return { ...filter, must: [...(filter.must ?? []), { field: 'document_id', anyOf: ids }] };
}

function bare({ tenant, filter, atLeast, vector, sparse }: Ranking) {
  return {
    tenant,
    filter,
    ...(atLeast && { atLeast }),
    ...(vector && { vector }),
    ...(sparse && { sparse }),
    exact: true,
    idsOnly: true,
    withText: false,
    withMetadata: false,
  };
}
