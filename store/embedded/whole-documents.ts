import type { FullDocument, StoredPassage } from '../document.ts';
import { type DocumentRow, ingestedIn, TextKept } from './document-rows.ts';
import type { Documents } from './documents.ts';
import type { WholePassageRow } from './passages.ts';
import { decodeSparse } from './sparse-index.ts';
import { string } from './strings.ts';

/** Most documents and passages that are read together. */
const DOCUMENTS_PER_READ = 64;
const PASSAGES_PER_READ = 64;

/** What a read needs to know of a document before it reads it. */
export interface Chosen {
  /** Row of `documents`. */
  id: number;
  passages: number;
}

/**
 * All that is stored of documents, in the order given. Each has to be there. It reads some together, when the
 * first of them is taken.
 */
export function* wholeDocuments(
  documents: Documents,
  tenant: string,
  chosen: Iterable<Chosen>,
  withVectors: boolean,
): Generator<FullDocument, void, undefined> {
  let together: number[] = [];
  let passages = 0;
  for (const document of chosen) {
    together.push(document.id);
    passages += document.passages;
    if (together.length < DOCUMENTS_PER_READ && passages < PASSAGES_PER_READ) continue;
    yield* read(documents, tenant, together, withVectors);
    together = [];
    passages = 0;
  }
  yield* read(documents, tenant, together, withVectors);
}

function* read(
  documents: Documents,
  tenant: string,
  ids: readonly number[],
  withVectors: boolean,
): Generator<FullDocument, void, undefined> {
  if (ids.length === 0) return;
  const ascending = ids.toSorted((a, b) => a - b);
  const rows = new Map(documents.rows(ascending).map((row) => [row.id, row]));
  const passages = new Map<number, StoredPassage[]>(ids.map((id) => [id, []]));
  const stored = [...documents.passages.whole(ascending, withVectors)];
  const vectors = vectorsOf(stored);
  for (const [index, row] of stored.entries()) {
    passages.get(row.document)!.push(passageOf(row, vectors?.[index]));
  }
  for (const id of ids) yield documentOf(rows.get(id)!, tenant, passages.get(id)!);
}

/** The vectors of passages, all in one buffer, which is cheaper to hand to another thread than many. */
function vectorsOf(rows: readonly WholePassageRow[]): Float32Array[] | undefined {
  const [first] = rows;
  if (!first?.vector) return undefined;
  const length = first.vector.byteLength;
  const all = new Uint8Array(rows.length * length);
  return rows.map(({ vector }, index) => {
    all.set(vector!, index * length);
    return new Float32Array(all.buffer, index * length, length / Float32Array.BYTES_PER_ELEMENT);
  });
}

function passageOf(
  { text, spanStart, spanEnd, sparse, words }: WholePassageRow,
  vector: Float32Array | undefined,
): StoredPassage {
  return {
    ...(text !== null && { text: string(text) }),
    ...(spanStart !== null && spanEnd !== null && { span: { start: spanStart, end: spanEnd } }),
    ...(vector && { vector }),
    ...(sparse && { sparse: decodeSparse(sparse) }),
    ...(words !== null && { words: JSON.parse(words) as string[] }),
  };
}

function documentOf(row: DocumentRow, tenant: string, passages: StoredPassage[]): FullDocument {
  const ingested = ingestedIn(row);
  const text = row.textKept === TextKept.inPassage ? passages[0]?.text : (row.text ?? undefined);
  return {
    tenant,
    documentId: row.documentId,
    title: row.title,
    ...(text !== undefined && { text }),
    textOmitted: row.textKept === TextKept.omitted,
    metadata: JSON.parse(row.metadata) as Record<string, unknown>,
    version: row.version,
    contentHash: row.contentHash,
    ...(row.encodingHash !== null && { encodingHash: row.encodingHash }),
    ...(row.expiresAt !== null && { expiresAt: row.expiresAt }),
    ...(ingested && { ingested }),
    passages,
  };
}
