import { checkDimensions, unitFactor } from '../check.ts';
import { StoreError } from '../errors.ts';
import { bestFirst, fuse, page, type Ranked, rankingDepth } from '../ranking.ts';
import type { SearchHit, SearchQuery } from '../queries.ts';
import type { CallOptions } from '../store.ts';
import { anyOf, ofTenant } from './filters.ts';
import { JsonWriter } from './json.ts';
import { DENSE, LEAST_SCORE, type PointPayload, SPARSE } from './layout.ts';
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
interface Found extends Ranked {
  /** Id of its head. */
  id: string;
  payload: Partial<PointPayload>;
}

/** Most points that one request asks for, to bound the size of an answer. */
const MAX_POINTS = 10_000;

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
  readonly #points: Points;
  readonly #dimensions: number;
  readonly #settings: SearchSettings;
  readonly #json = new JsonWriter();
  /** Passages to ask for per document: what the last searches needed. */
  #passagesPerDocument = 1;

  constructor(points: Points, dimensions: number, settings: SearchSettings) {
    this.#points = points;
    this.#dimensions = dimensions;
    this.#settings = settings;
  }

  /** @param query has been checked */
  async search(query: SearchQuery, options: CallOptions): Promise<SearchHit[]> {
    const { vector, sparse, scoreThreshold } = query;
    // The threshold is for fused scores only, which differ in kind from those of a ranking.
    const threshold = vector && sparse ? undefined : scoreThreshold;
    const rankings: Promise<Found[]>[] = [];
    if (vector) {
      checkDimensions(vector, this.#dimensions, 'query vector');
      const factor = unitFactor(vector, 'query vector');
      const part = this.#json.raw('{"query":').vector(vector, factor).raw(`,"using":"${DENSE}",`).take();
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
    return page(second ? fuse(first!, second) : first!, query).map((found) => hit(found, query));
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
    // One more than is wanted tells whether the last one's score is that of others.
    const first = Math.min(MAX_POINTS, Math.ceil((depth + 1) * this.#passagesPerDocument));
    for (let limit = first; ; limit = Math.min(MAX_POINTS, 2 * limit)) {
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
    const { tenant, filter, withText = true, withMetadata = true } = query;
    const { hnswEf, exact, binary } = this.#settings;
    const { oversampling = binary ? (query.oversampling ?? BINARY_OVERSAMPLING) : undefined } =
      this.#settings;
    const quantization = oversampling === undefined ? undefined : { rescore: true, oversampling };
    const params = { hnsw_ef: hnswEf ?? query.hnswEf, exact: exact || undefined, quantization };
    const keys = ['tenant', 'document', 'document_id', 'passage', 'title', 'version'];
    if (withText) keys.push('text');
    if (withMetadata) keys.push('metadata');
    const conditions = without.length === 0 ? [] : [{ must_not: [anyOf('document', without)] }];
    const rest = JSON.stringify({
      filter: ofTenant(tenant, filter, ...conditions),
      limit,
      with_payload: keys,
      params,
      score_threshold: threshold === undefined ? undefined : threshold - THRESHOLD_SLACK,
    });
    return this.#points.query(Buffer.concat([part, Buffer.from(rest.slice(1))]), options);
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
  found.set(document, { id: document, documentId, passage, score, payload });
}

function hit({ documentId, score, passage, payload }: Found, query: SearchQuery): SearchHit {
  const { withText = true, withMetadata = true } = query;
  const { title = '', version = 0, text, metadata } = payload;
  return {
    documentId,
    score,
    passage,
    title,
    ...(withText && text !== undefined && { text }),
    ...(withMetadata && { metadata: metadata ?? {} }),
    version,
  };
}
