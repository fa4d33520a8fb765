import { checkWrites, metadataJson, unitFactor, vectorName, writeName } from '../check.ts';
import type { DocumentWrite } from '../writes.ts';
import { JsonWriter } from './json.ts';
import { DENSE, NO_TERMS, type PointPayload, SPARSE } from './layout.ts';
import { exactMetadata } from './metadata.ts';
import type { PointWrite } from './points.ts';
import type { Change } from './steps.ts';

/** A write that has been checked. */
export interface CheckedWrites {
  writes: readonly DocumentWrite[];
  /** JSON of the metadata of each put and update, and what {@link exactMetadata} says of them. */
  metadata: ReadonlyMap<DocumentWrite, { json: string; exact: string | null }>;
  /** For each vector, the factor that scales it to unit length. */
  factors: ReadonlyMap<Float32Array, number>;
}

/** @throws {StoreError} `STORE_INVALID_ARGUMENT`, naming the step and what is wrong with it */
export function checkAll(writes: readonly DocumentWrite[]): CheckedWrites {
  checkWrites(writes);
  const metadata = new Map<DocumentWrite, { json: string; exact: string | null }>();
  const factors = new Map<Float32Array, number>();
  for (const [index, write] of writes.entries()) {
    if (write.kind !== 'put' && write.kind !== 'update') continue;
    const json = metadataJson(write.metadata, writeName(write, index));
    metadata.set(write, { json, exact: exactMetadata(json, write.metadata) });
    if (write.kind === 'update') continue;
    for (const [passage, { vector }] of write.passages.entries()) {
      factors.set(vector, unitFactor(vector, vectorName(write, index, passage)));
    }
  }
  return { writes, metadata, factors };
}

/** Names a document, and the point of its head. */
interface Named {
  id: string;
  tenant: string;
  documentId: string;
}

type PutChange = Extract<Change, { kind: 'put' }>;

/** All writes share one writer, so that small writes share its memory. */
const writer = new JsonWriter();

/** A passage of a put as a point. @param own what this passage alone has in its payload */
export function pointOf(
  id: string,
  document: Named,
  { put, latest }: PutChange,
  passage: number,
  own: Partial<PointPayload>,
  { metadata, factors }: CheckedWrites,
): PointWrite {
  const { vector, sparse, text, span, words = [] } = put.passages[passage]!;
  const { json: described, exact } = metadata.get(latest)!;
  const payload = JSON.stringify({
    ...own,
    document: document.id,
    document_id: document.documentId,
    passage,
    content_hash: latest.contentHash,
    title: put.title,
    ...(text !== undefined && { text }),
    ...(span !== undefined && { span: [span.start, span.end] }),
    ...(latest.expiresAt !== undefined && { expires_at: latest.expiresAt }),
    ...(exact !== null && { exact_metadata: exact }),
    ...(words.length > 0 && { words }),
  });
  const json = writer
    .raw(`{"id":"${id}","vector":{"${DENSE}":`)
    .vector(vector, factors.get(vector)!)
    .raw(`,"${SPARSE}":`)
    .sparse(sparse && sparse.indices.length > 0 ? sparse : NO_TERMS)
    .raw(`},"payload":${payload.slice(0, -1)},"metadata":${described}}}`)
    .take();
  return { id, json, what: `passage ${passage} of document "${document.documentId}"` };
}

/** What only the head of a put has. @param settling whether there are other passages, old or new */
export function headPayload(
  tenant: string,
  { put, latest, version }: PutChange,
  generation: number,
  settling: boolean,
): Partial<PointPayload> {
  const { title, text, encodingHash } = put;
  const passages = put.passages.length;
  const isOnlyPassage = passages === 1 && put.passages[0]!.text === text;
  return {
    tenant,
    version,
    generation,
    passages,
    encoding_hash: encodingHash,
    ...(latest.ingested && { ingested: { ...latest.ingested, stamp: generation } }),
    text_bytes: Buffer.byteLength(title) + Buffer.byteLength(text ?? ''),
    ...(text !== undefined && (isOnlyPassage ? { whole: 'text' } : { whole: 'body', body: text })),
    ...(settling && { settling }),
  };
}

/** The head of a deleted document. @param settling whether there may be passages to delete @param expiredAt of one that has expired */
export function tombstone(
  { id, tenant, documentId }: Named,
  version: number,
  generation: number,
  settling: boolean,
  expiredAt?: number,
): PointWrite {
  const payload: Partial<PointPayload> = {
    deleted_tenant: tenant,
    document: id,
    document_id: documentId,
    passage: 0,
    version,
    generation,
    ...(settling && { settling }),
    ...(expiredAt !== undefined && { expires_at: expiredAt }),
  };
  return hiddenPoint(id, payload, `the delete of "${documentId}"`);
}

/** A point without vectors, which no search finds. */
export function hiddenPoint(id: string, payload: Partial<PointPayload>, what: string): PointWrite {
  return { id, json: writer.raw(JSON.stringify({ id, vector: {}, payload })).take(), what };
}
