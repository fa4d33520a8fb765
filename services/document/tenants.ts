import type { DropTenantRequest__Output } from '../../proto/generated/scalingnote/v1/DropTenantRequest.ts';
import type { DropTenantResponse } from '../../proto/generated/scalingnote/v1/DropTenantResponse.ts';
import type { GetTenantUsageResponse } from '../../proto/generated/scalingnote/v1/GetTenantUsageResponse.ts';
import type { ListCollectionsResponse } from '../../proto/generated/scalingnote/v1/ListCollectionsResponse.ts';
import type { ListTenantsRequest__Output } from '../../proto/generated/scalingnote/v1/ListTenantsRequest.ts';
import type { ListTenantsResponse } from '../../proto/generated/scalingnote/v1/ListTenantsResponse.ts';
import type { TenantDrop } from '../../proto/generated/scalingnote/v1/TenantDrop.ts';
import { collectionNotFound, StoreError } from '../../store/errors.ts';
import type { CallOptions, CollectionInfo, CollectionKey, Counts, Store } from '../../store/store.ts';
import { withAnalysis } from '../runtime/analysis.ts';
import type { Caller } from '../runtime/access/caller.ts';
import { invalidArgument } from '../runtime/errors.ts';
import type { Call } from '../runtime/handler.ts';
import type { Quotas } from '../runtime/tenants/quotas.ts';
import type { StorageQuotas } from '../runtime/tenants/storage.ts';
import {
  checkCollection,
  checkTenant,
  DEFAULT_TENANT_PAGE,
  MAX_TENANT_PAGE,
  quoted,
} from '../runtime/validate.ts';
import type { IngestPipeline } from './ingest/pipeline.ts';

/** What is needed of a store for whole tenants. */
export type TenantStore = Pick<
  Store,
  'aliases' | 'count' | 'dropTenant' | 'findCollection' | 'listCollections' | 'remains' | 'tenantCounts'
>;

/** What handles whole tenants. */
export interface TenantParts {
  store: TenantStore;
  pipeline: Pick<IngestPipeline, 'dropTenant' | 'streamsOf'>;
  storage: StorageQuotas;
  quotas: Quotas;
}

/** How long one call works at a drop, in milliseconds; less where its caller waits less long. */
const DROP_MS = 10_000;
/** What is kept of the caller's time for the answer. */
const ANSWER_MS = 250;

/**
 * Removes everything of a tenant. Its streams end first, and no new one begins meanwhile.
 *
 * @throws {ServiceError} `INVALID_ARGUMENT`, naming the field
 */
export async function dropTenant(
  { store, pipeline, storage }: TenantParts,
  { tenant, confirmTenant, collection, dryRun }: DropTenantRequest__Output,
  call: CallOptions,
): Promise<DropTenantResponse> {
  checkTenant(tenant);
  if (tenant === '') {
    throw invalidArgument('tenant', 'is empty; name the tenant; data without one go with their collection');
  }
  if (!dryRun && confirmTenant !== tenant) {
    throw invalidArgument('confirm_tenant', `is not ${quoted(tenant)}; name the tenant there again`);
  }
  const collections = await collectionsOf(store, collection, call);
  const deadline = Math.min(Date.now() + DROP_MS, (call.deadline ?? Infinity) - ANSWER_MS);
  const bounds = { ...call, deadline };
  const release = dryRun
    ? () => {}
    : await pipeline.dropTenant(tenant, collection === '' ? undefined : collection);
  try {
    const drops: TenantDrop[] = [];
    for (const { physicalName } of collections) {
      const drop = await dropFrom(store, physicalName, tenant, dryRun, bounds).catch((error: unknown) => {
        // Dropped as a whole meanwhile.
        if (error instanceof StoreError && error.reason === 'COLLECTION_NOT_FOUND') return undefined;
        throw error;
      });
      if (drop && (drop.documents > 0 || drop.remaining > 0)) drops.push({ physicalName, ...drop });
    }
    return { drops, complete: drops.every(({ remaining }) => Number(remaining) === 0) };
  } finally {
    release();
    storage.forget(tenant);
  }
}

async function dropFrom(
  store: TenantStore,
  physicalName: string,
  tenant: string,
  dryRun: boolean,
  bounds: CallOptions,
): Promise<{ documents: number; remaining: number }> {
  // Asked without the bounds of the work: it says how much is left when the time is over.
  const { deadline: _, ...own } = bounds;
  const remaining = (): Promise<number> => store.remains(physicalName, tenant, own);
  const { documents } = await store.count(physicalName, tenant, undefined, own);
  if (dryRun) return { documents, remaining: await remaining() };
  try {
    await store.dropTenant(physicalName, tenant, bounds);
  } catch (error) {
    if (!(error instanceof Error && error.name === 'TimeoutError')) throw error;
  }
  const left = await store.count(physicalName, tenant, undefined, own);
  return { documents: documents - left.documents, remaining: await remaining() };
}

