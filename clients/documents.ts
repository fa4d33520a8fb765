import type { CountRequest } from '../proto/generated/scalingnote/v1/CountRequest.ts';
import type { DeleteRequest } from '../proto/generated/scalingnote/v1/DeleteRequest.ts';
import type { DocumentServiceDefinition } from '../proto/generated/scalingnote/v1/DocumentService.ts';
import type { DropCollectionRequest } from '../proto/generated/scalingnote/v1/DropCollectionRequest.ts';
import type { DropTenantRequest } from '../proto/generated/scalingnote/v1/DropTenantRequest.ts';
import type { ExportRequest } from '../proto/generated/scalingnote/v1/ExportRequest.ts';
import type { GetDocumentsRequest } from '../proto/generated/scalingnote/v1/GetDocumentsRequest.ts';
import type { GetTenantUsageRequest } from '../proto/generated/scalingnote/v1/GetTenantUsageRequest.ts';
import type { ListDocumentsRequest } from '../proto/generated/scalingnote/v1/ListDocumentsRequest.ts';
import type { ListTenantsRequest } from '../proto/generated/scalingnote/v1/ListTenantsRequest.ts';
import type { SwitchAliasRequest } from '../proto/generated/scalingnote/v1/SwitchAliasRequest.ts';
import { v1 } from '../proto/load.ts';
import type { Collection } from './answers.ts';
import type { CallBounds, ClientOptions } from './call.ts';
import { invalidArgument, ScalingnoteError } from './errors.ts';
import { type ExportOptions, runExport } from './export.ts';
import { fromCollection } from './from-wire.ts';
import { fromFullDocument, type FullDocument } from './full-document.ts';
import type { Filter } from './filter.ts';
import { type IngestOptions, type IngestSummary, runIngest } from './ingest.ts';
import type { IngestOperation } from './operation.ts';
import { ServiceClient } from './service-client.ts';
import { toWire } from './strict/message.ts';
import { checkOptions, flag } from './strict/options.ts';
import { fromTenantUsage, type TenantCounts, type TenantDropped, type TenantUsage } from './tenants.ts';
import { checkBounds, EXPORT_OPTIONS, INGEST_OPTIONS } from './strict/tables.ts';

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

const IN_COLLECTION = { required: ['collection'] };

