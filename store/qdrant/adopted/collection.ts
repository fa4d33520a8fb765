import { unitFactor } from '../../check.ts';
import { documentBytes } from '../../document-bytes.ts';
import type { DocumentKey, FullDocument, StoredDocument, StoredPassage } from '../../document.ts';
import { invalidArgument, StoreError } from '../../errors.ts';
import type { Filter, SearchHit, SearchQuery } from '../../queries.ts';
import type { CallOptions, Counts, PageRequest, ScrollPage, TenantCounts } from '../../store.ts';
import { keyPath, type QdrantFilter } from '../filters.ts';
import type { ScoredPoint } from '../points.ts';
import { hit, type RawPoint, Searcher, type SearchLayout, type SearchSettings } from '../search.ts';
import type { Transport } from '../transport/transport.ts';
import { ADOPTED_VERSION, adoptedFilter, ofDocuments } from './filters.ts';
import { adoptedHash, comparePoints, type ForeignId, pathOf, PayloadReader, pointIdOf } from './mapping.ts';
import { type ForeignPoint, ForeignPoints } from './points.ts';
import type { Adoption } from './record.ts';

/** The one tenant of documents that others wrote. */
const TENANT = '';

/** Most points in one answer: without, and with texts and vectors. */
const PAGE_POINTS = 1000;
const PAGE_VECTORS = 200;

/** Most passages of one document that are read: it lies in memory as a whole. */
const MAX_PASSAGES = 10_000;

/** Documents whose passages one request asks for. */
const GROUP_DOCUMENTS = 50;

/** Subtracted from a threshold: the server compares in float32. */
const SLACK = 1e-5;

/** A collection that others made and go on writing. Everything here reads. */
export class AdoptedCollection {
  readonly adoption: Adoption;
  readonly #name: string;
  readonly #reader: PayloadReader;
  readonly #points: ForeignPoints;
  readonly #searcher: Searcher;

  /** @param physical our name for it: an alias in the server */
  constructor(transport: Transport, physical: string, adoption: Adoption, settings: SearchSettings) {
    this.adoption = adoption;
    this.#name = physical;
    this.#reader = new PayloadReader(adoption.mapping);
    this.#points = new ForeignPoints(transport, physical, adoption.vector);
    this.#searcher = new Searcher(this.#points, adoption.dimensions, settings, this.#layout());
  }