/** Physical collections of ours: all, or those of a logical name. */
async function collectionsOf(
  store: TenantStore,
  collection: string,
  call: CallOptions,
): Promise<CollectionInfo[]> {
  if (collection !== '') checkCollection(collection);
  const own = (await store.listCollections(call)).filter(({ readOnly }) => readOnly !== true);
  if (collection === '') return own;
  const behind = (await store.aliases(call)).get(collection);
  const found = own.filter(
    ({ physicalName }) => physicalName === behind || physicalName.startsWith(`${collection}--`),
  );
  if (found.length === 0) throw collectionNotFound(collection);
  return found;
}

/** A page of the tenants that the caller may see. @throws {ServiceError} `INVALID_ARGUMENT`, naming the field */
export async function listTenants(
  { store }: Pick<TenantParts, 'store'>,
  { collection, pageSize = DEFAULT_TENANT_PAGE, pageToken }: ListTenantsRequest__Output,
  call: CallOptions & Pick<Call, 'caller'>,
): Promise<ListTenantsResponse> {
  if (pageSize < 1 || pageSize > MAX_TENANT_PAGE) {
    throw invalidArgument('page_size', `is ${pageSize}; send 1 to ${MAX_TENANT_PAGE}, or leave it out`);
  }
  if (collection !== '') checkCollection(collection);
  const after = pageToken === '' ? undefined : parsePage(pageToken);
  const names = collection === '' ? new Set((await store.aliases(call)).values()) : [collection];
  const sums = new Map<string, Counts>();
  for (const name of names) {
    for (const { tenant, documents, passages } of await store.tenantCounts(name, call)) {
      if (call.caller && !call.caller.tenants.has(tenant)) continue;
      const sum = sums.get(tenant) ?? { documents: 0, passages: 0 };
      sum.documents += documents;
      sum.passages += passages;
      sums.set(tenant, sum);
    }
  }
  const all = [...sums]
    .filter(([tenant]) => after === undefined || tenant > after)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const page = all.slice(0, pageSize);
  return {
    tenants: page.map(([tenant, counts]) => ({ tenant, ...counts })),
    nextPageToken: all.length > page.length ? `t${page.at(-1)![0]}` : '',
  };
}

/** The tenant that a page comes after: its name, which may be empty, behind a letter. */
function parsePage(token: string): string {
  if (token.startsWith('t')) return token.slice(1);
  throw invalidArgument('page_token', 'is not the next_page_token of a page; begin without one');
}

/** What a tenant has, and what it may have. */
export async function tenantUsage(
  { pipeline, storage, quotas }: TenantParts,
  tenant: string,
  { signal }: Call,
): Promise<GetTenantUsageResponse> {
  checkTenant(tenant);
  const limit = (name: Parameters<Quotas['limit']>[1]): number | undefined =>
    quotas.limit(tenant, name)?.limit;
  const usage = await storage.usage(tenant, signal);
  return {
    ...usage,
    ingestStreams: pipeline.streamsOf(tenant),
    ...defined({
      maxDocuments: limit('documents'),
      maxBytes: limit('bytes'),
      maxRequestsPerSecond: limit('requestsPerSecond'),
      maxTokensPerSecond: limit('tokensPerSecond'),
      maxIngestStreams: limit('ingestStreams'),
    }),
  };
}

function defined(values: Readonly<Record<string, number | undefined>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

/** Collections with the counts of those tenants that the caller may see. */
export async function listCollections(
  store: Pick<Store, 'count' | 'listCollections' | 'tenantCounts'>,
  call: CallOptions & Pick<Call, 'caller'>,
): Promise<ListCollectionsResponse> {
  const { caller } = call;
  const collections = await store.listCollections(call);
  if (!caller || caller.tenants.all) return { collections: collections.map(withAnalysis) };
  const own: CollectionInfo[] = [];
  for (const collection of collections) {
    const counts = await countsFor(store, collection, caller, call).catch((error: unknown) => {
      if (error instanceof StoreError && error.reason === 'COLLECTION_NOT_FOUND') return undefined;
      throw error;
    });
    if (counts) own.push({ ...collection, ...counts });
  }
  return { collections: own.map(withAnalysis) };
}

/** Counts of the tenants that a caller may see. */
async function countsFor(
  store: Pick<Store, 'count' | 'tenantCounts'>,
  { physicalName }: CollectionKey,
  { tenants }: Caller,
  call: CallOptions,
): Promise<Counts> {
  const { texts } = tenants;
  const counts = texts.some((text) => text.includes('*'))
    ? (await store.tenantCounts(physicalName, call)).filter(({ tenant }) => tenants.has(tenant))
    : await Promise.all(
        [...new Set(texts)].map((tenant) => store.count(physicalName, tenant, undefined, call)),
      );
  return {
    documents: counts.reduce((sum, { documents }) => sum + documents, 0),
    passages: counts.reduce((sum, { passages }) => sum + passages, 0),
  };
}
