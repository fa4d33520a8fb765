import type { Schemas } from '@qdrant/js-client-rest';
import type { CallOptions } from '../store.ts';
import type { SparseVector } from '../document.ts';
import type { QdrantFilter } from './filters.ts';
import type { PointPayload } from './layout.ts';
import type { Transport } from './transport/transport.ts';

/** A point as it is read, with the payload keys that were asked for. */
export interface Point {
  id: string;
  payload: Partial<PointPayload>;
  /** Where it was asked for; without `terms` if there are none. */
  vector?: { dense: number[]; terms?: SparseVector };
}

/** A point that a search found; its score is `null` if the stored vector is broken. */
export interface ScoredPoint extends Point {
  score: number | null;
}

/** A point to write. */
export interface PointWrite {
  id: string;
  json: Buffer;
  /** The name of its write in errors. */
  what: string;
}

/** Most ids in one request to retrieve points. */
const RETRIEVE_IDS = 1000;

/** Most changes in one request, and most characters of JSON in a request of several: a few milliseconds of work. */
const UPDATE_OPERATIONS = 500;
const UPDATE_LENGTH = 2 * 1024 * 1024;

const BEGIN = Buffer.from('{"points":[');
const COMMA = Buffer.from(',');

/** An id that no point has. */
const NOBODY = '00000000-0000-0000-0000-000000000000';

/** The points of one collection, through Qdrant's REST API. */
export class Points {
  readonly #transport: Transport;
  readonly #collection: string;
  readonly #path: string;
  /** For writes whose order counts: with several replicas, one of them has to decide the order. */
  readonly #ordering: string;

  constructor(transport: Transport, collection: string, replicated: boolean) {
    this.#transport = transport;
    this.#collection = collection;
    this.#path = `/collections/${encodeURIComponent(collection)}`;
    this.#ordering = replicated ? '&ordering=medium' : '';
  }

  /** Points by id, in any order, without those that are not there. */
  async retrieve(
    ids: readonly string[],
    keys: string[],
    options: CallOptions,
    withVectors = false,
  ): Promise<Map<string, Point>> {
    const points = new Map<string, Point>();
    for (let start = 0; start < ids.length; start += RETRIEVE_IDS) {
      const request: Schemas['PointRequest'] = {
        ids: ids.slice(start, start + RETRIEVE_IDS),
        with_payload: keys,
        with_vector: withVectors,
      };
      const found = await this.#post<Point[]>('retrieve', '/points', request, options);
      for (const point of found) points.set(point.id, point);
    }
    return points;
  }

