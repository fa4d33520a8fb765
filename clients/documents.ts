import type { DocumentServiceDefinition } from '../proto/generated/scalingnote/v1/DocumentService.ts';
import type { ExportRequest } from '../proto/generated/scalingnote/v1/ExportRequest.ts';
import { v1 } from '../proto/load.ts';
import type { Collection } from './answers.ts';
import type { CallBounds, ClientOptions } from './call.ts';
import { ScalingnoteError } from './errors.ts';
import { type ExportOptions, runExport } from './export.ts';
import { fromCollection } from './from-wire.ts';
import { fromFullDocument, type FullDocument } from './full-document.ts';
import { type Filter, toWireFilter } from './filter.ts';
import { type IngestOptions, type IngestSummary, runIngest } from './ingest.ts';
import type { IngestOperation } from './operation.ts';
import { ServiceClient } from './service-client.ts';
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

/** Most ids that the service takes in one call. */
const MAX_GET_IDS = 100;

/** A client of the document service. It holds a connection to each server; close it when done. */
export class DocumentClient extends ServiceClient<DocumentServiceDefinition> {
  /**
   * @param options - `address` is `127.0.0.1:7401` by default
   * @throws {ScalingnoteError} `INVALID_ARGUMENT` for an option that can't be followed
   */
  constructor(options?: ClientOptions) {
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
    const connect = async () => this.duplex('Ingest', await this.pick(options.signal), options);
    return runIngest(connect, source, { openMs: this.options.timeoutMs, ...options });
  }

  /**
   * Deletes documents by id, or all that match a filter, whatever their versions. To delete up to a version, and for good,
   * ingest `{ delete: ID, version }`.
   *
   * @returns how many were there, and a token for a search that is not to see them any more
   * @throws {ScalingnoteError}
   */
  async delete(
    scope: DocumentScope & { documentIds?: readonly string[] },
    bounds?: CallBounds,
  ): Promise<{ documents: number; freshnessToken: string }> {
    const documentIds = (scope.documentIds ?? []).map((id, index) => wireText(id, `document_ids[${index}]`));
    const request = { ...toWireScope(scope), documentIds };
    const { documents, freshnessToken } = await this.call('Delete', request, bounds, { isWrite: true });
    return { documents: Number(documents), freshnessToken };
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

  /**
   * Documents by id, as they came, in the order of the ids; those that are not there are left out. Many ids, and large
   * documents, take several calls.
   *
   * @param scope - `withVectors`: vectors and terms of passages, too
   * @throws {ScalingnoteError}
   */
  async getDocuments(
    scope: Pick<DocumentScope, 'collection' | 'tenant'> & { ids: readonly string[]; withVectors?: boolean },
    bounds?: CallBounds,
  ): Promise<FullDocument[]> {
    const ids = scope.ids.map((id, index) => wireText(id, `ids[${index}]`));
    if (ids.length > MAX_GET_IDS) return await this.#getInParts(scope, ids, MAX_GET_IDS, bounds);
    const { collection, tenant = '', withVectors = false } = scope;
    try {
      const request = { collection, tenant: wireText(tenant, 'tenant'), documentIds: ids, withVectors };
      const { documents } = await this.call('GetDocuments', request, bounds);
      return documents.map(fromFullDocument);
    } catch (error) {
      const isTooLarge = error instanceof ScalingnoteError && error.reason === 'RESPONSE_TOO_LARGE';
      if (!isTooLarge || ids.length < 2) throw error;
      return await this.#getInParts(scope, ids, Math.ceil(ids.length / 2), bounds);
    }
  }

  async #getInParts(
    scope: Parameters<DocumentClient['getDocuments']>[0],
    ids: readonly string[],
    size: number,
    bounds: CallBounds | undefined,
  ): Promise<FullDocument[]> {
    const found: FullDocument[] = [];
    for (let start = 0; start < ids.length; start += size) {
      const part = { ...scope, ids: ids.slice(start, start + size) };
      found.push(...(await this.getDocuments(part, bounds)));
    }
    return found;
  }

  /**
   * Every document of a tenant, or of all tenants, as it came. A broken connection is made again and continues after
   * the last document: none is left out, none comes twice. Documents that are written meanwhile may come in their old or
   * their new form.
   *
   * @throws {ScalingnoteError} what ended the export for good
   */
  exportDocuments(options: ExportOptions): AsyncGenerator<FullDocument, void, undefined> {
    const connect = async (request: ExportRequest) =>
      this.answers('Export', await this.pick(options.signal), request, options);
    return runExport(connect, { openMs: this.options.timeoutMs, ...options });
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
    const { previousPhysicalName } = await this.call('SwitchAlias', { alias, physicalName }, bounds, {
      isWrite: true,
    });
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
    const { aliases } = await this.call('DropCollection', request, bounds, { isWrite: true, attempts: 1 });
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
