import { isDeepStrictEqual } from 'node:util';
import { StoreError } from '../errors.ts';
import type { CallOptions, Store } from '../store.ts';
import type { FullDocument, StoredDocument } from '../document.ts';

/** A collection of a store. */
export interface Side {
  store: Store;
  collection: string;
}

/** A document that the target does not have as the source has it. */
export interface Difference {
  tenant: string;
  documentId: string;
  /** -1 where the target does not have the document. */
  targetVersion: number;
}

/** What was found in a page of documents. */
export interface ComparedPage {
  differences: Difference[];
  /** Documents so far. */
  compared: number;
}

/** What was compared in all. */
export interface Comparison {
  documents: number;
  passages: number;
  withoutText: number;
  /** The target has a higher version, which is no difference where the two were merged. */
  newer: number;
  sampled: number;
}

/** Documents and bytes of texts that are compared at once. */
const PAGE_DOCUMENTS = 1000;
const PAGE_BYTES = 8 * 1024 * 1024;

/** Largest difference of a component of a unit vector: both stores keep float32, and scale what is not of unit length. */
const COMPONENT_TOLERANCE = 1e-6;

/**
 * Compares every document of two collections: version, content hash, number of passages; of one document in each page also
 * texts, metadata and vectors. Both may be written meanwhile: a difference is one that was seen.
 *
 * @param exact documents that the target alone has, or in a higher version, are differences, too
 * @returns counts, after all differences
 */
export async function* findDifferences(
  source: Side,
  target: Side,
  { exact, call }: { exact: boolean; call: CallOptions },
): AsyncGenerator<ComparedPage, Comparison, undefined> {
  const total: Comparison = { documents: 0, passages: 0, withoutText: 0, newer: 0, sampled: 0 };
  const tenants = await source.store.tenants(source.collection, call);
  for (const tenant of tenants) {
    for await (const documents of pages(source, tenant, call)) {
      const stored = await target.store.lookupDocuments(target.collection, documents, call);
      const differences: Difference[] = [];
      for (const [index, document] of documents.entries()) {
        const there = stored[index];
        total.documents++;
        total.passages += document.passages.length;
        if (document.text === undefined) total.withoutText++;
        if (!exact && there && there.version > document.version) total.newer++;
        else if (!isSame(document, there)) differences.push(difference(document, there));
      }
      const same = documents.find((document) => !differences.some((one) => isOf(one, document)));
      if (same && (await isSampleSame(source, target, same, call))) total.sampled++;
      yield { differences, compared: total.documents };
    }
  }
  if (exact) yield* findExtras(source, target, total.documents, call);
  return total;
}

/**
 * Whether documents that were just written are in the target as they were read: all by version, hash and number of
 * passages, the first one in all its parts.
 *
 * @param total counts them
 * @throws {StoreError} where one is the same by version and hash, and differs: a fault of a store
 */
export async function isWritten(
  { store, collection }: Side,
  documents: readonly FullDocument[],
  total: Comparison,
  call: CallOptions,
): Promise<boolean> {
  const [first] = documents;
  if (first === undefined) return true;
  const [stored, [sample]] = await Promise.all([
    store.lookupDocuments(collection, documents, call),
    store.readDocuments(collection, [first], { withVectors: true }, call),
  ]);
  for (const document of documents) {
    total.documents++;
    total.passages += document.passages.length;
    if (document.text === undefined) total.withoutText++;
  }
  if (!documents.every((document, index) => isSame(document, stored[index]))) return false;
  if (sample && isVersion(first, sample)) {
    requireSame(first, sample);
    total.sampled++;
  }
  return true;
}

/** Documents of the target that the source does not have; read only where the numbers differ. */
async function* findExtras(
  source: Side,
  target: Side,
  compared: number,
  call: CallOptions,
): AsyncGenerator<ComparedPage, void, undefined> {
  for (const tenant of await target.store.tenants(target.collection, call)) {
    const [mine, theirs] = await Promise.all([
      source.store.count(source.collection, tenant, undefined, call),
      target.store.count(target.collection, tenant, undefined, call),
    ]);
    if (mine.documents === theirs.documents && mine.passages === theirs.passages) continue;
    for await (const documents of pages(target, tenant, call)) {
      const stored = await source.store.lookupDocuments(source.collection, documents, call);
      const differences = documents
        .filter((_, index) => stored[index] === undefined)
        .map(({ documentId, version }) => ({ tenant, documentId, targetVersion: version }));
      yield { differences, compared };
    }
  }
}

