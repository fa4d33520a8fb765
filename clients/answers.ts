import type { JsonObject } from '../proto/struct.ts';

/** What the services answer. Types alone, so that a page in a browser can use them too. */

/** What a server says of itself as a whole. */
export type Health = 'SERVING' | 'NOT_SERVING';

/** The vector space that one document tower defines. */
export interface Space {
  /** `sp1_` and 32 hex digits. */
  fingerprint: string;
  dimensions: number;
}

/** A model that maps text to vectors of one space. */
export interface Tower {
  name: string;
  /** What it was made to read. A query service may run a document tower: a student's teacher. */
  role: 'document' | 'query';
  space: Space;
  /** Where it runs: `cpu`, `cuda:0`, ... */
  device: string;
  /** Longest input in tokens. */
  maxTokens: number;
  /** Student's nDCG@10 divided by its teacher's, where it is a student and that was measured. */
  retention?: number;
}

/** What a service is and what it has loaded. */
export interface ServiceInfo {
  version: string;
  pid: number;
  uptimeSeconds: number;
  tower: Tower;
  /** `embedded` or `qdrant`. */
  store: string;
  /** Why it is not serving, in words; absent while it is. */
  notServingReason?: string;
  /** Why a document service that serves takes no documents, in words; absent while it does. */
  writesRefusedReason?: string;
}

/** A logical collection. */
export interface Collection {
  name: string;
  physicalName: string;
  space: Space;
  documents: number;
  passages: number;
  /** Random, made with the physical collection; one that was dropped and made again, or restored, has another. */
  identity: string;
  /** Others write it: it was adopted, and is only read here. */
  readOnly?: true;
  /** Fingerprints of other spaces that were measured to be this one: their query towers may search it. */
  admittedSpaces?: string[];
  /** How its texts become terms; absent where it was made before there was a choice. */
  analysis?: CollectionAnalysis;
}

/** How texts become the terms that sparse and hybrid searches match. */
export interface TextAnalysis {
  /** `auto` for that of each document, `none` for words as they are written, or an ISO 639 code. @default 'auto' */
  language?: string;
  /** Whether letters with and without diacritics differ. @default false */
  keepDiacritics?: boolean;
}

/** The same, as a collection has it. */
export interface CollectionAnalysis extends Required<TextAnalysis> {
  /** What has the same one makes the same terms of the same text. */
  fingerprint: string;
  /** A re-analysis has begun and has not ended: run it again. */
  unfinished?: true;
}

/** One document that was found. */
export interface Hit {
  id: string;
  score: number;
  title: string;
  /** Index of its best passage. */
  passage: number;
  /** Text of its best passage. */
  text: string;
  metadata: JsonObject;
  version: number;
  /** Why it ranks where it does, with `explain`. */
  explanation?: Explanation;
  /** Its best sentence, with `snippetLength`, where its text is stored. */
  snippet?: Snippet;
  /** Its whole text, with `withDocumentText`. */
  documentText?: string;
  /** Why there is none: it is not stored, or the texts of the answer would be more than 2 MiB together. */
  documentTextAbsence?: 'not stored' | 'too large';
  /** Its places in both legs of a hybrid search. */
  legs?: Legs;
  /** Share of random queries whose best document scores lower, with `withPercentile`, where it is known. */
  percentile?: number;
  /** What the reranker says of it, on its own scale, where it has read it. */
  rerankScore?: number;
}

/** Its places in the legs of a hybrid search; a leg that does not have it is absent. */
export interface Legs {
  /** By meaning. */
  dense?: LegPlace;
  /** By wording. */
  sparse?: LegPlace;
}

/** A document's place in one leg of a hybrid search. */
export interface LegPlace {
  /** From 1. */
  rank: number;
  /** Cosine, or BM25 score. */
  score: number;
}

/** How the legs of a hybrid search become one ranking. */
export interface Fusion {
  /**
   * What a place in a leg is worth: by its rank, (k + 1) / (k + rank); by its score, as a share of the leg's highest; or by its
   * score, between three standard deviations below and above the mean of the leg.
   */
  method: 'ranks' | 'scores' | 'distribution';
  /** Of the method `ranks` alone, 1 to 1000. */
  k?: number;
  /** Weight of the dense leg, 0 to 1; the sparse leg has the rest. */
  denseWeight: number;
}

/** The stretch of a passage around its best sentence. */
export interface Snippet {
  text: string;
  /**
   * The words of the query in `text`, as `text.slice(start, end)`, in order and without overlap; or, by a lookup tower, words
   * near it in meaning where the passage says none of the query's.
   */
  highlights: { start: number; end: number }[];
  /** Where it begins in the text of the passage. */
  start: number;
}