type WireGet = GetDocumentsRequest & { documentIds: string[] };

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
  async ingest(
    source: Iterable<IngestOperation> | AsyncIterable<IngestOperation>,
    options: IngestOptions,
  ): Promise<IngestSummary> {
    const checked = checkOptions(options, INGEST_OPTIONS);
    const connect = async () => this.duplex('Ingest', await this.pick(checked.signal), checked);
    const { timeoutMs: openMs } = this.options;
    // Where a service comes up, its large tower may take minutes; who asks not to wait, does not.
    return await runIngest(connect, source, { openMs, ...(this.mayWait ? {} : { beginMs: 0 }), ...checked });
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
    const request = toWire<DeleteRequest>('scalingnote.v1.DeleteRequest', scope, IN_COLLECTION);
    // On the wire, an empty list is none: all that match would be deleted, and not only what was named.
    if (request.documentIds && request.filter) {
      throw invalidArgument('filter', 'is given beside the ids; delete by one of them');
    }
    const { documents, freshnessToken } = await this.call('Delete', request, bounds, { isWrite: true });
    return { documents: Number(documents), freshnessToken };
  }

  /** Counts documents and their passages. @throws {ScalingnoteError} */
  async count(scope: DocumentScope, bounds?: CallBounds): Promise<{ documents: number; passages: number }> {
    const request = toWire<CountRequest>('scalingnote.v1.CountRequest', scope, IN_COLLECTION);
    const { documents, passages } = await this.call('Count', request, bounds);
    return { documents: Number(documents), passages: Number(passages) };
  }

  /** Every document of a tenant in a collection as it is stored, page by page. @throws {ScalingnoteError} */
  async *listDocuments(
    scope: Pick<DocumentScope, 'collection' | 'tenant'>,
    bounds?: CallBounds,
  ): AsyncGenerator<StoredDocument, void, undefined> {
    const form = { ...IN_COLLECTION, hidden: ['pageToken'] };
    const request = toWire<ListDocumentsRequest>('scalingnote.v1.ListDocumentsRequest', scope, form);
    let pageToken = '';
    do {
      const page = await this.call('ListDocuments', { ...request, pageToken }, bounds);
      yield* page.documents;
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
  }

  /**
   * Documents by id, as they came, in the order of the ids; those that are not there are left out, and an id that is given
   * twice comes once. Many ids, and large documents, take several calls.
   *
   * @param scope - `withVectors`: vectors and terms of passages, too
   * @throws {ScalingnoteError}
   */
  async getDocuments(
    scope: Pick<DocumentScope, 'collection' | 'tenant'> & { ids: readonly string[]; withVectors?: boolean },
    bounds?: CallBounds,
  ): Promise<FullDocument[]> {
    const form = { required: ['collection', 'documentIds'], renamed: { ids: 'documentIds' } };
    const request = toWire<WireGet>('scalingnote.v1.GetDocumentsRequest', scope, form);
    // The service answers an id that is there twice once in a call, and would once more in the next.
    const documentIds = [...new Set(request.documentIds)];
    return await this.#getDocuments({ ...request, documentIds }, checkBounds(bounds));
  }

  async #getDocuments(request: WireGet, bounds: CallBounds): Promise<FullDocument[]> {
    const { length } = request.documentIds;
    if (length > MAX_GET_IDS) return await this.#getInParts(request, MAX_GET_IDS, bounds);
    try {
      const { documents } = await this.call('GetDocuments', request, bounds);
      return documents.map(fromFullDocument);
    } catch (error) {
      const isTooLarge = error instanceof ScalingnoteError && error.reason === 'RESPONSE_TOO_LARGE';
      if (!isTooLarge || length < 2) throw error;
      return await this.#getInParts(request, Math.ceil(length / 2), bounds);
    }
  }

  async #getInParts(request: WireGet, size: number, bounds: CallBounds): Promise<FullDocument[]> {
    const found: FullDocument[] = [];
    for (let start = 0; start < request.documentIds.length; start += size) {
      const documentIds = request.documentIds.slice(start, start + size);
      found.push(...(await this.#getDocuments({ ...request, documentIds }, bounds)));
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
  async *exportDocuments(options: ExportOptions): AsyncGenerator<FullDocument, void, undefined> {
    const checked = checkOptions(options, EXPORT_OPTIONS);
    const connect = async (request: ExportRequest) =>
      this.answers('Export', await this.pick(checked.signal), request, checked);
    const { timeoutMs: openMs } = this.options;
    yield* runExport(connect, { openMs, beginMs: this.mayWait ? openMs : 0, ...checked });
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
    const request = toWire<SwitchAliasRequest>(
      'scalingnote.v1.SwitchAliasRequest',
      { alias, physicalName },
      { required: ['alias', 'physicalName'] },
    );
    const { previousPhysicalName } = await this.call('SwitchAlias', request, bounds, { isWrite: true });
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
    options?: { withAliases?: boolean },
    bounds?: CallBounds,
  ): Promise<{ aliases: string[] }> {
    const { withAliases = false } = checkOptions(options, { withAliases: flag });
    const request = toWire<DropCollectionRequest>(
      'scalingnote.v1.DropCollectionRequest',
      { physicalName, withAliases },
      { required: ['physicalName'] },
    );
    const { aliases } = await this.call('DropCollection', request, bounds, { isWrite: true, attempts: 1 });
    return { aliases };
  }

  /**
   * Removes everything of a tenant, from all collections or from one. The service works some seconds at it; call again while
   * the answer is not complete.
   *
   * @param scope - `confirmTenant` has to be the tenant again, unless it is a `dryRun`
   * @throws {ScalingnoteError}
   */
  async dropTenant(
    scope: { tenant: string; confirmTenant?: string; collection?: string; dryRun?: boolean },
    bounds?: CallBounds,
  ): Promise<TenantDropped> {
    const form = { required: ['tenant'] };
    const request = toWire<DropTenantRequest>('scalingnote.v1.DropTenantRequest', scope, form);
    const { drops, complete } = await this.call('DropTenant', request, bounds, { isWrite: true });
    return {
      drops: drops.map(({ physicalName, documents, remaining }) => ({
        physicalName,
        documents: Number(documents),
        remaining: Number(remaining),
      })),
      complete,
    };
  }

  /** Every tenant that has documents and that the caller may see, by name, page by page. @throws {ScalingnoteError} */
  async *listTenants(
    scope: { collection?: string } = {},
    bounds?: CallBounds,
  ): AsyncGenerator<TenantCounts, void, undefined> {
    const form = { hidden: ['pageToken'] };
    const request = toWire<ListTenantsRequest>('scalingnote.v1.ListTenantsRequest', scope, form);
    let pageToken = '';
    do {
      const page = await this.call('ListTenants', { ...request, pageToken }, bounds);
      for (const { tenant, documents, passages } of page.tenants) {
        yield { tenant, documents: Number(documents), passages: Number(passages) };
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
  }

  /** What a tenant has, over all collections, and what it may have. @throws {ScalingnoteError} */
  async tenantUsage(tenant: string, bounds?: CallBounds): Promise<TenantUsage> {
    const request = toWire<GetTenantUsageRequest>('scalingnote.v1.GetTenantUsageRequest', { tenant }, {});
    return fromTenantUsage(await this.call('GetTenantUsage', request, bounds));
  }
}
