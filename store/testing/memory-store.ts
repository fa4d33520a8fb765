import { checkDimensions, checkLimit, checkQuery, checkScope, checkWriteDimensions } from '../check.ts';
import { prepareWrites, unitVector, type PreparedPut, type PreparedWrite } from '../embedded/prepare.ts';
import { collectionNotFound, StoreError } from '../errors.ts';
import { documentFilter } from '../filter.ts';
import { checkAlias, checkCollectionName, checkSpace, isPhysicalName, physicalFor } from '../names.ts';
import { bestFirst, page, rankBy, type Ranked } from '../ranking.ts';
import type {
  BulkLoad,
  CallOptions,
  CollectionInfo,
  CollectionKey,
  DocumentKey,
  DocumentWrite,
  DocumentWriteResult,
  Filter,
  ScrollPage,
  SearchHit,
  SearchQuery,
  SpaceKey,
  SparseVector,
  Store,
  StoredDocument,
} from '../store.ts';
import { applyVersionRule, type Remembered } from '../versions.ts';

/** A call to the store, as the hooks see it. */
export interface StoreCall {
  operation: Exclude<keyof Store, 'kind' | 'close'> | 'endBulk';
  /** Steps of a write; empty for other operations. */
  writes: readonly DocumentWrite[];
  /** Where the call goes, as the caller named it; empty where it concerns no single collection. */
  collection: string;
  options: CallOptions;
}

/** What a test or a simulation decides about a store. */
export interface MemoryStoreOptions {
  /** Stores with the same data see the same collections. @default data of its own */
  data?: MemoryData;
  /** The clock that deadlines are compared with, in milliseconds since the epoch. @default Date.now */
  now?: () => number;
  /** Runs before a call takes effect. It delays the call by a promise and makes it fail by throwing. */
  before?: (call: StoreCall) => Promise<void> | void;
  /** Runs after a call has taken effect, before it is answered; what it throws replaces the answer. */
  after?: (call: StoreCall, answer: unknown) => Promise<void> | void;
}

/** A document, or a delete that is remembered. */
interface Row {
  tenant: string;
  documentId: string;
  remembered: Remembered;
  /** Absent for a delete. */
  put?: PreparedPut;
}

/** A row that holds a document. */
type DocumentRow = Row & { put: PreparedPut };

interface Collection {
  physicalName: string;
  space: SpaceKey;
  rows: Map<string, Row>;
}

/** What memory stores share. */
export class MemoryData {
  /** By physical name. */
  readonly collections = new Map<string, Collection>();
  /** Logical to physical name. */
  readonly aliases = new Map<string, string>();
}

/**
 * A store that keeps everything in maps and scans them. It serves tests and simulations: it waits for nothing by itself,
 * starts no timer, and lets its caller decide when each call takes effect and which ones fail. It is no product store:
 * what it holds is gone with the process.
 */
export class MemoryStore implements Store {
  /** What it says of itself where one of the two product stores is expected. */
  readonly kind = 'embedded';
  readonly #data: MemoryData;
  readonly #now: () => number;
  readonly #before: NonNullable<MemoryStoreOptions['before']>;
  readonly #after: NonNullable<MemoryStoreOptions['after']>;
  #closed = false;

  constructor({
    data = new MemoryData(),
    now = Date.now,
    before = () => {},
    after = () => {},
  }: MemoryStoreOptions = {}) {
    this.#data = data;
    this.#now = now;
    this.#before = before;
    this.#after = after;
  }

