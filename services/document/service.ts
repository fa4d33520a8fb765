import type { DocumentServiceHandlers } from '../../proto/generated/scalingnote/v1/DocumentService.ts';
import type { ServiceInfo } from '../../proto/generated/scalingnote/v1/ServiceInfo.ts';
import type { DeleteRequest__Output } from '../../proto/generated/scalingnote/v1/DeleteRequest.ts';
import { v1 } from '../../proto/load.ts';
import { collectionReplaced } from '../../store/errors.ts';
import { freshnessToken } from '../../store/freshness.ts';
import type { Filter } from '../../store/queries.ts';
import type { Store } from '../../store/store.ts';
import { invalidArgument } from '../runtime/errors.ts';
import { MAX_ANY_OF_VALUES, parseFilter } from '../runtime/filter.ts';
import type { Implementation } from '../runtime/handler.ts';
import { service, type Service } from '../runtime/server.ts';
import { perTenant } from '../runtime/tenants/per-tenant.ts';
import { Quotas } from '../runtime/tenants/quotas.ts';
import { type CountedStore, StorageQuotas } from '../runtime/tenants/storage.ts';
import { checkCollection, checkDocumentId, checkTenant, MAX_DELETE_IDS } from '../runtime/validate.ts';
import { dropCollection, listAliases, switchAlias, type CatalogStore } from './catalog.ts';
import { ExportPlaces } from './export-places.ts';
import { exportDocuments, type ExportStore } from './export.ts';
import { salvageDocument } from './ingest/envelope.ts';
import type { IngestPipeline, IngestStore } from './ingest/pipeline.ts';
import { getDocuments, listDocuments } from './listing.ts';
import { dropTenant, listCollections, listTenants, tenantUsage, type TenantStore } from './tenants.ts';

/**
 * Largest message, well above the largest valid document: a document that is too large is still read and rejected by
 * itself. A larger message ends its stream.
 */
export const MAX_RECEIVE_BYTES = 64 * 1024 * 1024;

/** What the service needs of a store. */
export type ServiceStore = IngestStore &
  CatalogStore &
  ExportStore &
  TenantStore &
  CountedStore &
  Pick<Store, 'kind' | 'deleteByFilter' | 'count' | 'readDocuments'>;

/** What the document service serves. */
export interface DocumentServiceParts {
  store: ServiceStore;
  pipeline: IngestPipeline;
  /** What Describe answers, as of now. */
  describe(): ServiceInfo;
  /** How much tenants may do, and have. @default as much as they like */
  quotas?: Quotas;
  storage?: StorageQuotas;
}

/** `scalingnote.v1.DocumentService`. */
export function documentService({
  store,
  pipeline,
  describe,
  quotas = new Quotas(),
  storage = new StorageQuotas(store, quotas),
}: DocumentServiceParts): Service {
  const tenants = { store, pipeline, quotas, storage };
  const exports = new ExportPlaces();
  const handlers: Implementation<DocumentServiceHandlers> = {
    Ingest: (call) => pipeline.serve(call),

    // Deleting moves no vectors, so it works on collections of any space: what has to be erased can be.
    Delete: async (request, call) => {
      checkCollection(request.collection);
      checkTenant(request.tenant);
      const filters = deletions(request);
      // All parts go to one physical collection, even where the alias moves meanwhile.
      const { physicalName, identity } = await store.findCollection(request.collection, call);
      let documents = 0;
      for (const filter of filters) {
        documents += await store.deleteByFilter(physicalName, request.tenant, filter, call);
      }
      storage.forget(request.tenant);
      const freshness = await store.freshness(physicalName, { ...call, tenant: request.tenant });
      if (freshness.identity !== identity) {
        throw collectionReplaced(request.collection, identity, freshness.identity);
      }
      return { documents, freshnessToken: freshnessToken(freshness) };
    },

    Count: async ({ collection, tenant, filter }, call) => {
      checkCollection(collection);
      checkTenant(tenant);
      return store.count(collection, tenant, parseFilter(filter), call);
    },

    ListDocuments: (request, call) => listDocuments(store, request, call),
    GetDocuments: (request, call) => getDocuments(store, request, call),
    Export: (request, call) => exports.run(() => exportDocuments(store, request, call)),

    ListCollections: (_request, call) => listCollections(store, call),

    ListAliases: (_request, call) => listAliases(store, call),
    SwitchAlias: (request, call) => switchAlias(store, request, call).finally(() => storage.forget()),
    DropCollection: (request, call) => dropCollection(store, request, call).finally(() => storage.forget()),

    DropTenant: (request, call) => dropTenant(tenants, request, call),
    ListTenants: (request, call) => listTenants(tenants, request, call),
    GetTenantUsage: ({ tenant }, call) => tenantUsage(tenants, tenant, call),

    Describe: async () => ({ service: describe() }),
  };
  const { Ingest, Export } = v1.DocumentService.service;
  return {
    ...service(v1.DocumentService.service, perTenant(v1.DocumentService.service, handlers, quotas), {
      Ingest: salvageDocument,
    }),
    refuseStream: (method, ofPeer) => {
      if (method === Ingest.path) return pipeline.refusal(ofPeer);
      return method === Export.path ? exports.refusal(ofPeer) : undefined;
    },
    limits: { ...pipeline.limits, exports: exports.most },
  };
}

/** Filters to delete by, one for each call to the store. Ids are deleted by filter, because that ignores versions. */
function deletions({ documentIds, filter }: DeleteRequest__Output): Filter[] {
  if (documentIds.length > 0 && filter) {
    throw invalidArgument('filter', 'is set and so is document_ids; send one of them');
  }
  if (filter) {
    const parsed = parseFilter(filter);
    if (parsed) return [parsed];
    throw invalidArgument('filter', 'is empty and would delete everything; give it a condition');
  }
  if (documentIds.length === 0) {
    throw invalidArgument('document_ids', 'is empty and filter is not set; send one of them');
  }
  if (documentIds.length > MAX_DELETE_IDS) {
    throw invalidArgument('document_ids', `has ${documentIds.length} ids; send at most ${MAX_DELETE_IDS}`);
  }
  documentIds.forEach((id, index) => checkDocumentId(id, `document_ids[${index}]`));
  const unique = [...new Set(documentIds)];
  return Array.from({ length: Math.ceil(unique.length / MAX_ANY_OF_VALUES) }, (_, chunk) => {
    const anyOf = unique.slice(chunk * MAX_ANY_OF_VALUES, (chunk + 1) * MAX_ANY_OF_VALUES);
    return { must: [{ field: 'document_id', anyOf }] };
  });
}
