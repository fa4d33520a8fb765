import { documentBytes } from '../document-bytes.ts';
import { StoreError } from '../errors.ts';
import type { Filter } from '../queries.ts';
import type { CallOptions, Counts, PageRequest, ScrollPage, TenantCounts } from '../store.ts';
import type {
  DocumentKey,
  FullDocument,
  GoneDocument,
  Origin,
  RememberedDelete,
  StoredDocument,
} from '../document.ts';
import { documentsOf, isTextOmitted } from './documents.ts';
import { anyOf, equals, expired, ofTenant, type QdrantCondition, type QdrantFilter } from './filters.ts';
import { HEAD_KEYS, headId, headOf, ORIGIN_KEYS, originOf } from './layout.ts';
import type { Point, Points } from './points.ts';
import { idsOf } from './settle.ts';

/** Most points in one page of a scroll, and most values in one answer. */
const PAGE_POINTS = 1000;
const PAGE_VALUES = 10_000;

/** Most passages that one request of a delete by filter deletes, but for a single document: some milliseconds of work. */
const DELETE_PASSAGES = 2000;

export const HEAD = equals('passage', 0);

/** Holds for points with a version, which a delete leaves behind. */
const VERSIONED: QdrantCondition = { key: 'version', range: { gt: 0 } };

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export async function lookup(
  points: Points,
  keys: readonly DocumentKey[],
  options: CallOptions,
): Promise<(StoredDocument | undefined)[]> {
  const ids = keys.map(({ tenant, documentId }) => headId(tenant, documentId));
  const found = await points.retrieve([...new Set(ids)], HEAD_KEYS, options);
  const old = [...found.values()].filter(({ payload }) => headOf(payload).encodingHash === undefined);
  const texts = await points.retrieve(idsOf(old), ['text'], options);
  return ids.map((id) => {
    const point = found.get(id);
    if (!point) return undefined;
    const { live, version, contentHash, encodingHash, passages } = headOf(point.payload);
    if (!live) return undefined;
    const textOmitted = isTextOmitted({ ...texts.get(id)?.payload, ...point.payload });
    const hashes = { contentHash, ...(encodingHash !== undefined && { encodingHash }) };
    return { version, ...hashes, textOmitted, passages };
  });
}

/** Where documents come from. */
export async function findOrigins(
  points: Points,
  keys: readonly DocumentKey[],
  options: CallOptions,
): Promise<(Origin | undefined)[]> {
  const ids = keys.map(({ tenant, documentId }) => headId(tenant, documentId));
  const heads = await points.retrieve([...new Set(ids)], [...HEAD_KEYS, ...ORIGIN_KEYS], options);
  return ids.map((id) => {
    const payload = heads.get(id)?.payload;
    return payload && headOf(payload).live ? originOf(payload) : undefined;
  });
}

/** What is remembered of a document that is gone. */
export async function findDelete(
  points: Points,
  { tenant, documentId }: DocumentKey,
  options: CallOptions,
): Promise<GoneDocument | undefined> {
  const id = headId(tenant, documentId);
  const head = (await points.retrieve([id], HEAD_KEYS, options)).get(id);
  if (!head) return undefined;
  const { live, version } = headOf(head.payload);
  return live ? undefined : { version, expired: head.payload.tenant !== undefined };
}

/** Documents with all that is stored of them. */
export async function read(
  points: Points,
  keys: readonly DocumentKey[],
  withVectors: boolean,
  options: CallOptions,
): Promise<(FullDocument | undefined)[]> {
  const ids = keys.map(({ tenant, documentId }) => headId(tenant, documentId));
  const found = new Map<string, FullDocument>();
  for await (const { id, document } of documentsOf(points, [...new Set(ids)], withVectors, options)) {
    found.set(id, document);
  }
  return ids.map((id) => found.get(id));
}

export function count(
  points: Points,
  tenant: string,
  filter: Filter | undefined,
  options: CallOptions,
): Promise<Counts> {
  return counts(points, ofTenant(tenant, filter, HEAD), ofTenant(tenant, filter), options);
}

/** Counts the documents and passages of all tenants. @param exact estimates are much faster */
export function countAll(points: Points, exact: boolean, options: CallOptions): Promise<Counts> {
  const live = { must_not: [{ is_empty: { key: 'tenant' } }, expired(Date.now())] };
  return counts(points, { ...live, must: [HEAD] }, live, options, exact);
}

async function counts(
  points: Points,
  heads: QdrantFilter,
  all: QdrantFilter,
  options: CallOptions,
  exact = true,
): Promise<Counts> {
  const [documents, passages] = await Promise.all([
    points.count(heads, options, { exact }),
    points.count(all, options, { exact }),
  ]);
  return { documents, passages };
}

export async function scroll(
  points: Points,
  tenant: string,
  { limit, after, filter, withVectors = false, bytes = Infinity }: PageRequest,
  options: CallOptions,
): Promise<ScrollPage> {
  // Documents come in the order of their heads, so a page can begin after one that is gone.
  const before = typeof after === 'object' ? headId(tenant, after.documentId) : undefined;
  const ids: string[] = [];
  let offset = typeof after === 'object' ? before : after;
  checkAfter(offset);
  do {
    const request = {
      filter: ofTenant(tenant, filter, HEAD),
      limit: Math.min(PAGE_POINTS, limit - ids.length),
      offset,
    };
    const page = await points.scroll({ ...request, keys: [] }, options);
    ids.push(...idsOf(page.points).filter((id) => id !== before));
    offset = page.next;
  } while (offset !== undefined && ids.length < limit);
  const documents: FullDocument[] = [];
  let taken = 0;
  for await (const { id, document } of documentsOf(points, ids, withVectors, options)) {
    if (taken > bytes) return { documents, next: id };
    documents.push(document);
    taken += documentBytes(document);
  }
  return { documents, ...(offset !== undefined && { next: offset }) };
}

