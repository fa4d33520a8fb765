import { checkDimensions, unitFactor } from '../check.ts';
import { StoreError } from '../errors.ts';
import { fuse, type LegPlaces, rankingDepth } from '../fusion.ts';
import { bestFirst, page, type Ranked } from '../ranking.ts';
import type { SearchHit, SearchQuery } from '../queries.ts';
import type { CallOptions } from '../store.ts';
import { anyOf, ofTenant, type QdrantFilter } from './filters.ts';
import { JsonWriter } from './json.ts';
import { DENSE, LEAST_SCORE, METADATA_KEYS, type PointPayload, SPARSE } from './layout.ts';
import { metadataOf } from './metadata.ts';
import type { Points, ScoredPoint } from './points.ts';

/** Settings of searches. */
export interface SearchSettings {
  hnswEf: number | undefined;
  oversampling: number | undefined;
  exact: boolean;
  /** Whether the collection keeps vectors as bits. */
  binary: boolean;
}

/** A document that a search found, with the payload of its best passage. */
export interface Found extends Ranked {
  /** Of a hybrid search. */
  legs?: LegPlaces;
  /** One value for tenant and document id: in our own layout the id of its head. */
  id: string;
  /** Of its best passage. */
  point: string | number;
  payload: Partial<PointPayload>;
}

/** A search in what a collection calls its dense vectors and its payload. */
export interface SearchLayout {
  /** Name of the dense vectors; empty for vectors without a name. */
  readonly dense: string;
  /** Keys of the payload that a hit needs; `true` for all. */
  keys(query: SearchQuery): string[] | true;
  /** @param without documents that are left out, by {@link Found.id} */
  filter(query: SearchQuery, without: readonly string[]): QdrantFilter;
  /** What to ask the server for, where scores from a threshold on are wanted. */
  threshold(score: number): number;
  /** Points that the server found, as points of our own layout, with cosines as scores. */
  read(points: readonly RawPoint[]): ScoredPoint[];
}

/** A point as the server found it. */
export interface RawPoint {
  id: string | number;
  score: number | null;
  payload?: Readonly<Record<string, unknown>> | null;
}

/** Points that can be searched. */
export interface Queried {
  /** Best points first. @param body a `QueryRequest` */
  query(body: Buffer, options: CallOptions): Promise<RawPoint[]>;
  /** Those of some points that match a filter, where they can be read so. */
  matching?: Points['matching'];
}

/** Our own layout. */
const OWN: SearchLayout = {
  dense: DENSE,
  keys: ({ idsOnly = false, withText = true, withMetadata = true }) => {
    const keys = ['tenant', 'document', 'document_id', 'passage'];
    if (idsOnly) return keys;
    keys.push('title', 'version');
    if (withText) keys.push('text');
    if (withMetadata) keys.push(...METADATA_KEYS);
    return keys;
  },
  filter: ({ tenant, filter }, without) =>
    ofTenant(tenant, filter, ...(without.length === 0 ? [] : [{ must_not: [anyOf('document', without)] }])),
  threshold: (score) => score - THRESHOLD_SLACK,
  read: (points) => points as ScoredPoint[],
};

/** Most points that one request asks for, to bound the size of an answer. */
const MAX_POINTS = 10_000;

/**
 * From so many points on that are not returned, a search asks for ids first, and then for the payload of its hits. That takes
 * the same CPU with texts of 140 characters, and half with texts of 1 100.
 */
const SPARED_PAYLOADS = 90;

/** Candidates for each hit if vectors are kept as bits, which order candidates only roughly. */
const BINARY_OVERSAMPLING = 3;

/**
 * Subtracted from a threshold: the server compares strictly, in float32. The exact comparison follows here.
 */
const THRESHOLD_SLACK = 1e-5;

/**
 * Searches one collection. Keep it between searches: it learns how many passages of a document an answer has.
 */
export class Searcher {
  readonly #points: Queried;
  readonly #dimensions: number;
  readonly #settings: SearchSettings;
  readonly #layout: SearchLayout;
  readonly #json = new JsonWriter();
  /** Passages to ask for per document: what the last searches needed. */
  #passagesPerDocument = 1;

  constructor(points: Queried, dimensions: number, settings: SearchSettings, layout: SearchLayout = OWN) {
    this.#points = points;
    this.#dimensions = dimensions;
    this.#settings = settings;
    this.#layout = layout;
  }

  /** @param query has been checked */
  async search(query: SearchQuery, options: CallOptions): Promise<SearchHit[]> {
    const spared = this.#sparesPayloads(query) ? await this.#searchIds(query, options) : undefined;
    return spared ?? (await this.find(query, options)).map((found) => hit(found, query));
  }

