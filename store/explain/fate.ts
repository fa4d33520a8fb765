import type { FullDocument } from '../document.ts';
import type { SearchHit, SearchQuery } from '../queries.ts';
import { fuse, rankingDepth } from '../fusion.ts';
import { page } from '../ranking.ts';
import { type Explained, type Explanation, explanationsOf, legsOf } from './explain.ts';
import { type Removal, removedBy } from './filter-path.ts';
import { RANK_BOUND } from './places.ts';

/** What became of a document in a search; see `DocumentFate` in the contract. */
export type FateName =
  | 'IN_ANSWER'
  | 'NOT_STORED'
  | 'DELETED'
  | 'FILTERED_OUT'
  | 'BELOW_THRESHOLD'
  | 'RANKED_LOWER'
  | 'SKIPPED_BY_OFFSET'
  | 'NO_SHARED_TERM'
  | 'NOT_A_CANDIDATE'
  | 'MISSED';

/** What became of a document in a search, and why. */
export interface Fate {
  fate: FateName;
  /** The same in words. */
  message: string;
  /** Stored, or of the delete. */
  version?: number;
  /** The condition that removed it: `filter.must[0]`. */
  filterPath?: string;
  /** In the mode of the search. */
  score?: number;
  /** Its place in the ranking of the search, from 1. */
  rank?: number;
  /** Of a page that begins with it. */
  offset?: number;
  explanation?: Explanation;
}

/** Says of a document why it is among the hits of a search, or why not. It never looks at another tenant. */
export async function fateOf(
  explained: Explained,
  documentId: string,
  hits: readonly SearchHit[],
): Promise<Fate> {
  const { store, collection, query, options } = explained;
  const key = { tenant: query.tenant, documentId };
  const [document] = await store.readDocuments(collection, [key], {}, options);
  if (!document) {
    const gone = await store.findDelete(collection, key, options);
    return gone ? deleted(gone) : notStored(query);
  }
  const at = hits.findIndex((hit) => hit.documentId === documentId);
  const within = await explanationOf(explained, documentId);
  const removal = at < 0 ? removalOf(query, document, within) : undefined;
  // Without the filter, to say where it would be.
  const asked = removal ? { ...query, filter: undefined } : query;
  const explanation = removal ? await explanationOf({ ...explained, query: asked }, documentId) : within;
  const fate = removal
    ? {
        fate: 'FILTERED_OUT' as const,
        message: `${removal.path} removed it: ${removal.why}`,
        filterPath: removal.path,
        ...scoreOf(asked, explanation),
      }
    : at >= 0
      ? inAnswer(query, hits[at]!, at)
      : await leftOut(explained, document, explanation);
  return { version: document.version, explanation, ...fate };
}

async function explanationOf(explained: Explained, documentId: string): Promise<Explanation> {
  return (await explanationsOf(explained, [documentId])).get(documentId)!;
}

/**
 * The condition that removed a document, if one did. Whether one did, the store says where it can: in a collection of
 * others, each passage may have metadata of its own, and a document's are those of the first.
 */
function removalOf(
  { filter, vector }: SearchQuery,
  document: FullDocument,
  { dense, sparse }: Explanation,
): Removal | undefined {
  if (filter === undefined || dense || sparse) return undefined;
  const removal = removedBy(filter, document);
  // A search by meaning ranks every document that the filter lets through.
  return removal ?? (vector && { path: 'filter', why: 'it holds for no passage of it' });
}

function deleted({ version, expired }: { version: number; expired: boolean }): Fate {
  const what = expired ? 'it has expired' : 'it was deleted';
  return { fate: 'DELETED', version, message: `${what}, at version ${version}` };
}

function notStored({ atLeast }: SearchQuery): Fate {
  return {
    fate: 'NOT_STORED',
    message:
      'there is no document of this id and tenant' +
      (atLeast
        ? ', although all that your freshness token covers has been read: it was rejected, or went elsewhere'
        : ' as of now; if it was just sent, search with the freshness token of its watermark, which waits for it'),
  };
}

