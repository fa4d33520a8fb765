import type { CountResponse__Output } from '../proto/generated/scalingnote/v1/CountResponse.ts';
import type { DeleteResponse__Output } from '../proto/generated/scalingnote/v1/DeleteResponse.ts';
import type { DocumentServiceDescribeResponse__Output } from '../proto/generated/scalingnote/v1/DocumentServiceDescribeResponse.ts';
import type { DocumentServiceClient } from '../proto/generated/scalingnote/v1/DocumentService.ts';
import type { ListCollectionsResponse__Output } from '../proto/generated/scalingnote/v1/ListCollectionsResponse.ts';
import { v1 } from '../proto/load.ts';
import {
  type CallBounds,
  CHANNEL_OPTIONS,
  type ClientOptions,
  type Resolved,
  resolve,
  unary,
} from './call.ts';
import { type Collection, fromCollection, fromServiceInfo, type ServiceInfo } from './describe.ts';
import { type Filter, toWireFilter } from './filter.ts';
import { checkHealth, type Health } from './health.ts';
import { type IngestOptions, type IngestSummary, runIngest } from './ingest.ts';
import type { IngestOperation } from './operation.ts';

/** Which documents: those of a tenant, all or those that a filter holds for. */
export interface DocumentScope {
  collection: string;
  /** @default '' */
  tenant?: string;
  filter?: Filter;
}

/** A client of the document service. It holds one connection; close it when done. */
export class DocumentClient {
  readonly #client: DocumentServiceClient;
  readonly #options: Resolved;

  /** @param options - `address` is `127.0.0.1:7401` by default */
  constructor(options: ClientOptions = {}) {
    this.#options = resolve(options, '127.0.0.1:7401');
    this.#client = new v1.DocumentService(this.#options.address, this.#options.credentials, CHANNEL_OPTIONS);
  }

  /**
   * Streams documents in until the source is exhausted and everything is durable. A broken connection is made again
   * and goes on from the last watermark: nothing is lost, nothing doubles.
   *
   * @throws {ScalingnoteError} what ended the stream for good
   */
  ingest(
    source: Iterable<IngestOperation> | AsyncIterable<IngestOperation>,
    options: IngestOptions,
  ): Promise<IngestSummary> {
    return runIngest(() => this.#client.ingest(), source, options);
  }

  /** Deletes documents by id, or all that a filter holds for; says how many were there. @throws {ScalingnoteError} */
  async delete(
    scope: DocumentScope & { documentIds?: readonly string[] },
    bounds?: CallBounds,
  ): Promise<number> {
    const message = { ...toWireScope(scope), documentIds: [...(scope.documentIds ?? [])] };
    const response = await unary<DeleteResponse__Output>(
      (options, callback) => this.#client.delete(message, options, callback),
      this.#options,
      bounds,
    );
    return Number(response.documents);
  }

  /** Counts documents and their passages. @throws {ScalingnoteError} */
  async count(scope: DocumentScope, bounds?: CallBounds): Promise<{ documents: number; passages: number }> {
    const response = await unary<CountResponse__Output>(
      (options, callback) => this.#client.count(toWireScope(scope), options, callback),
      this.#options,
      bounds,
    );
    return { documents: Number(response.documents), passages: Number(response.passages) };
  }

  /** Every collection of the store, of any space. @throws {ScalingnoteError} */
  async listCollections(bounds?: CallBounds): Promise<Collection[]> {
    const response = await unary<ListCollectionsResponse__Output>(
      (options, callback) => this.#client.listCollections({}, options, callback),
      this.#options,
      bounds,
    );
    return response.collections.map(fromCollection);
  }

  /** What the service is and which tower it runs. @throws {ScalingnoteError} */
  async describe(bounds?: CallBounds): Promise<ServiceInfo> {
    const response = await unary<DocumentServiceDescribeResponse__Output>(
      (options, callback) => this.#client.describe({}, options, callback),
      this.#options,
      bounds,
    );
    return fromServiceInfo(response.service);
  }

  /** What the server says of its own health. @throws {ScalingnoteError} where it can't be asked */
  health(bounds?: CallBounds): Promise<Health> {
    return checkHealth(this.#client, this.#options, bounds);
  }

  /** Gives the connection back. */
  close(): void {
    this.#client.close();
  }
}

function toWireScope(scope: DocumentScope) {
  return {
    collection: scope.collection,
    tenant: scope.tenant ?? '',
    ...(scope.filter === undefined ? {} : { filter: toWireFilter(scope.filter) }),
  };
}
