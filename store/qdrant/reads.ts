import { StoreError } from '../errors.ts';
import type { CallOptions, Counts, DocumentKey, Filter, ScrollPage, StoredDocument } from '../store.ts';
import { anyOf, equals, ofTenant, type QdrantFilter } from './filters.ts';
import { HEAD_KEYS, headId, headOf, type PointPayload } from './layout.ts';
import type { Point, Points } from './points.ts';
import { sleep } from './transport/bounds.ts';

/** Most points in one page of a scroll. */
const PAGE_POINTS = 1000;

/** Most attempts to read a document whole while other writers replace it. */
const MAX_READS = 5;

/** Wait before the next attempt, in milliseconds; longer each time. A put takes about this long to settle. */
const PAUSE_MS = 5;

const HEAD = equals('passage', 0);

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export async function lookup(
  points: Points,
  keys: readonly DocumentKey[],
  options: CallOptions,
): Promise<(StoredDocument | undefined)[]> {
  const ids = keys.map(({ tenant, documentId }) => headId(tenant, documentId));
  const found = await points.retrieve([...new Set(ids)], HEAD_KEYS, options);
  return ids.map((id) => {
    const point = found.get(id);
    if (!point) return undefined;
    const { live, version, contentHash, passages } = headOf(point.payload);
    return live ? { version, contentHash, textOmitted: false, passages } : undefined;
  });
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
  const live = { must_not: [{ is_empty: { key: 'tenant' } }] };
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
    points.count(heads, options, exact),
    points.count(all, options, exact),
  ]);
  return { documents, passages };
}

export async function scroll(
  points: Points,
  tenant: string,
  { limit, after, filter }: { limit: number; after?: string; filter?: Filter },
  options: CallOptions,
): Promise<ScrollPage> {
  if (after !== undefined && !UUID.test(after)) {
    throw new StoreError(
      'STORE_INVALID_ARGUMENT',
      `there is no page after ${JSON.stringify(after)}; use the "next" of a page`,
    );
  }
  const heads: Point[] = [];
  let offset = after;
  do {
    const request = {
      filter: ofTenant(tenant, filter, HEAD),
      limit: Math.min(PAGE_POINTS, limit - heads.length),
      offset,
    };
    const page = await points.scroll({ ...request, keys: DOCUMENT_KEYS }, options);
    heads.push(...page.points);
    offset = page.next;
  } while (offset !== undefined && heads.length < limit);
  const documents = await whole(points, tenant, heads, options);
  return { documents, ...(offset !== undefined && { next: offset }) };
}

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
    const page = await points.scroll({ filter: matching, limit: PAGE_POINTS, keys: [] }, options);
    const ids = page.points.map(({ id }) => id);
    if (ids.length > 0) {
      await points.update([{ delete: { filter: { must: [anyOf('document', ids)] } } }], options);
    }
    deleted += ids.length;
    if (page.next === undefined) return deleted;
  }
}

const DOCUMENT_KEYS = [...HEAD_KEYS, 'document', 'document_id', 'title', 'text', 'metadata'];

/** Documents with all their texts, each from one put. */
async function whole(
  points: Points,
  tenant: string,
  heads: readonly Point[],
  options: CallOptions,
): Promise<ScrollPage['documents']> {
  const documents = new Map<string, ScrollPage['documents'][number]>();
  let pending = heads;
  for (let read = 1; pending.length > 0; read++) {
    if (read > MAX_READS) {
      throw new StoreError(
        'STORE_OVERLOADED',
        `document "${pending[0]!.payload.document_id}" keeps changing while it is read; read it again later`,
      );
    }
    if (read > 1) {
      await sleep(read * PAUSE_MS, options.signal);
      const ids = pending.map(({ id }) => id);
      pending = [...(await points.retrieve(ids, DOCUMENT_KEYS, options)).values()];
    }
    const texts = await textsOf(points, pending, options);
    pending = pending.filter(({ id, payload }) => {
      const { passages, live } = headOf(payload);
      const own = [payload.text ?? '', ...(texts.get(id) ?? [])];
      // It has been deleted since, or is not whole because another put came in between.
      if (!live) return false;
      if (own.length !== passages) return true;
      documents.set(id, document(tenant, payload, own));
      return false;
    });
  }
  return heads.flatMap(({ id }) => documents.get(id) ?? []);
}

/** For each head, the texts of its put's passages after the first, in order. */
async function textsOf(
  points: Points,
  heads: readonly Point[],
  options: CallOptions,
): Promise<Map<string, string[]>> {
  const texts = new Map<string, string[]>();
  const large = new Map(
    heads
      .filter(({ payload }) => headOf(payload).passages > 1)
      .map(({ id, payload }) => [id, headOf(payload).generation]),
  );
  if (large.size === 0) return texts;
  const filter = { must: [anyOf('document', [...large.keys()]), { key: 'passage', range: { gte: 1 } }] };
  let offset: string | undefined;
  do {
    const keys = ['document', 'generation', 'passage', 'text'];
    const page = await points.scroll({ filter, limit: PAGE_POINTS, keys, offset }, options);
    for (const { payload } of page.points) {
      const { document, generation, passage, text } = payload;
      if (document === undefined || passage === undefined || large.get(document) !== generation) continue;
      const own = texts.get(document) ?? [];
      own[passage - 1] = text ?? '';
      texts.set(document, own);
    }
    offset = page.next;
  } while (offset !== undefined);
  for (const [id, own] of texts) texts.set(id, Object.values(own));
  return texts;
}

function document(
  tenant: string,
  payload: Partial<PointPayload>,
  texts: string[],
): ScrollPage['documents'][number] {
  const { document_id: documentId = '', title = '', metadata = {} } = payload;
  const { version, contentHash } = headOf(payload);
  return {
    tenant,
    documentId,
    title,
    version,
    contentHash,
    metadata,
    textOmitted: false,
    passages: texts.map((text) => ({ text })),
  };
}