  /** @param query has been checked */
  async search(query: SearchQuery, options: CallOptions): Promise<SearchHit[]> {
    if (query.sparse) {
      throw new StoreError(
        'COLLECTION_DENSE_ONLY',
        `collection "${this.#name}" was adopted and has no terms: search it in dense mode; "scalingnote copy" and an ingest of ` +
          'its documents make a collection with terms',
        { metadata: { collection: this.#name } },
      );
    }
    if (!this.adoption.search) {
      throw new StoreError(
        'COLLECTION_NOT_SEARCHABLE',
        `collection "${this.#name}" was adopted without search: its distance, ${this.adoption.distance}, ranks its vectors ` +
          'otherwise than the cosine; move it into a collection of ours with "scalingnote copy", and search there',
        { metadata: { collection: this.#name, distance: this.adoption.distance } },
      );
    }
    if (query.tenant !== TENANT) return [];
    const found = await this.#searcher.find(query, options);
    const hits = found.map((one) => hit(one, query));
    if (!this.#reader.grouped || hits.length === 0) return hits;
    // Which of its document's passages a point is, only a look at all of them tells.
    const places = await this.#places(
      hits.map(({ documentId }) => documentId),
      options,
    );
    return hits.map((one, index) => {
      const at = places.get(one.documentId)?.indexOf(found[index]!.point) ?? -1;
      return { ...one, passage: Math.max(0, at) };
    });
  }

  async count(tenant: string, filter: Filter | undefined, options: CallOptions): Promise<Counts> {
    if (tenant !== TENANT) return { documents: 0, passages: 0 };
    const wanted = adoptedFilter(this.#reader, filter);
    if (!this.#reader.grouped) {
      const points = await this.#points.count(wanted, options);
      return { documents: points, passages: points };
    }
    const documents = new Set<string>();
    let passages = 0;
    for await (const { id, payload } of this.#each(wanted, this.#reader.placeKeys, options)) {
      documents.add(this.#reader.documentId(id, payload));
      passages++;
    }
    return { documents: documents.size, passages };
  }

  /**
   * Everything in it, for lists of collections.
   *
   * @param exact otherwise each point counts as a document, and the number of points is an estimate
   */
  async countAll(exact: boolean, options: CallOptions): Promise<Counts> {
    if (exact) return this.count(TENANT, undefined, options);
    const points = await this.#points.count({}, options, false);
    return { documents: points, passages: points };
  }

  async tenants(options: CallOptions): Promise<string[]> {
    return (await this.#points.count({}, options, false)) > 0 ? [TENANT] : [];
  }

  async tenantCounts(options: CallOptions): Promise<TenantCounts[]> {
    const counts = await this.count(TENANT, undefined, options);
    return counts.documents > 0 ? [{ tenant: TENANT, ...counts }] : [];
  }

  async lookup(keys: readonly DocumentKey[], options: CallOptions): Promise<(StoredDocument | undefined)[]> {
    const documents = await this.read(keys, false, options);
    return documents.map((document) => document && storedPart(document));
  }

  async read(
    keys: readonly DocumentKey[],
    withVectors: boolean,
    options: CallOptions,
  ): Promise<(FullDocument | undefined)[]> {
    const ids = new Set(keys.filter(({ tenant }) => tenant === TENANT).map(({ documentId }) => documentId));
    const found = await this.#documents([...ids], withVectors, options);
    return keys.map(({ tenant, documentId }) => (tenant === TENANT ? found.get(documentId) : undefined));
  }

  /** Documents come in the order of their first points. */
  async scroll(tenant: string, page: PageRequest, options: CallOptions): Promise<ScrollPage> {
    if (tenant !== TENANT) return { documents: [] };
    const { limit, filter, withVectors = false, bytes = Infinity } = page;
    const wanted = adoptedFilter(this.#reader, filter);
    const begin = await this.#beginOf(page.after, options);
    let { offset } = begin;
    const documents: FullDocument[] = [];
    let taken = 0;
    do {
      const size = Math.min(PAGE_POINTS, limit - documents.length + 1);
      const request = { filter: wanted, limit: size, keys: this.#reader.placeKeys, offset };
      const { points, next } = await this.#points.scroll(request, options);
      const heads = (await this.#heads(points, wanted, options)).filter(({ id }) => id !== begin.after);
      for (const group of groupsOf(heads)) {
        const ids = group.map(({ documentId }) => documentId);
        const read = await this.#documents(ids, withVectors, options);
        for (const { id, documentId } of group) {
          const document = read.get(documentId);
          if (!document) continue;
          if (documents.length === limit || taken > bytes) return { documents, next: JSON.stringify(id) };
          documents.push(document);
          taken += documentBytes(document);
        }
      }
      offset = next;
    } while (offset !== undefined && documents.length < limit);
    return { documents, ...(offset !== undefined && { next: JSON.stringify(offset) }) };
  }

  /** Where a page begins, and a point to pass over. */
  async #beginOf(
    after: PageRequest['after'],
    options: CallOptions,
  ): Promise<{ offset: ForeignId | undefined; after: ForeignId | undefined }> {
    if (after === undefined) return { offset: undefined, after: undefined };
    if (typeof after === 'string') return { offset: offsetOf(after), after: undefined };
    const { documentId } = after;
    if (!this.#reader.grouped) {
      const id = pointIdOf(documentId);
      if (id === undefined) throw noPlace(documentId);
      return { offset: id, after: id };
    }
    const filter = { must: [ofDocuments(this.#reader, [documentId])] };
    const [first] = (await this.#points.scroll({ filter, limit: 1, keys: [] }, options)).points;
    if (!first) throw noPlace(documentId);
    return { offset: first.id, after: first.id };
  }

  /** Those points of a page that are the first of their documents, and so stand for them. */
  async #heads(
    points: readonly ForeignPoint[],
    filter: QdrantFilter,
    options: CallOptions,
  ): Promise<{ id: ForeignId; documentId: string }[]> {
    const named = points.map(({ id, payload }) => ({ id, documentId: this.#reader.documentId(id, payload) }));
    if (!this.#reader.grouped || named.length === 0) return named;
    const firsts = new Map<string, ForeignId>();
    const ids = [...new Set(named.map(({ documentId }) => documentId))];
    for (const group of groupsOf(ids)) {
      const matching = { must: [ofDocuments(this.#reader, group), ...(filter.must ? [filter] : [])] };
      for await (const { id, payload } of this.#each(matching, this.#reader.placeKeys, options)) {
        const documentId = this.#reader.documentId(id, payload);
        const before = firsts.get(documentId);
        if (before === undefined || comparePoints(id, before) < 0) firsts.set(documentId, id);
      }
    }
    return named.filter(({ id, documentId }) => firsts.get(documentId) === id);
  }

  /** Documents by id, with all their passages. */
  async #documents(
    ids: readonly string[],
    withVectors: boolean,
    options: CallOptions,
  ): Promise<Map<string, FullDocument>> {
    const documents = new Map<string, FullDocument>();
    if (!this.#reader.grouped) {
      const points = ids.map(pointIdOf).filter((id) => id !== undefined);
      for (const point of await this.#points.retrieve(points, { keys: true, withVectors }, options)) {
        const document = this.#documentOf([point]);
        documents.set(document.documentId, document);
      }
      return documents;
    }
    for (const group of groupsOf(ids)) {
      const passages = new Map<string, ForeignPoint[]>();
      const filter = { must: [ofDocuments(this.#reader, group)] };
      for await (const point of this.#each(filter, true, options, withVectors)) {
        const documentId = this.#reader.documentId(point.id, point.payload);
        const own = passages.get(documentId) ?? [];
        own.push(point);
        if (own.length > MAX_PASSAGES) throw tooManyPassages(documentId);
        passages.set(documentId, own);
      }
      for (const [documentId, points] of passages) documents.set(documentId, this.#documentOf(points));
    }
    return documents;
  }

  /** For each document the ids of its points, in the order of its passages. */
  async #places(ids: readonly string[], options: CallOptions): Promise<Map<string, ForeignId[]>> {
    const points = new Map<string, ForeignPoint[]>();
    for (const group of groupsOf([...new Set(ids)])) {
      const filter = { must: [ofDocuments(this.#reader, group)] };
      for await (const point of this.#each(filter, this.#reader.placeKeys, options)) {
        const documentId = this.#reader.documentId(point.id, point.payload);
        points.set(documentId, [...(points.get(documentId) ?? []), point]);
      }
    }
    return new Map([...points].map(([id, own]) => [id, this.#inOrder(own).map((point) => point.id)]));
  }

  /** Every point of a filter, in the order of ids. */
  async *#each(
    filter: QdrantFilter,
    keys: string[] | true,
    options: CallOptions,
    withVectors = false,
  ): AsyncGenerator<ForeignPoint, void, undefined> {
    const limit = withVectors || keys === true ? PAGE_VECTORS : PAGE_POINTS;
    let offset: ForeignId | undefined;
    do {
      const page = await this.#points.scroll({ filter, limit, keys, offset, withVectors }, options);
      yield* page.points;
      offset = page.next;
    } while (offset !== undefined);
  }

  #inOrder(points: readonly ForeignPoint[]): ForeignPoint[] {
    const place = ({ payload }: ForeignPoint): number => this.#reader.place(payload);
    return [...points].sort((a, b) => {
      const [mine, theirs] = [place(a), place(b)];
      return mine === theirs ? comparePoints(a.id, b.id) : mine - theirs;
    });
  }

  #documentOf(points: readonly ForeignPoint[]): FullDocument {
    const ordered = this.#inOrder(points);
    const [first] = ordered;
    const passages = ordered.map((point) => this.#passageOf(point));
    const title = this.#reader.title(first!.payload);
    const metadata = this.#reader.metadata(first!.payload);
    // The text of several passages may repeat itself at their edges, so that nobody knows the whole.
    const text = passages.length === 1 ? passages[0]!.text : undefined;
    return {
      tenant: TENANT,
      documentId: this.#reader.documentId(first!.id, first!.payload),
      title,
      ...(text !== undefined && { text }),
      textOmitted: false,
      metadata,
      version: ADOPTED_VERSION,
      contentHash: adoptedHash([title, passages.map(({ text: own = null }) => own), metadata]),
      passages,
    };
  }

  #passageOf({ id, payload, vector }: ForeignPoint): StoredPassage {
    const text = this.#reader.text(payload);
    return {
      ...(text !== undefined && { text }),
      ...(vector && { vector: scaled(vector, `the vector of point ${id}`) }),
    };
  }

  #layout(): SearchLayout {
    const reader = this.#reader;
    const { vector: dense, distance } = this.adoption;
    const isEuclid = distance === 'Euclid';
    return {
      dense,
      keys: ({ withText = true, withMetadata = true }) => {
        const { id, title, text, metadata } = reader.mapping;
        const paths = [id, title, ...(withText ? [text] : [])].filter((path) => path !== '');
        if (!withMetadata) return rootsOf(paths);
        return metadata === '' ? true : rootsOf([...paths, metadata]);
      },
      filter: ({ filter }, without) =>
        adoptedFilter(
          reader,
          filter,
          ...(without.length === 0 ? [] : [{ must_not: [ofDocuments(reader, without)] }]),
        ),
      // Of unit vectors a and b: |a - b|² = 2 - 2 cos(a, b).
      threshold: (score) =>
        isEuclid ? Math.sqrt(Math.max(0, 2 - 2 * (score - SLACK))) + SLACK : score - SLACK,
      read: (points) =>
        points.map((point) =>
          this.#scored(point, isEuclid && point.score !== null ? 1 - point.score ** 2 / 2 : point.score),
        ),
    };
  }

  #scored({ id, payload: found }: RawPoint, score: number | null): ScoredPoint {
    const payload = found ?? {};
    const documentId = this.#reader.documentId(id, payload);
    const text = this.#reader.text(payload);
    return {
      id: id as string,
      score,
      payload: {
        tenant: TENANT,
        document: documentId,
        document_id: documentId,
        passage: 0,
        title: this.#reader.title(payload),
        ...(text !== undefined && { text }),
        metadata: this.#reader.metadata(payload),
        version: ADOPTED_VERSION,
      },
    };
  }
}

/** The keys of the payload that paths begin with, as Qdrant takes them. */
function rootsOf(paths: readonly string[]): string[] {
  return [...new Set(paths.map((path) => keyPath(pathOf(path).slice(0, 1))))];
}

function* groupsOf<Item>(items: readonly Item[]): Generator<Item[], void, undefined> {
  for (let start = 0; start < items.length; start += GROUP_DOCUMENTS) {
    yield items.slice(start, start + GROUP_DOCUMENTS);
  }
}

/** A vector of unit length, as every store gives them. */
function scaled(vector: Float32Array, what: string): Float32Array {
  const factor = unitFactor(vector, what);
  return factor === 1 ? vector : vector.map((component) => component * factor);
}

function storedPart({ version, contentHash, textOmitted, passages }: FullDocument): StoredDocument {
  return { version, contentHash, textOmitted, passages: passages.length };
}

function offsetOf(after: string): ForeignId {
  const wrong = (): StoreError =>
    invalidArgument(`there is no page after ${JSON.stringify(after)}; use the "next" of a page`);
  let id: unknown;
  try {
    id = JSON.parse(after);
  } catch {
    throw wrong();
  }
  if (pointIdOf(String(id)) !== id) throw wrong();
  return id as ForeignId;
}

function noPlace(documentId: string): StoreError {
  return invalidArgument(
    `there is no document ${JSON.stringify(documentId)} to begin after, in a collection of others; begin at the beginning`,
  );
}

function tooManyPassages(documentId: string): StoreError {
  return new StoreError(
    'STORE_UNSUPPORTED',
    `document ${JSON.stringify(documentId)} has more than ${MAX_PASSAGES} points; adopt the collection with another --id-field, ` +
      'or with --id-field "" for a document for each point',
  );
}
