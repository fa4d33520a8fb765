import { Worker } from 'node:worker_threads';
import { checkLimit, checkQuery, checkText } from '../check.ts';
import { StoreError } from '../errors.ts';
import { checkFilter } from '../filter.ts';
import type {
  CallOptions,
  CollectionInfo,
  DocumentKey,
  DocumentWrite,
  DocumentWriteResult,
  Filter,
  ScrollPage,
  SearchHit,
  SearchQuery,
  SpaceKey,
  Store,
  StoredDocument,
} from '../store.ts';
import type { Engine } from './engine.ts';
import { prepareWrites, unitVector } from './prepare.ts';
import type { Operation, Request, Response, SerializedError, WorkerOptions } from './protocol.ts';

/** How to open an embedded store. */
export interface EmbeddedStoreOptions {
  /** Where its files are; made if it is not there. Several processes of one machine may use it at once. */
  directory: string;
  /** Told, once, when a store has outgrown this home. */
  log?: { warn(message: string): void };
  /** How long to wait for another process's write before giving up, in milliseconds. @default 5000 */
  busyTimeoutMs?: number;
}

interface Pending {
  resolve: (value: unknown) => void;
  reject: (reason: unknown) => void;
}

/** `setTimeout` fires at once for more than this. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * Opens the store in a directory.
 *
 * @throws {StoreError} where the directory cannot be used, or holds something else
 */
export async function openEmbeddedStore(options: EmbeddedStoreOptions): Promise<EmbeddedStore> {
  const store = new EmbeddedStore(options);
  await store.opened;
  return store;
}

/**
 * Vectors in process and on disk: SQLite as the truth, an exact scan in memory. A worker thread does what blocks, so
 * the event loop stays free. Made by {@link openEmbeddedStore}.
 */
export class EmbeddedStore implements Store {
  readonly kind = 'embedded';
  /** Settles when the database has been opened. */
  readonly opened: Promise<void>;
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  readonly #exited: Promise<void>;
  #lastId = 0;
  /** Why no call can be made any more. */
  #ended: StoreError | undefined;

  constructor({ directory, log, busyTimeoutMs = 5000 }: EmbeddedStoreOptions) {
    const workerData: WorkerOptions = { directory, busyTimeoutMs };
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData,
      name: 'embedded-store',
    });
    this.opened = new Promise((resolve, reject) => {
      this.#pending.set(0, { resolve: () => resolve(), reject });
    });
    this.#worker.on('message', (response: Response) => {
      if ('warning' in response) {
        log?.warn(response.warning);
        return;
      }
      const pending = this.#pending.get(response.id);
      if ('error' in response) pending?.reject(deserialize(response.error));
      else pending?.resolve(response.value);
    });
    this.#worker.on('error', (cause) => this.#end(`its worker thread failed: ${String(cause)}`, cause));
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.#end('its worker thread ended');
        resolve();
      });
    });
  }

  ensureCollection(name: string, space: SpaceKey, options?: CallOptions): Promise<CollectionInfo> {
    return this.#call('ensureCollection', [name, space], options);
  }

  describeCollection(name: string, options?: CallOptions): Promise<CollectionInfo> {
    return this.#call('describeCollection', [name], options);
  }

  listCollections(options?: CallOptions): Promise<CollectionInfo[]> {
    return this.#call('listCollections', [], options);
  }

  async writeDocuments(
    collection: string,
    writes: readonly DocumentWrite[],
    options?: CallOptions,
  ): Promise<DocumentWriteResult[]> {
    const { prepared, vectors } = prepareWrites(writes);
    return await this.#call('writeDocuments', [collection, prepared], options, [vectors]);
  }

  lookupDocuments(
    collection: string,
    keys: readonly DocumentKey[],
    options?: CallOptions,
  ): Promise<(StoredDocument | undefined)[]> {
    return this.#call('lookupDocuments', [collection, keys], options);
  }

  async deleteByFilter(
    collection: string,
    tenant: string,
    filter: Filter,
    options?: CallOptions,
  ): Promise<number> {
    checkText(tenant, 'tenant');
    checkFilter(filter);
    return await this.#call('deleteByFilter', [collection, tenant, filter], options);
  }

  async search(collection: string, query: SearchQuery, options?: CallOptions): Promise<SearchHit[]> {
    checkQuery(query);
    const vector = query.vector && unitVector(query.vector, 'query vector');
    return await this.#call('search', [collection, { ...query, ...(vector && { vector }) }], options);
  }

  async count(
    collection: string,
    tenant: string,
    filter?: Filter,
    options?: CallOptions,
  ): Promise<{ documents: number; passages: number }> {
    checkText(tenant, 'tenant');
    if (filter) checkFilter(filter);
    return await this.#call('count', [collection, tenant, filter], options);
  }

  async scroll(
    collection: string,
    tenant: string,
    page: { limit: number; after?: string; filter?: Filter },
    options?: CallOptions,
  ): Promise<ScrollPage> {
    checkText(tenant, 'tenant');
    checkLimit(page.limit);
    if (page.filter) checkFilter(page.filter);
    return await this.#call('scroll', [collection, tenant, page], options);
  }

  aliases(options?: CallOptions): Promise<Map<string, string>> {
    return this.#call('aliases', [], options);
  }

  switchAlias(alias: string, physical: string, options?: CallOptions): Promise<void> {
    return this.#call('switchAlias', [alias, physical], options);
  }

  dropCollection(physical: string, options?: CallOptions): Promise<void> {
    return this.#call('dropCollection', [physical], options);
  }

  check(options?: CallOptions): Promise<void> {
    return this.#call('check', [], options);
  }

  async close(): Promise<void> {
    this.#ended ??= unavailable('it has been closed');
    this.#post({ close: true });
    await this.#exited;
  }

  async #call<Name extends Operation>(
    operation: Name,
    parameters: Parameters<Engine[Name]>,
    { signal, deadline }: CallOptions = {},
    transfer: ArrayBuffer[] = [],
  ): Promise<ReturnType<Engine[Name]>> {
    signal?.throwIfAborted();
    const remainingMs = deadline === undefined ? undefined : deadline - Date.now();
    if (remainingMs !== undefined && remainingMs <= 0) throw deadlineExceeded();
    if (this.#ended) throw this.#ended;

    const id = ++this.#lastId;
    let cancel: (reason: unknown) => void;
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      cancel = (reason) => {
        reject(reason);
        this.#post({ cancel: id });
      };
    });
    const onAbort = () => cancel(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer =
      remainingMs === undefined
        ? undefined
        : setTimeout(() => cancel(deadlineExceeded()), Math.min(remainingMs, MAX_TIMEOUT_MS));
    try {
      this.#post({ id, operation, parameters } as Request, transfer);
      return (await answer) as ReturnType<Engine[Name]>;
    } finally {
      this.#pending.delete(id);
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #post(request: Request, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(request, transfer);
  }

  #end(why: string, cause?: unknown): void {
    this.#ended ??= unavailable(why, cause);
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
  }
}

function deserialize({ reason, message, metadata, stack }: SerializedError): StoreError {
  const error = new StoreError(reason, message, { metadata });
  if (stack !== undefined) error.stack = stack;
  return error;
}

function deadlineExceeded(): DOMException {
  return new DOMException('the deadline of the store call has passed', 'TimeoutError');
}

function unavailable(why: string, cause?: unknown): StoreError {
  return new StoreError('STORE_UNAVAILABLE', `the embedded store cannot be used: ${why}`, { cause });
}
