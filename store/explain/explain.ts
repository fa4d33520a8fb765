import type { Origin, SparseVector } from '../document.ts';
import { type Freshness, isCovered } from '../freshness.ts';
import { type Leg, rankingDepth, sharesOf } from '../fusion.ts';
import type { SearchHit, SearchQuery } from '../queries.ts';
import type { CallOptions, Store } from '../store.ts';
import { type Place, placesOf, scoresOf } from './places.ts';

/** Most terms of a query that are looked at: each takes a search. */
export const MAX_TERMS = 32;

/** What explanations need of a store. */
export type ExplainStore = Pick<
  Store,
  'search' | 'lookupDocuments' | 'readDocuments' | 'findOrigins' | 'findDelete'
>;

/** A search that was made, and what it is to be explained with. */
export interface Explained {
  store: ExplainStore;
  /** Physical name. */
  collection: string;
  /** As the store was asked. */
  query: SearchQuery;
  /** The vector that another tower of the space makes of the query. */
  teacher?: Float32Array | undefined;
  options: CallOptions;
}

/** A document's place in a ranking that is fused with another one. */
export interface FusedPlace extends Place {
  /** What it adds to the fused score; absent unless the search is hybrid. */
  share?: number;
}

/** Why a document ranks where it does. */
export interface Explanation {
  /** How many passages it has; 0 where it is gone by now. */
  passages: number;
  /** Absent where the search has no vector. */
  dense?: FusedPlace;
  /** Absent where the search has no terms, or the document none of them. */
  sparse?: FusedPlace;
  /** What each term of the query alone scores; without those that the document does not have. */
  terms: TermScore[];
  /** Where another tower puts it. */
  teacher?: Place;
  /** Absent where it is gone by now. */
  origin?: ExplainedOrigin;
}

/** Where a document comes from, and how that stands to the search. */
export interface ExplainedOrigin extends Origin {
  /** Whether the freshness that the search asks for covers it; absent where it asks for none, or nothing says. */
  covered?: boolean;
}

/** A term of a query in a document. */
export interface TermScore {
  /** Index in the sparse vector. */
  term: number;
  /** In the passage that says it best. */
  score: number;
}

/** Explains documents that the tenant has and the filter lets through, by document id. */
export async function explanationsOf(
  { store, collection, query, teacher, options }: Explained,
  ids: readonly string[],
): Promise<Map<string, Explanation>> {
  const { tenant, filter, atLeast, vector, sparse } = query;
  const scope = { tenant, filter, ...(atLeast && { atLeast }) };
  const places = (ranking: { vector?: Float32Array; sparse?: SparseVector }) =>
    placesOf(store, collection, { ...scope, ...ranking }, ids, options);
  const none = Promise.resolve(new Map<string, Place>());
  const keys = ids.map((documentId) => ({ tenant, documentId }));
  const [dense, worded, taught, terms, stored, origins, legs] = await Promise.all([
    vector ? places({ vector }) : none,
    sparse ? places({ sparse }) : none,
    teacher ? places({ vector: teacher }) : none,
    sparse ? termsOf(store, collection, { ...scope, sparse }, ids, options) : new Map<string, TermScore[]>(),
    store.lookupDocuments(collection, keys, options),
    store.findOrigins(collection, keys, options),
    vector && sparse ? legsOf(store, collection, query, options) : undefined,
  ]);
  const shares = legs && {
    dense: sharesIn('dense', legs.dense, query),
    sparse: sharesIn('sparse', legs.sparse, query),
  };
  const fused = (leg: Leg, id: string, place: Place): FusedPlace =>
    shares ? { ...place, share: shares[leg].get(id) ?? 0 } : place;
  return new Map(
    ids.map((id, index): [string, Explanation] => {
      const [byMeaning, byWording, byTeacher] = [dense.get(id), worded.get(id), taught.get(id)];
      const origin = origins[index];
      return [
        id,
        {
          passages: stored[index]?.passages ?? 0,
          ...(byMeaning && { dense: fused('dense', id, byMeaning) }),
          ...(byWording && { sparse: fused('sparse', id, byWording) }),
          terms: terms.get(id) ?? [],
          ...(byTeacher && { teacher: byTeacher }),
          ...(origin && { origin: explainedOrigin(origin, atLeast) }),
        },
      ];
    }),
  );
}

function explainedOrigin(origin: Origin, atLeast: Freshness | undefined): ExplainedOrigin {
  const { position } = origin;
  const covered = position === undefined || !atLeast ? undefined : isCovered(position, atLeast);
  return { ...origin, ...(covered !== undefined && { covered }) };
}

/** The legs of a hybrid search, as deep as they are fused, with every vector compared: ids, scores and passages alone. */
export async function legsOf(
  store: Pick<Store, 'search'>,
  collection: string,
  query: SearchQuery,
  options: CallOptions,
): Promise<Record<Leg, SearchHit[]>> {
  const { vector, sparse, scoreThreshold: _, fusion: __, ...rest } = query;
  const bare = { exact: true, idsOnly: true, withText: false, withMetadata: false };
  const scan = { ...rest, limit: rankingDepth(query), offset: 0, ...bare };
  const [dense, worded] = await Promise.all([
    store.search(collection, { ...scan, vector: vector! }, options),
    store.search(collection, { ...scan, sparse: sparse! }, options),
  ]);
  return { dense, sparse: worded };
}

/** What each document of a leg adds to its fused score. */
function sharesIn(leg: Leg, hits: readonly SearchHit[], { fusion }: SearchQuery): Map<string, number> {
  const scores = hits.map(({ score }) => score);
  const shares = sharesOf(leg, scores, fusion);
  return new Map(hits.map(({ documentId }, index) => [documentId, shares[index]!]));
}

/** What each term alone scores, by document id, the best first. */
async function termsOf(
  store: ExplainStore,
  collection: string,
  { sparse, ...scope }: Pick<SearchQuery, 'tenant' | 'filter' | 'atLeast'> & { sparse: SparseVector },
  ids: readonly string[],
  options: CallOptions,
): Promise<Map<string, TermScore[]>> {
  const terms = sparse.indices.slice(0, MAX_TERMS);
  const found = await Promise.all(
    terms.map((term, index) => {
      const alone = { indices: [term], values: [sparse.values[index]!] };
      return scoresOf(store, collection, { ...scope, sparse: alone }, ids, options);
    }),
  );
  const matches = new Map<string, TermScore[]>();
  for (const [index, scores] of found.entries()) {
    for (const [id, { score }] of scores) {
      const own = matches.get(id) ?? [];
      own.push({ term: terms[index]!, score });
      matches.set(id, own);
    }
  }
  for (const own of matches.values()) own.sort((a, b) => b.score - a.score);
  return matches;
}
