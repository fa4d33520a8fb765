import type {
  DocumentServiceClient,
  DocumentServiceDefinition,
} from '../proto/generated/scalingnote/v1/DocumentService.ts';
import { v1 } from '../proto/load.ts';
import type { Collection } from './answers.ts';
import type { CallBounds, ClientOptions } from './call.ts';
import { fromCollection } from './from-wire.ts';
import { type Filter, toWireFilter } from './filter.ts';
import { type IngestOptions, type IngestSummary, runIngest } from './ingest.ts';
import type { IngestOperation } from './operation.ts';
import { ServiceClient } from './service-client.ts';
import { metadataOf } from './tracing.ts';
import { wireText } from './values.ts';

/** Which documents: all of a tenant, or those that match a filter. */
export interface DocumentScope {
  collection: string;
  /** @default '' */
  tenant?: string;
  filter?: Filter | undefined;
}

/** A document as it is stored. */
export interface StoredDocument {
  id: string;
  title: string;
  /** Texts of its passages, in order; they overlap. Empty where texts are not stored. */
  passages: string[];
}

/** A client of the document service. It holds one connection; close it when done. */
export class DocumentClient extends ServiceClient<DocumentServiceClient, DocumentServiceDefinition> {
  /** @param options - `address` is `127.0.0.1:7401` by default */
  constructor(options: ClientOptions = {}) {
    super(v1.DocumentService, options, '127.0.0.1:7401');
  }

  /**
   * Streams documents in until the source is exhausted and everything is durable. A broken connection is made again
   * and continues from the last watermark: nothing is lost, nothing doubles.
   *
   * @throws {ScalingnoteError} what ended the stream for good
   */
  ingest(
    source: Iterable<IngestOperation> | AsyncIterable<IngestOperation>,
    options: IngestOptions,
  ): Promise<IngestSummary> {
    return runIngest(() => this.connection.ingest(metadataOf(options.traceparent)), source, options);
  }

  /** Deletes documents by id, or all that match a filter. @returns how many were there @throws {ScalingnoteError} */
  async delete(
    scope: DocumentScope & { documentIds?: readonly string[] },
    bounds?: CallBounds,
  ): Promise<number> {
    const documentIds = (scope.documentIds ?? []).map((id, index) => wireText(id, `document_ids[${index}]`));
    const { documents } = await this.call('Delete', { ...toWireScope(scope), documentIds }, bounds);
    return Number(documents);
  }

  /** Counts documents and their passages. @throws {ScalingnoteError} */
  async count(scope: DocumentScope, bounds?: CallBounds): Promise<{ documents: number; passages: number }> {
    const { documents, passages } = await this.call('Count', toWireScope(scope), bounds);
    return { documents: Number(documents), passages: Number(passages) };
  }

  /** Every document of a tenant in a collection as it is stored, page by page. @throws {ScalingnoteError} */
  async *listDocuments(
    { collection, tenant = '' }: Pick<DocumentScope, 'collection' | 'tenant'>,
    bounds?: CallBounds,
  ): AsyncGenerator<StoredDocument, void, undefined> {
    let pageToken = '';
    do {
      const page = await this.call('ListDocuments', { collection, tenant, pageToken }, bounds);
      yield* page.documents;
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
  }

  /** Every collection of the store, of any space. @throws {ScalingnoteError} */
  async listCollections(bounds?: CallBounds): Promise<Collection[]> {
    return (await this.call('ListCollections', {}, bounds)).collections.map(fromCollection);
  }

  /** Logical name to physical name. @throws {ScalingnoteError} */
  async listAliases(bounds?: CallBounds): Promise<Map<string, string>> {
    const { aliases } = await this.call('ListAliases', {}, bounds);
    return new Map(aliases.map(({ name, physicalName }) => [name, physicalName]));
  }

  /**
   * Points an alias at a physical collection, in one step.
   *
   * @returns where the alias led before, if it was there
   * @throws {ScalingnoteError} `COLLECTION_NOT_FOUND`
   */
  async switchAlias(
    alias: string,
    physicalName: string,
    bounds?: CallBounds,
  ): Promise<{ previous: string | undefined }> {
    const { previousPhysicalName } = await this.call('SwitchAlias', { alias, physicalName }, bounds);
    return { previous: previousPhysicalName || undefined };
  }

  /**
   * Drops a physical collection with everything in it. This is tried once: a second attempt could not tell a collection
   * that is gone from one that never was.
   *
   * @param options - `withAliases` confirms that the aliases that lead to it may go
   * @returns the aliases that went with it
   * @throws {ScalingnoteError} `COLLECTION_NOT_FOUND`; `COLLECTION_IN_USE` where aliases lead to it
   */
  async dropCollection(
    physicalName: string,
    { withAliases = false }: { withAliases?: boolean } = {},
    bounds?: CallBounds,
  ): Promise<{ aliases: string[] }> {
    const request = { physicalName, withAliases };
    const { aliases } = await this.call('DropCollection', request, bounds, { attempts: 1 });
    return { aliases };
  }
}

function toWireScope(scope: DocumentScope) {
  return {
    collection: wireText(scope.collection, 'collection'),
    tenant: wireText(scope.tenant ?? '', 'tenant'),
    ...(scope.filter === undefined ? {} : { filter: toWireFilter(scope.filter) }),
  };
}
