import { quotaBytes, vectorBytes } from '../document-bytes.ts';
import type { DocumentKey } from '../document.ts';
import type { CallOptions, Usage } from '../store.ts';
import { documentsOf } from './documents.ts';
import { anyOf, equals, ofTenant, type QdrantCondition, type QdrantFilter } from './filters.ts';
import { headId, headOf, METADATA_KEYS } from './layout.ts';
import { metadataOf } from './metadata.ts';
import type { Point, Points } from './points.ts';
import { HEAD, inPieces } from './reads.ts';

/** Heads in one answer: each may have 64 KiB of metadata. */
const PAGE_HEADS = 256;

const MEASURED_KEYS = ['tenant', 'version', 'passages', 'text_bytes', 'expires_at', ...METADATA_KEYS];

/** What a tenant has, as quotas count it. It reads the metadata of every document, and no text that was measured before. */
export async function usage(
  points: Points,
  tenant: string,
  dimensions: number,
  options: CallOptions,
): Promise<Usage> {
  const total = { documents: 0, passages: 0, bytes: 0 };
  let offset: string | undefined;
  do {
    const filter = ofTenant(tenant, undefined, HEAD);
    const page = await points.scroll({ filter, limit: PAGE_HEADS, keys: MEASURED_KEYS, offset }, options);
    const sizes = await sizesOf(points, page.points, dimensions, options);
    for (const { id, payload } of page.points) {
      const size = sizes.get(id);
      if (size === undefined) continue;
      total.documents++;
      total.passages += headOf(payload).passages;
      total.bytes += size;
    }
    offset = page.next;
  } while (offset !== undefined);
  return total;
}

/** The same of single documents. */
export async function measure(
  points: Points,
  keys: readonly DocumentKey[],
  dimensions: number,
  options: CallOptions,
): Promise<(number | undefined)[]> {
  const ids = keys.map(({ tenant, documentId }) => headId(tenant, documentId));
  const found = await points.retrieve([...new Set(ids)], MEASURED_KEYS, options);
  const heads = [...found.values()].filter(({ payload }) => headOf(payload).live);
  const sizes = await sizesOf(points, heads, dimensions, options);
  return ids.map((id) => sizes.get(id));
}

/** Bytes of documents by the ids of their heads. Those that were written before they were measured are read whole. */
async function sizesOf(
  points: Points,
  heads: readonly Point[],
  dimensions: number,
  options: CallOptions,
): Promise<Map<string, number>> {
  const sizes = new Map<string, number>();
  const unmeasured: string[] = [];
  for (const { id, payload } of heads) {
    const { text_bytes: texts } = payload;
    if (texts === undefined) unmeasured.push(id);
    else {
      const described = Buffer.byteLength(JSON.stringify(metadataOf(payload)));
      sizes.set(id, texts + described + vectorBytes(headOf(payload).passages, dimensions));
    }
  }
  for await (const { id, document } of documentsOf(points, unmeasured, false, options)) {
    sizes.set(id, quotaBytes(document, dimensions));
  }
  return sizes;
}

/** Holds for tombstones of layout 1, which name their tenant only by their id. */
const NAMELESS: QdrantCondition[] = [
  HEAD,
  { is_empty: { key: 'tenant' } },
  { is_empty: { key: 'deleted_tenant' } },
];

/**
 * Removes everything of a tenant, some documents at a time: first documents with all their points, then what is remembered
 * of deletes, then passages whose document has gone. What a writer that died had staged names nobody; sweeps delete it.
 */
export async function dropTenant(points: Points, tenant: string, options: CallOptions): Promise<number> {
  const documents = await dropBy(points, { must: [HEAD, equals('tenant', tenant)] }, options);
  await dropBy(points, { must: [equals('deleted_tenant', tenant)] }, options);
  for (const ids of await nameless(points, tenant, options)) await drop(points, ids, options);
  await points.update([{ delete: { filter: { must: [equals('tenant', tenant)] } } }], options);
  return documents;
}

/** Points that name a tenant still. */
export async function remains(points: Points, tenant: string, options: CallOptions): Promise<number> {
  const [live, deleted, old] = await Promise.all([
    points.count({ must: [equals('tenant', tenant)] }, options),
    points.count({ must: [equals('deleted_tenant', tenant)] }, options),
    nameless(points, tenant, options),
  ]);
  return live + deleted + old.flat().length;
}

async function dropBy(points: Points, filter: QdrantFilter, options: CallOptions): Promise<number> {
  let dropped = 0;
  for (;;) {
    // Always the first page: what it had was just deleted.
    const page = await points.scroll({ filter, limit: 1000, keys: ['passages'] }, options);
    for (const ids of inPieces(page.points)) await drop(points, ids, options);
    dropped += page.points.length;
    if (page.next === undefined) return dropped;
  }
}

async function drop(points: Points, heads: string[], options: CallOptions): Promise<void> {
  await points.update([{ delete: { filter: { must: [anyOf('document', heads)] } } }], options);
}

/** Ids of a tenant's tombstones of layout 1, a page each. */
async function nameless(points: Points, tenant: string, options: CallOptions): Promise<string[][]> {
  const pages: string[][] = [];
  let offset: string | undefined;
  do {
    const request = { filter: { must: NAMELESS }, limit: 1000, keys: ['document_id'], offset };
    const page = await points.scroll(request, options);
    const own = page.points.filter(({ id, payload }) => headId(tenant, payload.document_id ?? '') === id);
    if (own.length > 0) pages.push(own.map(({ id }) => id));
    offset = page.next;
  } while (offset !== undefined);
  return pages;
}
