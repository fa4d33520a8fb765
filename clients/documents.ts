import type { CountResponse__Output } from '../proto/generated/scalingnote/v1/CountResponse.ts';
import type { DeleteResponse__Output } from '../proto/generated/scalingnote/v1/DeleteResponse.ts';
import type { DocumentServiceDescribeResponse__Output } from '../proto/generated/scalingnote/v1/DocumentServiceDescribeResponse.ts';
import type { DocumentServiceClient } from '../proto/generated/scalingnote/v1/DocumentService.ts';
import type { DropCollectionResponse__Output } from '../proto/generated/scalingnote/v1/DropCollectionResponse.ts';
import type { ListDocumentsResponse__Output } from '../proto/generated/scalingnote/v1/ListDocumentsResponse.ts';
import type { ListAliasesResponse__Output } from '../proto/generated/scalingnote/v1/ListAliasesResponse.ts';
import type { SwitchAliasResponse__Output } from '../proto/generated/scalingnote/v1/SwitchAliasResponse.ts';
import type { ListCollectionsResponse__Output } from '../proto/generated/scalingnote/v1/ListCollectionsResponse.ts';
import { v1 } from '../proto/load.ts';
import {
  type CallBounds,
  channelOptions,
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
import { metadataOf } from './tracing-interceptor.ts';
import { wireText } from './values.ts';

/** Which documents: those of a tenant, all or those that a filter holds for. */
export interface DocumentScope {
  collection: string;
  /** @default '' */
  tenant?: string;
  filter?: Filter;
}

/** A document as it is stored. */
export interface StoredDocument {
  id: string;
  title: string;
  /** Texts of its passages, in order; they overlap. Empty where texts are not stored. */
  passages: string[];
}

/** A client of the document service. It holds one connection; close it when done. */
export class DocumentClient {
  readonly #client: DocumentServiceClient;
  readonly #options: Resolved;

  /** @param options - `address` is `127.0.0.1:7401` by default */
  constructor(options: ClientOptions = {}) {
    this.#options = resolve(options, '127.0.0.1:7401');
    this.#client = new v1.DocumentService(
      this.#options.address,
      this.#options.credentials,
      channelOptions(this.#options.address),
    );
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
    return runIngest(() => this.#client.ingest(metadataOf(options.traceparent)), source, options);
  }

  /** Deletes documents by id, or all that a filter holds for; says how many were there. @throws {ScalingnoteError} */
  async delete(
    scope: DocumentScope & { documentIds?: readonly string[] },
    bounds?: CallBounds,
  ): Promise<number> {
    const documentIds = (scope.documentIds ?? []).map((id, index) => wireText(id, `document_ids[${index}]`));
    const message = { ...toWireScope(scope), documentIds };
    const response = await unary<DeleteResponse__Output>(
      (metadata, options, callback) => this.#client.delete(message, metadata, options, callback),
      this.#options,
      bounds,
    );
    return Number(response.documents);
  }

  /** Counts documents and their passages. @throws {ScalingnoteError} */
  async count(scope: DocumentScope, bounds?: CallBounds): Promise<{ documents: number; passages: number }> {
    const response = await unary<CountResponse__Output>(
      (metadata, options, callback) => this.#client.count(toWireScope(scope), metadata, options, callback),
      this.#options,
      bounds,
    );
    return { documents: Number(response.documents), passages: Number(response.passages) };
  }

  /** Every document of a tenant in a collection as it is stored, page by page. @throws {ScalingnoteError} */
  async *listDocuments(
    scope: Pick<DocumentScope, 'collection' | 'tenant'>,
    bounds?: CallBounds,
  ): AsyncGenerator<StoredDocument, void, undefined> {
    const { collection, tenant = '' } = scope;
    let pageToken = '';
    do {
      const message = { collection, tenant, pageToken };
      const { documents, nextPageToken } = await unary<ListDocumentsResponse__Output>(
        (metadata, options, callback) => this.#client.listDocuments(message, metadata, options, callback),
        this.#options,
        bounds,
      );
      yield* documents;
      pageToken = nextPageToken;
    } while (pageToken !== '');
  }

  /** Every collection of the store, of any space. @throws {ScalingnoteError} */
  async listCollections(bounds?: CallBounds): Promise<Collection[]> {
    const response = await unary<ListCollectionsResponse__Output>(
      (metadata, options, callback) => this.#client.listCollections({}, metadata, options, callback),
      this.#options,
      bounds,
    );
    return response.collections.map(fromCollection);
  }

  /** Logical name to physical name. @throws {ScalingnoteError} */
  async listAliases(bounds?: CallBounds): Promise<Map<string, string>> {
    const { aliases } = await unary<ListAliasesResponse__Output>(
      (metadata, options, callback) => this.#client.listAliases({}, metadata, options, callback),
      this.#options,
      bounds,
    );
    return new Map(aliases.map(({ name, physicalName }) => [name, physicalName]));
  }

  /**
   * Points an alias at a physical collection, in one step; says where it led before, if it was there.
   *
   * @throws {ScalingnoteError} `COLLECTION_NOT_FOUND`
   */
  async switchAlias(
    alias: string,
    physicalName: string,
    bounds?: CallBounds,
  ): Promise<{ previous: string | undefined }> {
    const response = await unary<SwitchAliasResponse__Output>(
      (metadata, options, callback) =>
        this.#client.switchAlias({ alias, physicalName }, metadata, options, callback),
      this.#options,
      bounds,
    );
    return { previous: response.previousPhysicalName || undefined };
  }

  /**
   * Drops a physical collection with all that is in it; says which aliases went with it. It is tried once: a second
   * attempt could not tell a collection that is gone from one that never was.
   *
   * @param options - `withAliases` confirms that the aliases that lead to it may go
   * @throws {ScalingnoteError} `COLLECTION_NOT_FOUND`; `COLLECTION_IN_USE` where aliases lead to it
   */
  async dropCollection(
    physicalName: string,
    options: { withAliases?: boolean } = {},
    bounds?: CallBounds,
  ): Promise<{ aliases: string[] }> {
    const message = { physicalName, withAliases: options.withAliases ?? false };
    const { aliases } = await unary<DropCollectionResponse__Output>(
      (metadata, callOptions, callback) =>
        this.#client.dropCollection(message, metadata, callOptions, callback),
      { ...this.#options, attempts: 1 },
      bounds,
    );
    return { aliases };
  }

  /** What the service is and which tower it runs. @throws {ScalingnoteError} */
  async describe(bounds?: CallBounds): Promise<ServiceInfo> {
    const response = await unary<DocumentServiceDescribeResponse__Output>(
      (metadata, options, callback) => this.#client.describe({}, metadata, options, callback),
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
    collection: wireText(scope.collection, 'collection'),
    tenant: wireText(scope.tenant ?? '', 'tenant'),
    ...(scope.filter === undefined ? {} : { filter: toWireFilter(scope.filter) }),
  };
}