/** Why a document ranks where it does. Ranks compare every vector, whatever index answered. */
export interface Explanation {
  /** Its place in the ranking of the search, from 1; absent if that is not known. */
  rank?: number;
  /** How many passages it has. */
  passages: number;
  /** By meaning. */
  dense?: RankingPlace;
  /** By wording, where it has a term of the query. */
  sparse?: RankingPlace;
  /** The terms of the query that it has, with what each alone scores. */
  terms: { term: string; score: number }[];
  /** By the tower that the query tower was distilled from, where the service has it loaded. */
  teacher?: RankingPlace & { name: string };
  /** Where the document comes from; absent where it is gone, or the service is older than this. */
  origin?: DocumentOrigin;
}

/** When and how a document came in: its last put or update. */
export interface DocumentOrigin {
  /** By the clock of the document service; absent where that is not known. */
  ingestedAt?: Date;
  /** Trace of the call of ingest that sent it. */
  traceId?: string;
  /** Its sequence in that call. */
  sequence?: number;
  /** The position from which on the collection has it, as in a freshness token. */
  position?: string;
  /** Whether the freshness token of the search covers it: it was there then, or came later. */
  coverage?: 'covered' | 'later';
  /** Why no time is known. */
  unknown?: string;
}

/** A document's place in one ranking. */
export interface RankingPlace {
  score: number;
  /** From 1; absent past `rankBound`. */
  rank?: number;
  /** How many places were looked at. */
  rankBound: number;
  /** Index of the passage that gave the score. */
  passage: number;
  /** What this ranking adds to the fused score of a hybrid search. */
  fusedShare: number;
}

/** What became of a document in a search. */
export interface DocumentExplanation {
  documentId: string;
  fate:
    | 'IN_ANSWER'
    | 'NOT_STORED'
    | 'DELETED'
    | 'FILTERED_OUT'
    | 'BELOW_THRESHOLD'
    | 'RANKED_LOWER'
    | 'SKIPPED_BY_OFFSET'
    | 'NO_SHARED_TERM'
    | 'NOT_A_CANDIDATE'
    | 'MISSED'
    | 'UNKNOWN';
  /** The same in words. */
  message: string;
  /** The condition that removed it: `filter.must[0]`. */
  filterPath?: string;
  explanation?: Explanation;
  /** In the mode of the search. */
  score?: number;
  /** Of a page that begins with it. */
  offset?: number;
  /** That is stored, or of the delete. */
  version: number;
}

/** Where the time of a search went on the server, in milliseconds. */
export interface SearchTimings {
  tokenizeMs: number;
  queueMs: number;
  encodeMs: number;
  searchMs: number;
  totalMs: number;
  /** Whether the query's vector came from the cache. */
  cached: boolean;
}

/** Ranked documents. */
export interface SearchResult {
  hits: Hit[];
  timings: SearchTimings;
  queryTower: Tower;
  /** Logical name of the collection that was searched. */
  collection: string;
  /** The query with other words for those that the collection does not have; these were searched for, too. */
  didYouMean?: string;
  /** What an unfinished last word may become, the best first. */
  completions?: string[];
  /** What became of the document that `explainDocumentId` names. */
  explainedDocument?: DocumentExplanation;
  /** Set where the query is longer than the tower's window. */
  queryTruncation?: QueryTruncation;
  /** How a hybrid search fused its legs. */
  fusion?: Fusion;
  /** A threshold left nothing, although something was found: there is no good answer. */
  noGoodAnswer?: {
    /** The best that is below the threshold. */
    bestScore: number;
    bestPercentile?: number;
  };
  /** How many random queries the percentiles are made of, where they were asked for. */
  percentileQueries?: number;
  /** What was counted or sorted, with `withCount`, `facets` or `sort`. */
  resultSet?: ResultSet;
  /** Why a hybrid search answered by wording alone: no time was left to encode the query, or the query tower is away. */
  denseLegAbsence?: 'deadline' | 'tower_away';
  /** What the reranker did, with `rerank`. */
  reranking?: {
    reranker: string;
    /** How many documents it has read. */
    documents: number;
    /** Why it has not: the deadline left no time, or it is away. The order is that of the search then. */
    skipped?: 'deadline' | 'away';
  };
}

/** The documents that a search counts, sorts and makes facets of. */
export interface ResultSet {
  /** All that match (sparse), or the best (dense, hybrid), each above the threshold and within the filter. */
  kind: 'matches' | 'best';
  /** How many there are, with `withCount`. */
  count?: number;
  /** There are no more than these: the set was not cut at `candidates`. */
  exact: boolean;
  candidates: number;
  /** In the order of the request. */
  facets: Facet[];
}

/** The values of a field in the result set. */
export interface Facet {
  field: string;
  /** The most frequent first. */
  values: { value: string | number | boolean; documents: number }[];
  /** Documents without the field. */
  missing: number;
  /** How many values there are, listed or not. */
  distinct: number;
  /** There are more. */
  distinctAtLeast: boolean;
}

/** How much of a query was read, in tokens. */
export interface QueryTruncation {
  tokensRead: number;
  /** That the tower reads at most. */
  maxTokens: number;
  /** Of the whole query; 0 where the service is older than this. */
  queryTokens: number;
  /** The query has more than `queryTokens`: counting ended there. */
  queryTokensAtLeast: boolean;
}
