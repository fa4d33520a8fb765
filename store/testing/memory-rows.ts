import { documentFilter } from '../filter.ts';
import type { PreparedPut, PreparedUpdate, PreparedWrite } from '../embedded/prepare.ts';
import { type LegPlaces, rankBy } from '../fusion.ts';
import { bestFirst, type Ranked } from '../ranking.ts';
import type { Filter, SearchHit, SearchQuery } from '../queries.ts';
import type { CountedWords, Counts } from '../store.ts';
import type {
  DocumentKey,
  FullDocument,
  Origin,
  RememberedDelete,
  SparseVector,
  StoredDocument,
} from '../document.ts';
import type { DocumentWriteResult } from '../writes.ts';
import { applyVersionRule, type Remembered } from '../versions.ts';

/** A document, or a delete that is remembered. */
export interface Row {
  tenant: string;
  documentId: string;
  remembered: Remembered;
  /** Absent for a delete. */
  put?: PreparedPut;
  /** Of the write that made it what it is. */
  position?: number;
}

/** A row that holds a document. */
export type DocumentRow = Row & { put: PreparedPut };

/** The documents of a collection, and the deletes that it remembers, by {@link rowKey}. */
export type Rows = Map<string, Row>;

/** @param now expired documents are left out, in milliseconds since the epoch */
export function rank(rows: Rows, query: SearchQuery, now: number): readonly Found[] {
  const { tenant, filter = {} } = query;
  const documents = matching(rows, tenant, filter, now);
  const best = (score: (passage: Passage) => number, depth: number, least: number): Found[] =>
    documents
      .map((row) => bestPassage(row, score))
      .filter((found) => found.score >= least)
      .sort(bestFirst)
      .slice(0, depth);
  return rankBy(
    query,
    (vector, depth, least) => best((passage) => dot(passage.vector, vector), depth, least),
    // A document that shares no term with the query has no place in the ranking.
    (terms, depth, least) =>
      best(termScore(matching(rows, tenant, {}, now), terms), depth, Math.max(least, Number.MIN_VALUE)),
  );
}

/** A document that a search found. */
export interface Found extends Ranked {
  /** Of a hybrid search. */
  legs?: LegPlaces;
  row: DocumentRow;
}

type Passage = PreparedPut['passages'][number];

function bestPassage(row: DocumentRow, score: (passage: Passage) => number): Found {
  const scores = row.put.passages.map(score);
  const best = scores.reduce((most, one) => Math.max(most, one), -Infinity);
  return { row, documentId: row.documentId, score: best, passage: scores.indexOf(best) };
}

/** BM25 with the weights that the passages carry; see `PassageWrite.sparse`. */
function termScore(documents: readonly DocumentRow[], query: SparseVector): (passage: Passage) => number {
  const passages = documents.flatMap(({ put }) => put.passages);
  const weights = query.indices.map((term, position) => {
    const frequency = passages.filter(({ sparse }) => sparse?.indices.includes(term)).length;
    const idf = Math.log(1 + (passages.length - frequency + 0.5) / (frequency + 0.5));
    return [term, query.values[position]! * idf] as const;
  });
  return ({ sparse }) =>
    weights.reduce((sum, [term, weight]) => {
      const position = sparse?.indices.indexOf(term) ?? -1;
      return position < 0 ? sum : sum + weight * Math.fround(sparse!.values[position]!);
    }, 0);
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, component, index) => sum + component * b[index]!, 0);
}

export function hitOf({ row, documentId, score, passage, legs }: Found, query: SearchQuery): SearchHit {
  const { put, remembered } = row;
  const text = query.withText === false ? undefined : put.passages[passage]?.text;
  return {
    documentId,
    score,
    ...(legs && { legs }),
    passage,
    title: put.title,
    version: remembered.version,
    ...(text !== undefined && { text }),
    ...(query.withMetadata !== false && { metadata: parse(put) }),
  };
}

/** Documents of a tenant that a filter holds for, without those that have expired. */
export function matching(rows: Rows, tenant: string, filter: Filter, now: number): DocumentRow[] {
  const holds = documentFilter(filter);
  return [...rows.values()]
    .filter((row) => isLive(row, now))
    .filter(
      (row) =>
        row.tenant === tenant &&
        holds({ documentId: row.documentId, version: row.remembered.version, metadata: parse(row.put) }),
    );
}

/** Whether a row holds a document that has not expired. */
export function isLive(row: Row, now: number): row is DocumentRow {
  return row.put !== undefined && (row.put.expiresAt ?? Infinity) > now;
}

export function countOf(rows: readonly DocumentRow[]): Counts {
  return { documents: rows.length, passages: rows.reduce((sum, { put }) => sum + put.passages.length, 0) };
}