  ensureCollection(name: string, space: SpaceKey, options?: CallOptions): Promise<CollectionInfo> {
    return this.#call('ensureCollection', name, options, () => {
      checkCollectionName(name);
      const found = this.#lookUp(name) ?? this.#lookUp(physicalFor(name, space));
      if (found) checkSpace(name, found.space, space);
      const physical = found?.physicalName ?? physicalFor(name, space);
      if (!found) {
        this.#data.collections.set(physical, { physicalName: physical, space, rows: new Map() });
      }
      if (!isPhysicalName(name)) this.#data.aliases.set(name, physical);
      return this.#describe(this.#find(name));
    });
  }

  findCollection(name: string, options?: CallOptions): Promise<CollectionKey> {
    return this.#call('findCollection', name, options, () => this.#keyOf(this.#find(name)));
  }

  listCollections(options?: CallOptions): Promise<CollectionInfo[]> {
    return this.#call('listCollections', '', options, () =>
      [...this.#data.collections.values()]
        .map((collection) => this.#describe(collection))
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
    );
  }

  async writeDocuments(
    name: string,
    writes: readonly DocumentWrite[],
    options?: CallOptions,
  ): Promise<DocumentWriteResult[]> {
    const { prepared } = prepareWrites(writes);
    const write = (): DocumentWriteResult[] => {
      const collection = this.#find(name);
      checkWriteDimensions(prepared, collection.space.dimensions);
      return prepared.map((step) => applyWrite(collection.rows, step));
    };
    return await this.#call('writeDocuments', name, options, write, writes);
  }

  async beginBulk(name: string, options?: CallOptions): Promise<BulkLoad> {
    await this.#call('beginBulk', name, options, () => this.#find(name));
    return { end: (own) => this.#call('endBulk', name, own, () => undefined) };
  }

  lookupDocuments(
    name: string,
    keys: readonly DocumentKey[],
    options?: CallOptions,
  ): Promise<(StoredDocument | undefined)[]> {
    return this.#call('lookupDocuments', name, options, () => {
      const { rows } = this.#find(name);
      return keys.map((key) => {
        const { remembered, put } = rows.get(rowKey(key)) ?? {};
        if (remembered?.kind !== 'document' || !put) return undefined;
        const { version, contentHash } = remembered;
        return { version, contentHash, passages: put.passages.length };
      });
    });
  }

  async deleteByFilter(name: string, tenant: string, filter: Filter, options?: CallOptions): Promise<number> {
    checkScope(tenant, filter);
    return await this.#call('deleteByFilter', name, options, () => {
      const { rows } = this.#find(name);
      const gone = matching(rows, tenant, filter);
      for (const row of gone) rows.delete(rowKey(row));
      return gone.length;
    });
  }

  async search(name: string, query: SearchQuery, options?: CallOptions): Promise<SearchHit[]> {
    checkQuery(query);
    const vector = query.vector && unitVector(query.vector, 'query vector');
    return await this.#call('search', name, options, () => {
      const { rows, space } = this.#find(name);
      if (vector) checkDimensions(vector, space.dimensions, 'query vector');
      const ranking = rank(rows, { ...query, ...(vector && { vector }) });
      return page(ranking, query).map((found) => hitOf(found, query));
    });
  }

  async count(
    name: string,
    tenant: string,
    filter: Filter = {},
    options?: CallOptions,
  ): Promise<{ documents: number; passages: number }> {
    checkScope(tenant, filter);
    return await this.#call('count', name, options, () =>
      countOf(matching(this.#find(name).rows, tenant, filter)),
    );
  }

  async scroll(
    name: string,
    tenant: string,
    { limit, after, filter = {} }: { limit: number; after?: string; filter?: Filter },
    options?: CallOptions,
  ): Promise<ScrollPage> {
    checkScope(tenant, filter);
    checkLimit(limit);
    return await this.#call('scroll', name, options, () => {
      const all = matching(this.#find(name).rows, tenant, filter)
        .filter(({ documentId }) => after === undefined || documentId > after)
        .sort((a, b) => (a.documentId < b.documentId ? -1 : 1));
      const documents = all.slice(0, limit).map(({ documentId, remembered: { version }, put }) => ({
        tenant,
        documentId,
        title: put.title,
        version,
        contentHash: put.contentHash,
        metadata: parse(put),
        texts: put.passages.map(({ text = '' }) => text),
      }));
      return all.length > limit ? { documents, next: documents.at(-1)!.documentId } : { documents };
    });
  }

  aliases(options?: CallOptions): Promise<Map<string, string>> {
    return this.#call('aliases', '', options, () => new Map(this.#data.aliases));
  }

  switchAlias(alias: string, physical: string, options?: CallOptions): Promise<void> {
    return this.#call('switchAlias', physical, options, () => {
      checkAlias(alias);
      this.#data.aliases.set(alias, this.#findPhysical(physical).physicalName);
    });
  }

  dropCollection(physical: string, options?: CallOptions): Promise<void> {
    return this.#call('dropCollection', physical, options, () => {
      this.#data.collections.delete(this.#findPhysical(physical).physicalName);
      for (const [alias, target] of this.#data.aliases) {
        if (target === physical) this.#data.aliases.delete(alias);
      }
    });
  }

  prepare(_space: string, options?: CallOptions): Promise<void> {
    return this.#call('prepare', '', options, () => undefined);
  }

  probe(options?: CallOptions): Promise<void> {
    return this.#call('probe', '', options, () => undefined);
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  /** Runs one call: it takes effect in one step, between the two hooks. */
  async #call<T>(
    operation: StoreCall['operation'],
    collection: string,
    options: CallOptions = {},
    takeEffect: () => T,
    writes: readonly DocumentWrite[] = [],
  ): Promise<T> {
    if (this.#closed) throw new StoreError('STORE_UNAVAILABLE', 'the memory store has been closed');
    this.#throwIfOver(options);
    const call = { operation, writes, collection, options };
    await this.#before(call);
    this.#throwIfOver(options);
    const answer = takeEffect();
    await this.#after(call, answer);
    return answer;
  }

  #throwIfOver({ signal, deadline = Infinity }: CallOptions): void {
    signal?.throwIfAborted();
    if (deadline <= this.#now()) {
      throw new DOMException('the deadline of the store call has passed', 'TimeoutError');
    }
  }

  #lookUp(name: string): Collection | undefined {
    return this.#data.collections.get(this.#data.aliases.get(name) ?? name);
  }

  #find(name: string): Collection {
    checkCollectionName(name);
    const collection = this.#lookUp(name);
    if (!collection) throw collectionNotFound(name);
    return collection;
  }

  #findPhysical(name: string): Collection {
    const collection = this.#find(name);
    if (!isPhysicalName(name)) throw collectionNotFound(name);
    return collection;
  }

  #keyOf({ physicalName, space }: Collection): CollectionKey {
    const aliases = [...this.#data.aliases].filter(([, physical]) => physical === physicalName);
    const [name = physicalName] = aliases.map(([alias]) => alias).sort();
    return { name, physicalName, space };
  }

  #describe(collection: Collection): CollectionInfo {
    return { ...this.#keyOf(collection), ...countOf([...collection.rows.values()].filter(isDocument)) };
  }
}