function inAnswer({ offset = 0 }: SearchQuery, { score }: SearchHit, index: number): Fate {
  const rank = offset + index + 1;
  return { fate: 'IN_ANSWER', message: `it is in the answer, in place ${rank}`, score, rank };
}

/** Its score in a search that is not hybrid. */
function scoreOf(
  { vector, sparse }: SearchQuery,
  { dense, sparse: worded }: Explanation,
): { score?: number } {
  if (vector && sparse) return {};
  const place = vector ? dense : worded;
  return place ? { score: place.score } : {};
}

/** A document that is stored, that the filter lets through, and that is not in the answer. */
async function leftOut(
  explained: Explained,
  { documentId }: FullDocument,
  explanation: Explanation,
): Promise<Fate> {
  const { query } = explained;
  const { vector, sparse } = query;
  if (vector && sparse) {
    const place = await fusedPlace(explained, documentId);
    return place ? ranked(query, place) : notACandidate(query, explanation);
  }
  const place = vector ? explanation.dense : explanation.sparse;
  if (place) return ranked(query, place);
  if (!vector) return { fate: 'NO_SHARED_TERM', message: 'it has no term of the query' };
  // It was there when it was read.
  return missed({});
}

/** The place of a document in a hybrid search, if it is a candidate. */
async function fusedPlace(
  { store, collection, query, options }: Explained,
  documentId: string,
): Promise<{ score: number; rank: number } | undefined> {
  const { dense, sparse } = await legsOf(store, collection, query, options);
  const whole = { ...query, scoreThreshold: undefined, offset: 0, limit: 2 * rankingDepth(query) };
  const fused = page(fuse(dense, sparse, query.fusion), whole);
  const index = fused.findIndex((one) => one.documentId === documentId);
  return index < 0 ? undefined : { score: fused[index]!.score, rank: index + 1 };
}

function ranked(query: SearchQuery, { score, rank }: { score: number; rank?: number }): Fate {
  const { offset = 0, limit, scoreThreshold = -Infinity } = query;
  const own = { score, ...(rank !== undefined && { rank }) };
  if (score < scoreThreshold) {
    const message = `its score is ${round(score)}, below the threshold of ${scoreThreshold}${placed(rank)}`;
    return { fate: 'BELOW_THRESHOLD', message, ...own };
  }
  if (rank === undefined) {
    const message = `more than ${RANK_BOUND} documents are better; its score is ${round(score)}`;
    return { fate: 'RANKED_LOWER', message, ...own };
  }
  if (rank <= offset) {
    const message = `it is in place ${rank}, and the offset skips the best ${offset}`;
    return { fate: 'SKIPPED_BY_OFFSET', message, offset: rank - 1, ...own };
  }
  if (rank <= offset + limit) return missed(own);
  const message =
    `${rank - 1} documents are better; its score is ${round(score)}, and it comes at offset ${rank - 1}, ` +
    `or with a limit of ${rank - offset}`;
  return { fate: 'RANKED_LOWER', message, offset: rank - 1, ...own };
}

function missed(own: { score?: number; rank?: number }): Fate {
  const { rank } = own;
  return {
    fate: 'MISSED',
    message:
      `it belongs into the answer${rank === undefined ? '' : `, in place ${rank}`}: an approximate index missed it ` +
      '(a higher hnsw-ef finds more), or it changed while the search ran; search again',
    ...own,
  };
}

function notACandidate(query: SearchQuery, { dense, sparse }: Explanation): Fate {
  const depth = rankingDepth(query);
  const places = [
    `by meaning ${placeOf(dense)}`,
    sparse ? `by wording ${placeOf(sparse)}` : 'by wording nowhere, for it has no term of the query',
  ];
  return {
    fate: 'NOT_A_CANDIDATE',
    message: `a hybrid search fuses the best ${depth} of each ranking, and it is in neither: ${places.join(', ')}`,
  };
}

function placeOf(place: { rank?: number } | undefined): string {
  return place?.rank === undefined ? `past place ${RANK_BOUND}` : `in place ${place.rank}`;
}

function placed(rank: number | undefined): string {
  return rank === undefined ? '' : `; by its score it is in place ${rank}`;
}

function round(score: number): number {
  return Number(score.toPrecision(4));
}
