import type { Answer, Seen } from './fake-server.ts';
import { RECORDED } from './recorded.ts';

interface StoredPoint {
  id: string;
  payload: Record<string, unknown>;
}

/**
 * Stands in for a Qdrant server where no real one is: it makes collections and keeps points, and answers in the form of
 * the recordings. It does not evaluate filters: what depends on them is tested against a real server.
 */
export class StandIn {
  readonly collections = new Map<string, Record<string, unknown>>();
  readonly aliases = new Map<string, string>();
  readonly points = new Map<string, StoredPoint>();
  version = '1.18.3';

  readonly answer = ({ method, path, body }: Seen): Answer => {
    const request = (body === '' ? {} : JSON.parse(body)) as Record<string, unknown>;
    if (path === '/') return { status: 200, headers: {}, body: { title: 'qdrant', version: this.version } };
    if (path === '/aliases') return { result: { aliases: this.#aliasList() } };
    if (path === '/collections') {
      return { result: { collections: [...this.collections.keys()].map((name) => ({ name })) } };
    }
    if (path === '/collections/aliases') return this.#alias(request);
    const [, , name = '', ...rest] = path.split('/');
    const collection = this.collections.get(name);
    if (method === 'PUT' && rest.length === 0) return this.#create(name, request);
    if (!collection) return RECORDED['describe missing collection']!;
    switch (`${method} ${rest.join('/')}`) {
      case 'GET ':
        return { result: this.#describe(collection) };
      case 'PATCH ':
        return this.#configure(collection, request);
      case 'DELETE ':
        return { result: this.collections.delete(name) };
      case 'PUT points':
        for (const point of request['points'] as StoredPoint[]) this.points.set(point.id, point);
        return COMPLETED;
      case 'POST points':
        return { result: (request['ids'] as string[]).flatMap((id) => this.points.get(id) ?? []) };
      case 'POST points/scroll':
        return { result: { points: this.#heads(), next_page_offset: null } };
      case 'POST points/count':
        return {
          result: {
            count: [...this.points.values()].filter(({ payload }) => payload['passage'] !== 0).length,
          },
        };
      case 'POST points/query':
        return {
          result: { points: this.#heads().map((point, index) => ({ ...point, score: 1 - index / 10 })) },
        };
      case 'POST points/batch':
        this.#setPayload(request);
        return COMPLETED;
      default:
        return COMPLETED;
    }
  };

  /** Sets payload of the points that the filter names in any way. */
  #setPayload({ operations }: Record<string, unknown>): void {
    for (const { set_payload: set } of operations as {
      set_payload?: { payload: object; filter: object };
    }[]) {
      const filter = JSON.stringify(set?.filter ?? {});
      for (const { id, payload } of this.points.values())
        if (filter.includes(id)) Object.assign(payload, set?.payload);
    }
  }

  #heads(): StoredPoint[] {
    return [...this.points.values()].filter(({ payload }) => payload['passage'] === 0);
  }

  #aliasList(): unknown[] {
    return [...this.aliases].map(([alias, collection]) => ({
      alias_name: alias,
      collection_name: collection,
    }));
  }

  #alias({ actions }: Record<string, unknown>): Answer {
    for (const { create_alias: made } of actions as {
      create_alias: { alias_name: string; collection_name: string };
    }[]) {
      this.aliases.set(made.alias_name, made.collection_name);
    }
    return { result: true };
  }

  #create(name: string, request: Record<string, unknown>): Answer {
    if (this.collections.has(name)) {
      return {
        status: 409,
        headers: {},
        body: { status: { error: `Wrong input: Collection \`${name}\` already exists!` } },
      };
    }
    this.collections.set(name, request);
    return { result: true };
  }

  #describe({
    vectors,
    replication_factor,
    metadata,
    quantization_config,
    optimizers_config,
  }: Record<string, unknown>) {
    return {
      status: 'green',
      points_count: this.points.size,
      config: {
        params: { vectors, replication_factor: replication_factor ?? 1 },
        optimizer_config: { indexing_threshold: 10_000, ...(optimizers_config as object | undefined) },
        quantization_config: quantization_config ?? null,
        metadata,
      },
      payload_schema: {},
    };
  }

  #configure(collection: Record<string, unknown>, changes: Record<string, unknown>): Answer {
    const metadata = {
      ...(collection['metadata'] as object),
      ...(changes['metadata'] as object | undefined),
    };
    collection['metadata'] = Object.fromEntries(
      Object.entries(metadata).filter(([, value]) => value !== null),
    );
    collection['optimizers_config'] ??= {};
    Object.assign(collection['optimizers_config'] as object, changes['optimizers_config']);
    return { result: true };
  }
}

const COMPLETED: Answer = { result: { operation_id: 1, status: 'completed' } };
