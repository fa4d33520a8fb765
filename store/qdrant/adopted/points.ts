import type { Schemas } from '@qdrant/js-client-rest';
import { StoreError } from '../../errors.ts';
import type { CallOptions } from '../../store.ts';
import type { QdrantFilter } from '../filters.ts';
import type { Queried, RawPoint } from '../search.ts';
import type { Transport } from '../transport/transport.ts';
import { type ForeignId, isObject, type Payload } from './mapping.ts';

/** A point that others wrote. */
export interface ForeignPoint {
  id: ForeignId;
  payload: Payload;
  /** Where it was asked for, and the point has one. */
  vector?: Float32Array;
}

/** A point as an answer has it. */
interface Raw {
  id: ForeignId;
  payload?: Payload | null;
  vector?: unknown;
}

/** Most ids in one request to retrieve points. */
const RETRIEVE_IDS = 200;

/**
 * The points of a collection that others made, through the part of Qdrant's REST API that reads. A point without the
 * vector is none of them: nothing could find it, and no copy could hold it.
 */
export class ForeignPoints implements Queried {
  readonly #transport: Transport;
  readonly #collection: string;
  readonly #path: string;
  /** Name of the vectors. */
  readonly #vector: string;

  constructor(transport: Transport, collection: string, vector: string) {
    this.#transport = transport;
    this.#collection = collection;
    this.#path = `/collections/${encodeURIComponent(collection)}`;
    this.#vector = vector;
  }

  /** Points by id, in any order, without those that are not there. @param keys of the payload; `true` for all */
  async retrieve(
    ids: readonly ForeignId[],
    read: { keys: string[] | true; withVectors?: boolean },
    options: CallOptions,
  ): Promise<ForeignPoint[]> {
    const points: ForeignPoint[] = [];
    for (let start = 0; start < ids.length; start += RETRIEVE_IDS) {
      const filter = { must: [{ has_id: ids.slice(start, start + RETRIEVE_IDS) }] };
      points.push(...(await this.scroll({ filter, limit: RETRIEVE_IDS, ...read }, options)).points);
    }
    return points;
  }

  /** Points that match a filter, ordered by id. */
  async scroll(
    request: {
      filter: QdrantFilter;
      limit: number;
      keys: string[] | true;
      offset?: ForeignId | undefined;
      withVectors?: boolean;
    },
    options: CallOptions,
  ): Promise<{ points: ForeignPoint[]; next: ForeignId | undefined }> {
    const { filter, limit, offset } = request;
    const body: Schemas['ScrollRequest'] = {
      filter: this.#withVector(filter),
      limit,
      ...this.#wanted(request),
      ...(offset !== undefined && { offset }),
    };
    const page = await this.#post<{ points: Raw[]; next_page_offset: ForeignId | null }>(
      'scroll',
      '/points/scroll',
      body,
      options,
    );
    const next = page.next_page_offset ?? undefined;
    if (next !== undefined) checkId(next);
    return { points: page.points.map((point) => this.#point(point)), next };
  }

  async count(filter: QdrantFilter, options: CallOptions, exact = true): Promise<number> {
    const body: Schemas['CountRequest'] = { filter: this.#withVector(filter), exact };
    return (await this.#post<{ count: number }>('count', '/points/count', body, options)).count;
  }

  /** Points by chance, spread over the whole collection. */
  async sample(
    limit: number,
    read: { keys: string[] | true; filter?: QdrantFilter },
    options: CallOptions,
  ): Promise<ForeignPoint[]> {
    const body: Schemas['QueryRequest'] = {
      query: { sample: 'random' },
      limit,
      ...this.#wanted({ ...read, withVectors: true }),
      filter: this.#withVector(read.filter ?? {}),
    };
    const { points } = await this.#post<{ points: Raw[] }>('sample', '/points/query', body, options);
    return points.map((point) => this.#point(point));
  }

  async query(body: Buffer, options: CallOptions): Promise<RawPoint[]> {
    const { points } = await this.#send<{ points: RawPoint[] }>(
      { operation: 'query', path: '/points/query', body, hedged: true },
      options,
    );
    for (const { id } of points) checkId(id);
    return points;
  }

  #wanted({ keys, withVectors = false }: { keys: string[] | true; withVectors?: boolean }): {
    with_payload: string[] | boolean;
    with_vector: string[] | boolean;
  } {
    const named = this.#vector === '' ? true : [this.#vector];
    // An empty list is all of the payload to some versions.
    return {
      with_payload: keys === true ? true : keys.length > 0 ? keys : false,
      with_vector: withVectors ? named : false,
    };
  }

  #withVector(filter: QdrantFilter): QdrantFilter {
    const isEmpty = Object.keys(filter).length === 0;
    return { must: [{ has_vector: this.#vector }, ...(isEmpty ? [] : [filter])] };
  }

  #point({ id, payload, vector }: Raw): ForeignPoint {
    checkId(id);
    const own = isObject(vector) ? vector[this.#vector] : vector;
    return {
      id,
      payload: payload ?? {},
      ...(Array.isArray(own) && { vector: Float32Array.from(own as number[]) }),
    };
  }

  #post<Result>(operation: string, path: string, body: object, options: CallOptions): Promise<Result> {
    return this.#send({ operation, path, body: JSON.stringify(body) }, options);
  }

  #send<Result>(
    call: { operation: string; path: string; body: string | Buffer; hedged?: boolean },
    options: CallOptions,
  ): Promise<Result> {
    return this.#transport.call<Result>(
      { method: 'POST', collection: this.#collection, timed: true, ...call, path: this.#path + call.path },
      options,
    );
  }
}

/** JSON's numbers end where those of ids go on. */
function checkId(id: ForeignId): void {
  if (typeof id === 'string' || Number.isSafeInteger(id)) return;
  throw new StoreError(
    'STORE_UNSUPPORTED',
    `a point of the collection has the number ${id} as its id, and numbers above 2^53 - 1 can't be told from their neighbours ` +
      'here; write the points again under UUIDs or smaller numbers',
  );
}