async function* pages(
  { store, collection }: Side,
  tenant: string,
  call: CallOptions,
): AsyncGenerator<FullDocument[], void, undefined> {
  let after: string | undefined;
  do {
    const page = { limit: PAGE_DOCUMENTS, bytes: PAGE_BYTES, ...(after !== undefined && { after }) };
    const { documents, next } = await store.scroll(collection, tenant, page, call);
    if (documents.length > 0) yield documents;
    after = next;
  } while (after !== undefined);
}

function isSame(document: FullDocument, there: StoredDocument | undefined): boolean {
  return (
    there !== undefined &&
    there.version === document.version &&
    there.contentHash === document.contentHash &&
    there.passages === document.passages.length
  );
}

function difference({ tenant, documentId }: FullDocument, there: StoredDocument | undefined): Difference {
  return { tenant, documentId, targetVersion: there?.version ?? -1 };
}

function isOf(one: Difference, { tenant, documentId }: FullDocument): boolean {
  return one.tenant === tenant && one.documentId === documentId;
}

/**
 * Whether a document is the same in all its parts; `false` where it changed meanwhile, which says nothing.
 *
 * @throws {StoreError} where it is the same by version and hash, and differs: a fault of a store
 */
async function isSampleSame(
  source: Side,
  target: Side,
  key: FullDocument,
  call: CallOptions,
): Promise<boolean> {
  const [mine, theirs] = await Promise.all(
    [source, target].map(async ({ store, collection }) => {
      const [document] = await store.readDocuments(collection, [key], { withVectors: true }, call);
      return document;
    }),
  );
  if (!mine || !theirs || !isVersion(mine, theirs)) return false;
  requireSame(mine, theirs);
  return true;
}

function isVersion(mine: FullDocument, theirs: FullDocument): boolean {
  return mine.version === theirs.version && mine.contentHash === theirs.contentHash;
}

/** @throws {StoreError} where two documents of the same version and hash differ */
function requireSame(mine: FullDocument, theirs: FullDocument): void {
  const part = differingPart(mine, theirs);
  if (part === undefined) return;
  throw new StoreError(
    'STORE_INTERNAL',
    `document ${JSON.stringify(mine.documentId)} has another ${part} in the target than in the source, and the same hash; ` +
      'copy the collection again under another name',
  );
}

/** What differs between two documents that should be the same. */
function differingPart(mine: FullDocument, theirs: FullDocument): string | undefined {
  for (const part of ['title', 'text', 'metadata', 'expiresAt'] as const) {
    if (!isDeepStrictEqual(mine[part], theirs[part])) return part;
  }
  for (const [index, { text, vector, sparse }] of mine.passages.entries()) {
    const other = theirs.passages[index];
    if ((text ?? '') !== (other?.text ?? '')) return `text of passage ${index}`;
    if (!isClose(vector, other?.vector)) return `vector of passage ${index}`;
    if (!isDeepStrictEqual(termsOf(sparse), termsOf(other?.sparse)))
      return `list of terms of passage ${index}`;
  }
  return undefined;
}

function isClose(mine: Float32Array | undefined, theirs: Float32Array | undefined): boolean {
  if (mine?.length !== theirs?.length) return false;
  return (mine ?? []).every(
    (component, index) => Math.abs(component - theirs![index]!) <= COMPONENT_TOLERANCE,
  );
}

/** Terms by index: their order does not matter, and weights are float32. */
function termsOf(
  sparse: { indices: readonly number[]; values: readonly number[] } | undefined,
): [number, number][] {
  const { indices = [], values = [] } = sparse ?? {};
  return indices
    .map((index, place): [number, number] => [index, Math.fround(values[place]!)])
    .sort(([a], [b]) => a - b);
}