/** Every tenant that has documents or remembered deletes. */
export async function tenants(points: Points, options: CallOptions): Promise<string[]> {
  const gone: QdrantCondition = { must: [expired(Date.now())], must_not: [VERSIONED] };
  const [kept, deleted] = await Promise.all([
    valuesOf(points, 'tenant', { must: [HEAD], must_not: [gone] }, options),
    valuesOf(points, 'deleted_tenant', { must: [HEAD, VERSIONED] }, options),
  ]);
  return [...new Set([...kept.keys(), ...deleted.keys()])].sort();
}

/** The counts of every tenant that has documents. */
export async function tenantCounts(points: Points, options: CallOptions): Promise<TenantCounts[]> {
  const live = { must_not: [expired(Date.now())] };
  const [documents, passages] = await Promise.all([
    valuesOf(points, 'tenant', { must: [HEAD], ...live }, options),
    valuesOf(points, 'tenant', live, options),
  ]);
  return [...documents]
    .map(([tenant, count]) => ({ tenant, documents: count, passages: passages.get(tenant) ?? 0 }))
    .sort((a, b) => (a.tenant < b.tenant ? -1 : 1));
}

/** The values that a field has in the points of a filter, and in how many. */
async function valuesOf(
  points: Points,
  key: string,
  { must = [], must_not = [] }: { must?: QdrantCondition[]; must_not?: QdrantCondition[] },
  options: CallOptions,
): Promise<Map<string, number>> {
  const values = new Map<string, number>();
  for (;;) {
    const others = values.size === 0 ? [] : [anyOf(key, [...values.keys()])];
    const filter = { must, must_not: [...must_not, ...others] };
    const more = await points.values(key, filter, PAGE_VALUES, options);
    for (const { value, count: found } of more) values.set(value, found);
    if (more.length < PAGE_VALUES) return values;
  }
}

/** Deletes that are remembered, those by expiry included. */
export async function scrollDeletes(
  points: Points,
  tenant: string,
  { limit, after }: { limit: number; after?: string },
  options: CallOptions,
): Promise<{ deletes: RememberedDelete[]; next?: string }> {
  checkAfter(after);
  const isEmpty = (key: string): QdrantCondition => ({ is_empty: { key } });
  const filter: QdrantFilter = {
    must: [HEAD, VERSIONED],
    should: [
      equals('deleted_tenant', tenant),
      { must: [equals('tenant', tenant), expired(Date.now())] },
      // A tombstone of layout 1 names its tenant only by its id.
      { must: [isEmpty('tenant'), isEmpty('deleted_tenant')] },
    ],
  };
  const deletes: RememberedDelete[] = [];
  let offset = after;
  do {
    const request = { filter, limit: Math.min(PAGE_POINTS, limit - deletes.length), offset };
    const page = await points.scroll({ ...request, keys: ['document_id', 'version'] }, options);
    for (const { id, payload } of page.points) {
      const { document_id: documentId = '', version = 0 } = payload;
      if (headId(tenant, documentId) === id) deletes.push({ tenant, documentId, version });
    }
    offset = page.next;
  } while (offset !== undefined && deletes.length < limit);
  return { deletes, ...(offset !== undefined && { next: offset }) };
}

/** Deletes some documents at a time, so that other requests get their turn. */
export async function deleteByFilter(
  points: Points,
  tenant: string,
  filter: Filter,
  options: CallOptions,
): Promise<number> {
  let deleted = 0;
  for (;;) {
    // Always read the first page: its documents were just deleted.
    const matching: QdrantFilter = ofTenant(tenant, filter, HEAD);
    const request = { filter: matching, limit: PAGE_POINTS, keys: ['passages'] };
    const page = await points.scroll(request, options);
    for (const ids of inPieces(page.points)) {
      await points.update([{ delete: { filter: { must: [anyOf('document', ids)] } } }], options);
    }
    deleted += page.points.length;
    if (page.next === undefined) return deleted;
  }
}

/** Ids of heads in pieces of at most {@link DELETE_PASSAGES} passages. */
export function* inPieces(heads: readonly Point[]): Generator<string[], void, undefined> {
  let ids: string[] = [];
  let passages = 0;
  for (const { id, payload } of heads) {
    const own = payload.passages ?? 1;
    if (ids.length > 0 && passages + own > DELETE_PASSAGES) {
      yield ids;
      ids = [];
      passages = 0;
    }
    ids.push(id);
    passages += own;
  }
  if (ids.length > 0) yield ids;
}

/** @throws {StoreError} `STORE_INVALID_ARGUMENT` for what is not the `next` of a page */
function checkAfter(after: string | undefined): void {
  if (after === undefined || UUID.test(after)) return;
  throw new StoreError(
    'STORE_INVALID_ARGUMENT',
    `there is no page after ${JSON.stringify(after)}; use the "next" of a page`,
  );
}