  /** Whether a search asks for many more points than it returns. */
  #sparesPayloads(query: SearchQuery): boolean {
    const { limit, vector, sparse, idsOnly = false } = query;
    const rankings = vector && sparse ? 2 : 1;
    return !idsOnly && rankings * this.#firstLimit(rankingDepth(query)) - limit >= SPARED_PAYLOADS;
  }

  /**
   * Searches for ids, and reads the payload of the hits alone.
   *
   * @returns `undefined` where one of them has changed in between, and the filter does not hold for it any more
   */
  async #searchIds(query: SearchQuery, options: CallOptions): Promise<SearchHit[] | undefined> {
    const found = await this.find({ ...query, idsOnly: true }, options);
    if (found.length === 0) return [];
    const ids = found.map(({ point }) => String(point));
    const filter = this.#layout.filter(query, []);
    const points = await this.#points.matching?.(ids, filter, this.#layout.keys(query), options);
    const hits: SearchHit[] = [];
    for (const one of found) {
      const payload = points?.get(String(one.point))?.payload;
      if (payload === undefined) return undefined;
      hits.push(hit({ ...one, payload }, query));
    }
    return hits;
  }

  /** Points to ask for first. One more document than is wanted tells whether the last one's score is that of others. */
  #firstLimit(depth: number): number {
    return Math.min(MAX_POINTS, Math.ceil((depth + 1) * this.#passagesPerDocument));
  }

  /** The documents of a search, with what is known of their best passages. @param query has been checked */
  async find(query: SearchQuery, options: CallOptions): Promise<Found[]> {
    const { vector, sparse, scoreThreshold } = query;
    // The threshold is for fused scores only, which differ in kind from those of a ranking.
    const threshold = vector && sparse ? undefined : scoreThreshold;
    const rankings: Promise<Found[]>[] = [];
    if (vector) {
      checkDimensions(vector, this.#dimensions, 'query vector');
      const factor = unitFactor(vector, 'query vector');
      const { dense } = this.#layout;
      const using = dense === '' ? ',' : `,"using":${JSON.stringify(dense)},`;
      const part = this.#json.raw('{"query":').vector(vector, factor).raw(using).take();
      rankings.push(this.#rank(part, query, { threshold, least: -Infinity }, options));
    }
    if (sparse) {
      const empty = sparse.indices.length === 0;
      const part = this.#json.raw('{"query":').sparse(sparse).raw(`,"using":"${SPARSE}",`).take();
      rankings.push(
        empty ? Promise.resolve([]) : this.#rank(part, query, { threshold, least: LEAST_SCORE }, options),
      );
    }
    const [first, second] = await Promise.all(rankings);
    return page(second ? fuse(first!, second, query.fusion) : first!, query);
  }

  /**
   * The best documents by one kind of vector; `part` begins the request. Asks for a few more points than are
   * wanted. Asks again, without the documents found so far, if those took all the places or documents that
   * were not found may tie with the last one.
   */
  async #rank(
    part: Buffer,
    query: SearchQuery,
    { threshold, least }: { threshold: number | undefined; least: number },
    options: CallOptions,
  ): Promise<Found[]> {
    const depth = rankingDepth(query);
    const found = new Map<string, Found>();
    let asked = 0;
    for (let limit = this.#firstLimit(depth); ; limit = Math.min(MAX_POINTS, 2 * limit)) {
      const points = await this.#ask(part, query, threshold, { limit, without: [...found.keys()] }, options);
      asked += points.length;
      for (const point of points) if (point.score === null || point.score >= least) collect(found, point);
      const ranking = [...found.values()].sort(bestFirst);
      // Points past the last one of an answer are not better, but may be equal.
      const last = points.at(-1)?.score ?? 0;
      const complete = ranking.length >= depth && (ranking[depth - 1]!.score > last || asked >= MAX_POINTS);
      if (points.length < limit || last < least || complete) {
        this.#learn(asked, found.size);
        return ranking.slice(0, depth);
      }
    }
  }

  async #ask(
    part: Buffer,
    query: SearchQuery,
    threshold: number | undefined,
    { limit, without }: { limit: number; without: string[] },
    options: CallOptions,
  ): Promise<ScoredPoint[]> {
    const { hnswEf, exact, binary } = this.#settings;
    const { oversampling = binary ? (query.oversampling ?? BINARY_OVERSAMPLING) : undefined } =
      this.#settings;
    const everything = query.exact === true;
    const rescored = everything ? { ignore: true } : { rescore: true, oversampling };
    const quantization = oversampling === undefined ? undefined : rescored;
    const params = {
      hnsw_ef: hnswEf ?? query.hnswEf,
      exact: exact || everything || undefined,
      quantization,
    };
    const rest = JSON.stringify({
      filter: this.#layout.filter(query, without),
      limit,
      with_payload: this.#layout.keys(query),
      params,
      score_threshold: threshold === undefined ? undefined : this.#layout.threshold(threshold),
    });
    const points = await this.#points.query(Buffer.concat([part, Buffer.from(rest.slice(1))]), options);
    return this.#layout.read(points);
  }

  #learn(points: number, documents: number): void {
    if (documents === 0) return;
    const seen = Math.min(16, points / documents);
    // Rise at once, fall slowly: a second request costs more than a few extra points.
    this.#passagesPerDocument =
      seen > this.#passagesPerDocument ? seen : 0.95 * this.#passagesPerDocument + 0.05 * seen;
  }
}

/** Adds a point to the found documents; points come best first. */
function collect(found: Map<string, Found>, { score, payload, id }: ScoredPoint): void {
  if (score === null) {
    throw new StoreError(
      'STORE_INTERNAL',
      `the vector of point ${id}, of document "${payload.document_id}", is broken in Qdrant: its score is not a number; ` +
        'write the document again',
    );
  }
  const { tenant, document, document_id: documentId, passage } = payload;
  // The server reads payloads after the search; this point was deleted in between.
  if (tenant === undefined) return;
  if (document === undefined || documentId === undefined || passage === undefined) {
    throw new StoreError(
      'COLLECTION_FOREIGN',
      `point ${id} was not written by this store; drop it, or the collection`,
    );
  }
  const before = found.get(document);
  if (before && (before.score > score || before.passage < passage)) return;
  found.set(document, { id: document, point: id, documentId, passage, score, payload });
}

/** A document that was found as its caller gets it. */
export function hit({ documentId, score, passage, payload, legs }: Found, query: SearchQuery): SearchHit {
  const { withText = true, withMetadata = true } = query;
  const { title = '', version = 0, text } = payload;
  return {
    documentId,
    score,
    ...(legs && { legs }),
    passage,
    title,
    ...(withText && text !== undefined && { text }),
    ...(withMetadata && { metadata: metadataOf(payload) }),
    version,
  };
}
