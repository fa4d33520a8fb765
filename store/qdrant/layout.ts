import { hash } from 'node:crypto';
import type { Ingested, Origin, SparseVector } from '../document.ts';
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
 * - An update takes effect at the head, too: one conditional change of its payload, with a *revision*, a number
 *   like a generation. Then the update copies the payload to the other passages; `copying` marks the head until
 *   that is done. Searches read the copies.
 * - What expires has `expires_at` on all its passages, and no read finds it from then on. A sweep turns its head into a
 *   tombstone.
 * - A few points are no documents: `passage` is {@link NO_PASSAGE}. See `upgrade.ts` and `freshness.ts`.
 */
export const LAYOUT = 3;

/** The layout of collections without a layout in their metadata, which 0.1.0 made. */
export const FIRST_LAYOUT = 1;

/** Name of the dense vectors. */
export const DENSE = 'dense';

/** Name of the sparse vectors. */
export const SPARSE = 'terms';

/** The passage of points that are no documents. */
export const NO_PASSAGE = -1;

/** Payload of a point. */
export interface PointPayload {
  /** Absent from points that no search may find: staged passages and tombstones. */
  tenant?: string;
  /** Tenant of a tombstone; absent from those of layout 1. */
  deleted_tenant?: string;
  /** Id of the document's head: one value for tenant and document id. */
  document: string;
  document_id: string;
  /** Index from 0. */
  passage: number;
  version: number;
  generation: number;
  /** Of the last update, on every passage; absent before the first one. */
  revision?: number;
  content_hash: string;
  /** On the head only; absent from documents of layout 1. */
  encoding_hash?: string;
  title: string;
  text?: string;
  /** Words to count; see `words.ts`. */
  words?: readonly string[];
  /** Where the passage lies in the whole text: start and end. */
  span?: [number, number];
  /** Where the head has the whole text: in `body`, or in `text`, where that is the same; absent for nowhere. */
  whole?: 'body' | 'text';
  /** The whole text; on the head only, and in no answer to a search. */
  body?: string;
  /** Bytes of title and text, as `quotaBytes` counts them; on heads alone, and absent from older ones. */
  text_bytes?: number;
  /** Milliseconds since the epoch; `null` for a document that an update keeps from expiring. */
  expires_at?: number | null;
  /** How the document came in; on the head only. `null` where an update did not say. */
  ingested?: StampedIngest | null;
  /** Passages of the document; on the head only. */
  passages?: number;
  settling?: true;
  copying?: true;
  /** Of the collection, in the one point that names it; see `upgrade.ts`. */
  identity?: string;
  metadata: Readonly<Record<string, unknown>>;
  /** The metadata as JSON, where the server changes one of their numbers; see `metadata.ts`. */
  exact_metadata?: string | null;
}

/** How a document came in, and the number of the change that says so: versions that do not know it leave it behind. */
export interface StampedIngest extends Ingested {
  stamp: number;
}

/** What a head says about its document. */
export interface Head {
  version: number;
  generation: number;
  /** `undefined` before the first update. */
  revision: number | undefined;
  contentHash: string;
  /** `undefined` for a document of layout 1. */
  encodingHash: string | undefined;
  passages: number;
  /** Whether the whole text is stored. */
  hasText: boolean;
  expiresAt: number | undefined;
  /** Whether it is a document that has not expired; otherwise it counts as deleted. */
  live: boolean;
  settling: boolean;
  copying: boolean;
}

/** The payload keys of a {@link Head}. */
export const HEAD_KEYS = [
  'tenant',
  'version',
  'generation',
  'revision',
  'content_hash',
  'encoding_hash',
  'passages',
  'whole',
  'expires_at',
  'settling',
  'copying',
];

/** The payload keys of {@link originOf}. */
export const ORIGIN_KEYS = ['ingested'];

/** The payload keys of metadata. */
export const METADATA_KEYS = ['metadata', 'exact_metadata'];

/** @param now milliseconds since the epoch */
export function headOf(payload: Partial<PointPayload>, now = Date.now()): Head {
  const expiresAt = payload.expires_at ?? undefined;
  return {
    version: payload.version ?? 0,
    generation: payload.generation ?? 0,
    revision: payload.revision,
    contentHash: payload.content_hash ?? '',
    encodingHash: payload.encoding_hash,
    passages: payload.passages ?? 0,
    hasText: payload.whole !== undefined,
    expiresAt,
    live: payload.tenant !== undefined && !(expiresAt !== undefined && expiresAt <= now),
    settling: payload.settling === true,
    copying: payload.copying === true,
  };
}

/** How a document came in, if its last change said so. */
export function ingestedOf(payload: Partial<PointPayload>): Ingested | undefined {
  if (payload.ingested?.stamp !== stampOf(headOf(payload))) return undefined;
  const { stamp: _, ...ingested } = payload.ingested;
  return ingested;
}

/** Where the document of a head comes from. */
export function originOf(payload: Partial<PointPayload>): Origin {
  const ingested = ingestedOf(payload);
  return { ...(ingested && { ingested }), position: `at-${stampOf(headOf(payload))}` };
}

/** The number of the last change of a document: its update, or its put. */
export function stampOf({ generation, revision = 0 }: Pick<Head, 'generation' | 'revision'>): number {
  return Math.max(generation, revision);
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
 * A generation for puts, or a revision for updates. It is greater than every earlier one of this process, and greater
 * than those that they replace, even if those come from a clock that is ahead. Two processes in the same
 * millisecond get different ones by chance.
 */
export function newGeneration(above: number): number {
  const now = Date.now() * GENERATIONS_PER_MS + Math.floor(Math.random() * GENERATIONS_PER_MS);
  // The next one is that of a burial.
  lastGeneration = Math.max(now, above + 2, lastGeneration + 1);
  return lastGeneration;
}

/**
 * The generation of the tombstone of a document that has expired: right after its last change, so that every put which
 * has read that document still replaces the tombstone, however late it comes.
 */
export function burialOf(head: Pick<Head, 'generation' | 'revision'>): number {
  return stampOf(head) + 1;
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