function applyWrite(rows: Map<string, Row>, write: PreparedWrite): DocumentWriteResult {
  const { tenant, documentId } = write;
  const key = rowKey(write);
  const row = rows.get(key);
  const { result, after } = applyVersionRule(row?.remembered, write);
  if (after === undefined) rows.delete(key);
  else if (after.kind === 'delete') rows.set(key, { tenant, documentId, remembered: after });
  else if (write.kind === 'put' && result.outcome === 'indexed') {
    rows.set(key, { tenant, documentId, remembered: after, put: write });
  } else if (row) row.remembered = after;
  return result;
}

function rank(rows: ReadonlyMap<string, Row>, query: SearchQuery): readonly Found[] {
  const { tenant, filter = {} } = query;
  const documents = matching(rows, tenant, filter);
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
      best(termScore(matching(rows, tenant, {}), terms), depth, Math.max(least, Number.MIN_VALUE)),
  );
}

/** A document that a search found. */
interface Found extends Ranked {
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

function hitOf({ row, documentId, score, passage }: Found, query: SearchQuery): SearchHit {
  const { put, remembered } = row;
  const text = query.withText === false ? undefined : put.passages[passage]?.text;
  return {
    documentId,
    score,
    passage,
    title: put.title,
    version: remembered.version,
    ...(text !== undefined && { text }),
    ...(query.withMetadata !== false && { metadata: parse(put) }),
  };
}

/** Documents of a tenant that a filter holds for. */
function matching(rows: ReadonlyMap<string, Row>, tenant: string, filter: Filter): DocumentRow[] {
  const holds = documentFilter(filter);
  return [...rows.values()]
    .filter(isDocument)
    .filter(
      (row) =>
        row.tenant === tenant &&
        holds({ documentId: row.documentId, version: row.remembered.version, metadata: parse(row.put) }),
    );
}

function isDocument(row: Row): row is DocumentRow {
  return row.put !== undefined;
}

function countOf(rows: readonly DocumentRow[]): { documents: number; passages: number } {
  return { documents: rows.length, passages: rows.reduce((sum, { put }) => sum + put.passages.length, 0) };
}

function parse({ metadata }: PreparedPut): Record<string, unknown> {
  return JSON.parse(metadata) as Record<string, unknown>;
}

function rowKey({ tenant, documentId }: DocumentKey): string {
  return JSON.stringify([tenant, documentId]);
}