/** The words of documents, the most frequent ones where there are too many. */
export function countedWords(
  documents: readonly DocumentRow[],
  limit: number,
): Required<CountedWords>['counted'] {
  const counts = new Map<string, number>();
  for (const { put } of documents) {
    for (const { words = [] } of put.passages) {
      for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
    }
  }
  const kept = [...counts].sort(([, more], [, than]) => than - more).slice(0, limit);
  return {
    words: kept.map(([word]) => word).join('\n'),
    passages: Uint32Array.from(kept, ([, passages]) => passages),
  };
}

function parse({ metadata }: PreparedPut): Record<string, unknown> {
  return JSON.parse(metadata) as Record<string, unknown>;
}

export function rowKey({ tenant, documentId }: DocumentKey): string {
  return JSON.stringify([tenant, documentId]);
}

/** Applies one step. @param now documents that have expired count as deleted, in milliseconds since the epoch */
export function applyWrite(
  rows: Rows,
  write: PreparedWrite,
  { now, position }: { now: number; position: number },
): DocumentWriteResult {
  const { tenant, documentId } = write;
  const key = rowKey(write);
  const row = buried(rows.get(key), now);
  const { result, after } = applyVersionRule(row?.remembered, write);
  if (after === undefined) rows.delete(key);
  else if (after.kind === 'delete') rows.set(key, { tenant, documentId, remembered: after });
  else if (write.kind === 'put' && result.outcome === 'indexed') {
    rows.set(key, { tenant, documentId, remembered: after, put: write, position });
  } else if (row) {
    row.remembered = after;
    if (write.kind === 'update' && result.outcome === 'updated') {
      row.put = updated(row.put!, write);
      row.position = position;
    }
  }
  return result;
}

/** A row, or what an expired document leaves behind: a delete of its version. */
function buried(row: Row | undefined, now: number): Row | undefined {
  if (!row?.put || isLive(row, now)) return row;
  const { tenant, documentId, remembered } = row;
  const { version } = remembered;
  return version > 0 ? { tenant, documentId, remembered: { kind: 'delete', version } } : undefined;
}

/** What is remembered of deleted and expired documents of a tenant, by document id. */
export function deletesOf(rows: Rows, tenant: string, now: number): RememberedDelete[] {
  return [...rows.values()]
    .map((row) => buried(row, now))
    .filter((row) => row?.tenant === tenant && row.remembered.kind === 'delete')
    .map((row) => ({ tenant, documentId: row!.documentId, version: row!.remembered.version }))
    .sort((a, b) => (a.documentId < b.documentId ? -1 : 1));
}

/** Tenants that have documents or remembered deletes. */
export function tenantsOf(rows: Rows, now: number): string[] {
  const kept = [...rows.values()].flatMap((row) => buried(row, now) ?? []);
  return [...new Set(kept.map(({ tenant }) => tenant))].sort();
}

/** A document whose metadata, expiry and content hash an update replaces. */
function updated(put: PreparedPut, update: PreparedUpdate): PreparedPut {
  const { expiresAt: _, ingested: __, ...kept } = put;
  const { metadata, contentHash, expiresAt, ingested } = update;
  return {
    ...kept,
    metadata,
    contentHash,
    ...(expiresAt !== undefined && { expiresAt }),
    ...(ingested && { ingested }),
  };
}

/** Where a document comes from. */
export function originOf({ put: { ingested }, position }: DocumentRow): Origin {
  return { ...(ingested && { ingested }), position: String(position) };
}

/** What a lookup says of a document. */
export function storedDocument({ put, remembered }: DocumentRow): StoredDocument {
  const { contentHash, encodingHash, text, passages } = put;
  const { version } = remembered;
  return { version, contentHash, encodingHash, textOmitted: text === undefined, passages: passages.length };
}

/** A document with all that is stored of it. */
export function fullDocument({ put, remembered }: DocumentRow, withVectors = false): FullDocument {
  const { tenant, documentId, title, text, expiresAt, contentHash, encodingHash, ingested } = put;
  return {
    tenant,
    documentId,
    title,
    ...(text !== undefined && { text }),
    textOmitted: text === undefined,
    metadata: parse(put),
    version: remembered.version,
    contentHash,
    encodingHash,
    ...(expiresAt !== undefined && { expiresAt }),
    ...(ingested && { ingested }),
    passages: put.passages.map(({ vector, sparse, words, ...rest }) => ({
      ...rest,
      ...(withVectors && {
        vector: vector.slice(),
        ...(sparse?.indices.length && { sparse }),
        ...(words?.length && { words }),
      }),
    })),
  };
}
