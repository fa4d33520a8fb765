import { hash } from 'node:crypto';
import type { SparseVector } from '../store.ts';
import { encodeTriple, pointId, uuid } from '../point-id.ts';

/**
 * How documents lie in a Qdrant collection.
 *
 * - A passage is a point. That of passage 0 is the document's *head*, under {@link pointId}: it is where versions are
 *   compared and where a put takes effect, in one conditional upsert, which Qdrant applies as a whole.
 * - Every put has a *generation*, a number that grows with time. The points of its other passages have ids of their
 *   own, {@link bodyId}, so that the old ones stay until the head has changed.
 * - Only points that have a `tenant` are searched. The other passages of a put are *staged* without one; it is set
 *   when the head has changed, and what is left of the old document is deleted.
 * - A deleted document leaves a head without vector and tenant, its *tombstone*, with the version of the delete.
 * - `settling` marks a head whose other passages are not in order yet: whoever finds it later finishes the work.
 */
export const DENSE = 'dense';

/** Name of the sparse vectors. */
export const SPARSE = 'terms';

/** Payload of a point. */
export interface PointPayload {
  /** Absent where the point is not to be found: staged, or a tombstone. */
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
  /** Of the whole document; on the head. */
  passages?: number;
  settling?: true;
  metadata: Readonly<Record<string, unknown>>;
}

/** What a head says of its document. */
export interface Head {
  version: number;
  generation: number;
  contentHash: string;
  passages: number;
  /** Not a tombstone. */
  live: boolean;
  settling: boolean;
}

/** Payload keys that make a {@link Head}. */
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

/** The id of a passage of one put: a UUIDv8 (RFC 9562, section 5.8) over generation, tenant, document id and index. */
export function bodyId(tenant: string, documentId: string, passage: number, generation: number): string {
  const header = Buffer.alloc(8);
  header.writeBigUInt64BE(BigInt(generation));
  return uuid(hash('sha256', Buffer.concat([header, encodeTriple(tenant, documentId, passage)])), 8);
}

/** Milliseconds are told apart by so many generations: with more, numbers would reach 2^53 this century. */
const GENERATIONS_PER_MS = 2048;

let lastGeneration = 0;

/**
 * A generation for puts: later ones are greater, no two of this process are equal, two of one millisecond in other
 * processes differ by chance, and it is above what the puts replace, even where that comes from a clock that is ahead.
 */
export function newGeneration(above: number): number {
  const now = Date.now() * GENERATIONS_PER_MS + Math.floor(Math.random() * GENERATIONS_PER_MS);
  lastGeneration = Math.max(now, above + 1, lastGeneration + 1);
  return lastGeneration;
}

/** The least generation of a moment, in milliseconds since the epoch. */
export function generationAt(ms: number): number {
  return Math.floor(ms) * GENERATIONS_PER_MS;
}

/**
 * Stands in for the terms of a passage that has none: Qdrant counts, for the inverse document frequency, only points
 * that have a sparse vector that is not empty. Its weight is the least that float32 holds in full, so that a score
 * that rests on it is below {@link LEAST_SCORE}.
 */
export const NO_TERMS: SparseVector = { indices: [0xffff_fffe], values: [1.1754944e-38] };

/** Sparse scores below this come from {@link NO_TERMS}. */
export const LEAST_SCORE = 1e-30;
