import { documentBytes } from '../document-bytes.ts';
import { StoreError } from '../errors.ts';
import type { CallOptions } from '../store.ts';
import type { FullDocument, StoredPassage } from '../document.ts';
import { anyOf } from './filters.ts';
import {
  HEAD_KEYS,
  headOf,
  ingestedOf,
  METADATA_KEYS,
  NO_TERMS,
  ORIGIN_KEYS,
  type PointPayload,
} from './layout.ts';
import { metadataOf } from './metadata.ts';
import type { Point, Points } from './points.ts';
import { BODY, idsOf } from './settle.ts';
import { sleep } from './transport/bounds.ts';

/** Most points in one answer, without and with their vectors. */
const PAGE_POINTS = 1000;
const PAGE_VECTORS = 200;

/** Most attempts to read a document whole while other writers replace it. */
const MAX_READS = 5;

/** Wait before the next attempt, in milliseconds; longer each time. A put takes about this long to settle. */
const PAUSE_MS = 5;

/** Documents in the first request for them, and in any request. */
const FIRST_DOCUMENTS = 8;
const MOST_DOCUMENTS = 256;

/** Bytes of texts and vectors that one request for documents is meant to bring. */
const REQUEST_BYTES = 8 * 1024 * 1024;

const PASSAGE_KEYS = ['document', 'generation', 'passage', 'text', 'span'];

/** What is read with vectors alone. */
const WORD_KEYS = ['words'];

const DOCUMENT_KEYS = [
  ...HEAD_KEYS,
  'document_id',
  'title',
  'text',
  'span',
  'body',
  ...METADATA_KEYS,
  ...ORIGIN_KEYS,
];

/** Yields documents by the ids of their heads, in that order, without those that are gone; a few are read at a time. */
export async function* documentsOf(
  points: Points,
  ids: readonly string[],
  withVectors: boolean,
  options: CallOptions,
): AsyncGenerator<{ id: string; document: FullDocument }, void, undefined> {
  let size = FIRST_DOCUMENTS;
  let bytes = 0;
  for (let start = 0; start < ids.length;) {
    const group = ids.slice(start, start + size);
    start += group.length;
    const documents = await whole(points, group, withVectors, options);
    for (const id of group) {
      const document = documents.get(id);
      if (!document) continue;
      bytes += documentBytes(document);
      yield { id, document };
    }
    const each = Math.max(1, bytes / start);
    size = Math.max(1, Math.min(MOST_DOCUMENTS, 2 * size, Math.floor(REQUEST_BYTES / each)));
  }
}

/** Documents by the ids of their heads, each from one put. */
async function whole(
  points: Points,
  ids: readonly string[],
  withVectors: boolean,
  options: CallOptions,
): Promise<Map<string, FullDocument>> {
  const documents = new Map<string, FullDocument>();
  let pending = ids;
  for (let read = 1; pending.length > 0; read++) {
    if (read > MAX_READS) {
      throw new StoreError(
        'STORE_OVERLOADED',
        'documents keep changing while they are read; read them again later',
      );
    }
    if (read > 1) await sleep(read * PAUSE_MS, options.signal);
    const keys = withVectors ? [...DOCUMENT_KEYS, ...WORD_KEYS] : DOCUMENT_KEYS;
    const found = await points.retrieve(pending, keys, options, withVectors);
    const heads = [...found.values()].filter(({ payload }) => headOf(payload).live);
    const bodies = await bodiesOf(points, heads, withVectors, options);
    pending = heads.flatMap((head) => {
      const { id, payload } = head;
      const passages = [passageOf(head), ...(bodies.get(id) ?? [])];
      // It is not whole: another put came in between.
      if (passages.length !== headOf(payload).passages) return [id];
      documents.set(id, documentOf(payload, passages));
      return [];
    });
  }
  return documents;
}

/** For each head, the passages of its put after the first, in order. */
async function bodiesOf(
  points: Points,
  heads: readonly Point[],
  withVectors: boolean,
  options: CallOptions,
): Promise<Map<string, StoredPassage[]>> {
  const bodies = new Map<string, StoredPassage[]>();
  const large = heads.filter(({ payload }) => headOf(payload).passages > 1);
  if (large.length === 0) return bodies;
  const generations = new Map(large.map(({ id, payload }) => [id, headOf(payload).generation]));
  const filter = { must: [anyOf('document', idsOf(large)), BODY] };
  const limit = withVectors ? PAGE_VECTORS : PAGE_POINTS;
  const keys = withVectors ? [...PASSAGE_KEYS, ...WORD_KEYS] : PASSAGE_KEYS;
  let offset: string | undefined;
  do {
    const page = await points.scroll({ filter, limit, keys, offset, withVectors }, options);
    for (const point of page.points) {
      const { document, generation, passage } = point.payload;
      if (document === undefined || passage === undefined || generations.get(document) !== generation)
        continue;
      const own = bodies.get(document) ?? [];
      own[passage - 1] = passageOf(point);
      bodies.set(document, own);
    }
    offset = page.next;
  } while (offset !== undefined);
  for (const [id, own] of bodies) bodies.set(id, Object.values(own));
  return bodies;
}

function passageOf({ payload: { text, span, words = [] }, vector }: Point): StoredPassage {
  return {
    ...(text !== undefined && { text }),
    ...(span !== undefined && { span: { start: span[0], end: span[1] } }),
    ...(vector && { vector: Float32Array.from(vector.dense) }),
    ...(vector?.terms && !isNoTerms(vector.terms) && { sparse: vector.terms }),
    ...(vector && words.length > 0 && { words }),
  };
}

/** Whether a sparse vector is {@link NO_TERMS}, which takes the place of none. */
function isNoTerms({ indices, values }: { indices: readonly number[]; values: readonly number[] }): boolean {
  return (
    indices.length === 1 &&
    indices[0] === NO_TERMS.indices[0] &&
    Math.fround(values[0]!) === Math.fround(NO_TERMS.values[0]!)
  );
}

function documentOf(payload: Partial<PointPayload>, passages: StoredPassage[]): FullDocument {
  const { tenant = '', document_id: documentId = '', title = '', whole: place } = payload;
  const { version, contentHash, encodingHash, expiresAt } = headOf(payload);
  const text = place === 'text' ? payload.text : payload.body;
  const ingested = ingestedOf(payload);
  return {
    tenant,
    documentId,
    title,
    ...(text !== undefined && { text }),
    textOmitted: isTextOmitted(payload),
    metadata: metadataOf(payload),
    version,
    contentHash,
    ...(encodingHash !== undefined && { encodingHash }),
    ...(expiresAt !== undefined && { expiresAt }),
    ...(ingested && { ingested }),
    passages,
  };
}

/** Whether texts were kept out of the store. Of a document of layout 1 only the passages can tell. */
export function isTextOmitted(payload: Partial<PointPayload>): boolean {
  const { hasText, encodingHash } = headOf(payload);
  return encodingHash === undefined ? payload.text === undefined : !hasText;
}
