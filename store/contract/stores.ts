import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, afterEach, before } from 'node:test';
import { StoreError, type StoreErrorReason } from '../errors.ts';
import type { Condition, SearchHit, SearchQuery } from '../queries.ts';
import { physicalName, type SpaceKey, type Store } from '../store.ts';
import type { StoredDocument } from '../document.ts';
import type { DocumentWrite } from '../writes.ts';

/** The stores under test, and what has to be cleaned up after them. */
export interface StoreFixture {
  /** Opens a store. All stores of a fixture see the same collections, as two processes would. */
  open(): Promise<Store>;
  /**
   * A position of freshness that the collection has not reached, made from the one where it is; see `Freshness.position`.
   * Absent where a test can't make one.
   */
  positionAhead?(position: string): string;
  /** Cleans up when all tests are done and all stores are closed. */
  dispose?(): Promise<void> | void;
}

/** Two stores of one fixture, open while the tests run, and collections that go away with the test. */
export interface Stores {
  /** Most tests need one store. */
  readonly first: Store;
  /** Another connection to the same fixture. */
  readonly second: Store;
  /** Opens one more; the test closes it. */
  open(): Promise<Store>;
  /** See {@link StoreFixture.positionAhead}. */
  readonly positionAhead: ((position: string) => string) | undefined;
  /** A logical name that nobody has; what it leads to in any space below is dropped after the test. */
  name(): string;
  /** A new collection of {@link SPACE}; its logical name. */
  collection(): Promise<string>;
}

/** The space of most tests: four dimensions, as in the recordings of a Qdrant server. */
export const SPACE: SpaceKey = { fingerprint: `sp1_${'0123456789abcdef'.repeat(2)}`, dimensions: 4 };

/** A space that is not {@link SPACE}. */
export const OTHER_SPACE: SpaceKey = { fingerprint: `sp1_${'fedcba9876543210'.repeat(2)}`, dimensions: 4 };

export const TENANT = 'tenant';

export function useStores(fixture: StoreFixture): Stores {
  let opened: [Store, Store] | undefined;
  const names: string[] = [];
  before(async () => {
    opened = [await fixture.open(), await fixture.open()];
  });
  afterEach(async () => {
    const [store] = opened!;
    for (const name of names.splice(0)) {
      for (const { fingerprint } of [SPACE, OTHER_SPACE]) {
        await store.dropCollection(physicalName(name, fingerprint)).catch((error: unknown) => {
          if (!(error instanceof StoreError && error.reason === 'COLLECTION_NOT_FOUND')) throw error;
        });
      }
    }
  });
  after(async () => {
    await Promise.all(opened?.map((store) => store.close()) ?? []);
    await fixture.dispose?.();
  });
  const name = () => {
    names.push(`contract-${randomBytes(6).toString('hex')}`);
    return names.at(-1)!;
  };
  return {
    get first() {
      return opened![0];
    },
    get second() {
      return opened![1];
    },
    open: () => fixture.open(),
    positionAhead: fixture.positionAhead?.bind(fixture),
    name,
    collection: async () => (await opened![0].ensureCollection(name(), SPACE)).name,
  };
}

type Put = Extract<DocumentWrite, { kind: 'put' }>;
type Update = Extract<DocumentWrite, { kind: 'update' }>;

/** A put with one passage per vector. */
export function put(
  documentId: string,
  vectors: readonly (readonly number[])[],
  rest: Partial<Omit<Put, 'passages' | 'documentId' | 'kind'>> = {},
): Put {
  return {
    kind: 'put',
    tenant: TENANT,
    documentId,
    version: 0,
    contentHash: `hash of ${documentId}`,
    encodingHash: `encoding hash of ${documentId}`,
    title: `Title of ${documentId}`,
    metadata: {},
    passages: vectors.map((vector, index) => ({
      vector: Float32Array.from(vector),
      text: `${documentId} passage ${index}`,
    })),
    ...rest,
  };
}

/** Vectors that a search can tell apart, for numbers up to 354. */
export function direction(number: number): number[] {
  return [Math.cos(number), Math.sin(number), 0, 0];
}

/** A put of a document that only its metadata matter of. */
export function withMetadata(documentId: string, metadata: Record<string, unknown>): Put {
  return put(documentId, [[1, 0, 0, 0]], { metadata });
}

/** A put of a document that only its terms matter of. */
export function withTerms(documentId: string, ...passages: Readonly<Record<number, number>>[]): Put {
  return {
    ...put(documentId, []),
    passages: passages.map((terms) => ({ vector: Float32Array.of(1, 0, 0, 0), sparse: sparse(terms) })),
  };
}

/** A sparse vector from term → weight. */
export function sparse(terms: Readonly<Record<number, number>>): { indices: number[]; values: number[] } {
  return { indices: Object.keys(terms).map(Number), values: Object.values(terms) };
}

export function remove(documentId: string, version = 0, tenant = TENANT): DocumentWrite {
  return { kind: 'delete', tenant, documentId, version };
}

export function confirm(
  documentId: string,
  version: number,
  contentHash = `hash of ${documentId}`,
): DocumentWrite {
  return { kind: 'confirm', tenant: TENANT, documentId, version, contentHash };
}

/** What a lookup says of a document that {@link put} made, with these differences. */
export function stored(documentId: string, rest: Partial<StoredDocument> = {}): StoredDocument {
  return {
    version: 0,
    contentHash: `hash of ${documentId}`,
    encodingHash: `encoding hash of ${documentId}`,
    textOmitted: true,
    passages: 1,
    ...rest,
  };
}

/** An update of metadata that expects the document that {@link put} made. */
export function update(documentId: string, rest: Partial<Omit<Update, 'documentId' | 'kind'>> = {}): Update {
  return {
    kind: 'update',
    tenant: TENANT,
    documentId,
    version: 0,
    contentHash: `new hash of ${documentId}`,
    metadata: {},
    expected: { encodingHash: `encoding hash of ${documentId}` },
    ...rest,
  };
}

/** Searches for the direction of a vector. */
export function search(
  store: Store,
  collection: string,
  vector: readonly number[],
  rest: Partial<SearchQuery> = {},
): Promise<SearchHit[]> {
  return store.search(collection, { tenant: TENANT, vector: Float32Array.from(vector), limit: 10, ...rest });
}

export function ids(hits: readonly { documentId: string }[]): string[] {
  return hits.map(({ documentId }) => documentId);
}

/** Every document of a tenant that a condition holds for, sorted by id, as search, count and scroll all see it. */
export async function matching(store: Store, collection: string, must: Condition[]): Promise<string[]> {
  const filter = { must };
  const hits = await search(store, collection, [1, 0, 0, 0], { filter, limit: 100 });
  const found = ids(hits).sort();
  const { documents } = await store.count(collection, TENANT, filter);
  assert.equal(documents, found.length, 'count and search see the same documents');
  const page = await store.scroll(collection, TENANT, { filter, limit: 100 });
  assert.deepEqual(ids(page.documents).sort(), found, 'scroll and search see the same documents');
  return found;
}

/** Asserts that a call fails for a reason, with a message that says what matters. */
export async function rejects(
  call: Promise<unknown>,
  reason: StoreErrorReason,
  message = /./,
): Promise<void> {
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof StoreError, `a StoreError, not ${String(error)}`);
    assert.equal(error.reason, reason, error.message);
    assert.match(error.message, message);
    return true;
  });
}
