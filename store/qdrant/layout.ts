import { hash } from 'node:crypto';
import type { SparseVector } from '../store.ts';
import { encodeTriple, pointId, uuid } from '../point-id.ts';

/**
 * How documents lie in a Qdrant collection.
 *
 * - A passage is a point. The point of passage 0, under {@link pointId}, is the document's *head*. Versions
 *   are compared there, and a put takes effect there: in one conditional upsert, which Qdrant applies as a
 *   whole.
 * - Every put has a *generation*, a number that grows with time. Its other passages have ids of that
 *   generation, {@link bodyId}, so that the old passages stay until the head has changed.
 * - Searches find only points that have a `tenant`. A put first *stages* its other passages without one. When
 *   the head has changed, the put sets their tenant and deletes the rest of the old document.
 * - A deleted document leaves a *tombstone*: a head without vector and tenant, with the version of the
 *   delete.
 * - `settling` marks a head whose other passages are not in order yet: the next process that finds it
 *   finishes the work.
 */
export const DENSE = 'dense';

/** Name of the sparse vectors. */
export const SPARSE = 'terms';

/** Payload of a point. */
export interface PointPayload {
  /** Absent from points that no search may find: staged passages and tombstones. */
  tenant?: string;
  /** Id of the document's head: one value for tenant and document id. */
  document: string;
  document_id: string;
  /** Index from 0. */
  passage: number;
  version: number;
  generation: number;
  content_hash: string;
  title: string;
  text?: string;
  /** Passages of the document; on the head only. */
  passages?: number;
  settling?: true;
  metadata: Readonly<Record<string, unknown>>;
}

/** What a head says about its document. */
export interface Head {
  version: number;
  generation: number;
  contentHash: string;
  passages: number;
  /** Whether it is a document, not a tombstone. */
  live: boolean;
  settling: boolean;
}

/** The payload keys of a {@link Head}. */
export const HEAD_KEYS = ['tenant', 'version', 'generation', 'content_hash', 'passages', 'settling'];

export function headOf(payload: Partial<PointPayload>): Head {
  return {
    version: payload.version ?? 0,
    generation: payload.generation ?? 0,
    contentHash: payload.content_hash ?? '',
    passages: payload.passages ?? 0,
    live: payload.tenant !== undefined,
    settling: payload.settling === true,
  };
}

export function headId(tenant: string, documentId: string): string {
  return pointId(tenant, documentId, 0);
}

/**
 * The id of a passage of one put: a UUIDv8 (RFC 9562, section 5.8) of generation, tenant, document id and
 * index.
 */
export function bodyId(tenant: string, documentId: string, passage: number, generation: number): string {
  const header = Buffer.alloc(8);
  header.writeBigUInt64BE(BigInt(generation));
  return uuid(hash('sha256', Buffer.concat([header, encodeTriple(tenant, documentId, passage)])), 8);
}

/** Generations in a millisecond: with more, generations would reach 2^53 this century. */
const GENERATIONS_PER_MS = 2048;

let lastGeneration = 0;

/**
 * A generation for puts. It is greater than every earlier one of this process, and greater than the
 * generations that the puts replace, even if those come from a clock that is ahead. Two processes in the same
 * millisecond get different ones by chance.
 */
export function newGeneration(above: number): number {
  const now = Date.now() * GENERATIONS_PER_MS + Math.floor(Math.random() * GENERATIONS_PER_MS);
  lastGeneration = Math.max(now, above + 1, lastGeneration + 1);
  return lastGeneration;
}

/** The lowest generation of a moment, given in milliseconds since the epoch. */
export function generationAt(ms: number): number {
  return Math.floor(ms) * GENERATIONS_PER_MS;
}

/**
 * The sparse vector of a passage without terms: for the inverse document frequency, Qdrant counts only points
 * whose sparse vector is not empty. Its weight is the least that float32 holds in full precision, so that a
 * score from this term alone is below {@link LEAST_SCORE}.
 */
export const NO_TERMS: SparseVector = { indices: [0xffff_fffe], values: [1.1754944e-38] };

/** Sparse scores below this come from {@link NO_TERMS} alone. */
export const LEAST_SCORE = 1e-30;