  /** Points that match a filter, ordered by id. */
  async scroll(
    request: {
      filter: QdrantFilter;
      limit: number;
      keys: string[];
      offset?: string | undefined;
      withVectors?: boolean;
    },
    options: CallOptions,
  ): Promise<{ points: Point[]; next: string | undefined }> {
    const { filter, limit, keys, offset, withVectors = false } = request;
    const body: Schemas['ScrollRequest'] = {
      filter,
      limit,
      with_payload: keys,
      with_vector: withVectors,
      ...(offset !== undefined && { offset }),
    };
    const page = await this.#post<{ points: Point[]; next_page_offset: string | null }>(
      'scroll',
      '/points/scroll',
      body,
      options,
    );
    return { points: page.points, next: page.next_page_offset ?? undefined };
  }

  /**
   * How many points match a filter.
   *
   * @param read.consistency copies of each shard that are asked; the answer is the least of them. @default any one
   */
  async count(
    filter: QdrantFilter,
    options: CallOptions,
    { exact = true, consistency }: { exact?: boolean; consistency?: number | 'all' } = {},
  ): Promise<number> {
    const body: Schemas['CountRequest'] = { filter, exact };
    const path = `/points/count${consistency === undefined ? '' : `?consistency=${consistency}`}`;
    return (await this.#post<{ count: number }>('count', path, body, options)).count;
  }

  /** Values of a field with an index in the points that match a filter, and how many points have each. */
  async values(
    key: string,
    filter: QdrantFilter,
    limit: number,
    options: CallOptions,
  ): Promise<{ value: string; count: number }[]> {
    const body: Schemas['FacetRequest'] = { key, filter, limit, exact: true };
    const { hits } = await this.#post<{ hits: { value: string; count: number }[] }>(
      'facet',
      '/facet',
      body,
      options,
    );
    return hits;
  }

  /** Best points first. @param body a `QueryRequest` */
  async query(body: Buffer, options: CallOptions): Promise<ScoredPoint[]> {
    const answer = await this.#send<{ points: ScoredPoint[] }>(
      { operation: 'query', path: '/points/query', body, hedged: true },
      options,
    );
    return answer.points;
  }

  /** Those of some points that match a filter at this moment, by id. */
  async matching(
    ids: readonly string[],
    filter: QdrantFilter,
    keys: string[] | true,
    options: CallOptions,
  ): Promise<Map<string, Point>> {
    const both: QdrantFilter = { must: [filter, { has_id: [...ids] }] };
    const request: Schemas['ScrollRequest'] = { filter: both, limit: ids.length, with_payload: keys };
    const body = JSON.stringify(request);
    const page = await this.#send<{ points: Point[] }>(
      { operation: 'scroll', path: '/points/scroll', body, hedged: true },
      options,
    );
    return new Map(page.points.map((point) => [point.id, point]));
  }

  /**
   * Writes points, durably. A point that is there already changes only if the condition holds for it; the
   * answer does not say which points changed.
   */
  async upsert(
    points: readonly PointWrite[],
    write: { condition?: QdrantFilter; ordered?: boolean },
    options: CallOptions,
  ): Promise<void> {
    const { condition, ordered } = write;
    const filter = condition ? `,"update_filter":${JSON.stringify(condition)}` : '';
    const parts = points.flatMap(({ json }, index) => [index === 0 ? BEGIN : COMMA, json]);
    const body = Buffer.concat([...parts, Buffer.from(`]${filter}}`)]);
    const path = `/points?wait=true${ordered ? this.#ordering : ''}`;
    await this.#send({ operation: 'upsert', method: 'PUT', path, body }, options);
  }

  /**
   * Changes the points that match filters, durably and in order. Waits for the last change only: every shard
   * applies changes one after the other, and waiting for each takes twenty times as long.
   */
  async update(operations: readonly Schemas['UpdateOperation'][], options: CallOptions): Promise<void> {
    const parts = operations.map((operation) => JSON.stringify(operation));
    const last = parts.pop();
    if (last === undefined) return;
    for (const request of inRequests(parts)) await this.#update(request, false, options);
    await this.#update([last], true, options);
  }

  /** Whether the server answers a call. */
  answers(options: CallOptions): Promise<boolean> {
    return this.retrieve([NOBODY], [], options).then(
      () => true,
      () => false,
    );
  }

  /** @param operations as JSON */
  async #update(operations: readonly string[], wait: boolean, options: CallOptions): Promise<void> {
    const path = `/points/batch?wait=${wait}${this.#ordering}`;
    await this.#send({ operation: 'update', path, body: `{"operations":[${operations.join()}]}` }, options);
  }

  #post<Result>(operation: string, path: string, body: object, options: CallOptions): Promise<Result> {
    return this.#send({ operation, path, body: JSON.stringify(body) }, options);
  }

  #send<Result>(
    call: { operation: string; path: string; body: string | Buffer; method?: 'PUT'; hedged?: boolean },
    options: CallOptions,
  ): Promise<Result> {
    return this.#transport.call<Result>(
      { method: 'POST', collection: this.#collection, timed: true, ...call, path: this.#path + call.path },
      options,
    );
  }
}

/** Divides changes, as JSON, among requests of bounded size. */
function* inRequests(operations: readonly string[]): Generator<string[], void, undefined> {
  let request: string[] = [];
  let size = 0;
  for (const operation of operations) {
    if (
      request.length > 0 &&
      (request.length === UPDATE_OPERATIONS || size + operation.length > UPDATE_LENGTH)
    ) {
      yield request;
      request = [];
      size = 0;
    }
    request.push(operation);
    size += operation.length;
  }
  if (request.length > 0) yield request;
}
