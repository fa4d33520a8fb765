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
}
