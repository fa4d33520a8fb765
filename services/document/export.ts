import { status } from '@grpc/grpc-js';
import type { ExportRequest__Output } from '../../proto/generated/scalingnote/v1/ExportRequest.ts';
import type { ExportResponse } from '../../proto/generated/scalingnote/v1/ExportResponse.ts';
import { collectionNotFound, collectionReplaced } from '../../store/errors.ts';
import type { Filter } from '../../store/queries.ts';
import type { CallOptions, CollectionInfo, CollectionKey, Store } from '../../store/store.ts';
import type { FullDocument } from '../../store/document.ts';
import { withAnalysis } from '../runtime/analysis.ts';
import { invalidArgument, ServiceError } from '../runtime/errors.ts';
import { parseFilter } from '../runtime/filter.ts';
import type { ServerStreamCall } from '../runtime/handler.ts';
import { checkCollection, checkDocumentId, checkTenant } from '../runtime/validate.ts';
import { toWireDocument, wireBytes } from './full-document.ts';

/** What an export needs of a store. */
export type ExportStore = Pick<Store, 'count' | 'findCollection' | 'listCollections' | 'scroll' | 'tenants'>;

/**
 * Most documents and bytes of one page that is read from the store. A page ends after the document that passes the
 * bytes, one is being sent while the next is read, and so an export takes two of them and two of the largest documents.
 */
const PAGE_DOCUMENTS = 256;
const PAGE_BYTES = 4 * 1024 * 1024;

/** Bytes that may wait for the connection: waiting for each small document would cost more than the document. */
const SENDING_BYTES = 256 * 1024;

/** Largest message that clients of ours take, less what {@link wireBytes} does not count. */
const MAX_MESSAGE_BYTES = 60 * 1024 * 1024;

/**
 * Streams the documents of a collection: of a tenant, or of all. It reads one physical collection to its end, wherever
 * the alias leads meanwhile.
 *
 * @throws {ServiceError} `INVALID_ARGUMENT`, naming the field
 * @throws {StoreError} `COLLECTION_NOT_FOUND`; `COLLECTION_REPLACED` where it was dropped and made again meanwhile
 */
export async function exportDocuments(
  store: ExportStore,
  request: ExportRequest__Output,
  { write, ...call }: ServerStreamCall<ExportResponse>,
): Promise<void> {
  const wanted = parseRequest(request);
  const collection = await describe(store, request, call);
  await write({ header: { collection: withAnalysis(collection) } });
  let sending: Promise<void>[] = [];
  let bytes = 0;
  for (const [tenant, after] of await tenantsOf(store, collection, request, call)) {
    for await (const page of pages(store, collection, tenant, { ...wanted, ...after }, call)) {
      for (const document of page) {
        const sent = write({ document: messageOf(document) });
        // Where the export ends before anybody waits for it.
        sent.catch(() => {});
        sending.push(sent);
        bytes += wireBytes(document);
        if (bytes < SENDING_BYTES) continue;
        await Promise.all(sending);
        sending = [];
        bytes = 0;
      }
    }
  }
  await Promise.all(sending);
}

/** A document as a message. @throws {ServiceError} `DOCUMENT_TOO_LARGE` where no client would take it */
export function messageOf(document: FullDocument): ReturnType<typeof toWireDocument> {
  const bytes = wireBytes(document);
  if (bytes <= MAX_MESSAGE_BYTES) return toWireDocument(document);
  throw new ServiceError(
    status.FAILED_PRECONDITION,
    'DOCUMENT_TOO_LARGE',
    `document ${JSON.stringify(document.documentId)} takes ${bytes} bytes with its vectors, and a message takes ` +
      `${MAX_MESSAGE_BYTES}; ask for it without vectors, or use "scalingnote copy" or "scalingnote backup"`,
    { metadata: { document_id: document.documentId } },
  );
}

interface Wanted {
  filter?: Filter;
  withVectors: boolean;
}

function parseRequest(request: ExportRequest__Output): Wanted {
  const { collection, tenant, allTenants, afterTenant, afterDocumentId, withVectors } = request;
  checkCollection(collection);
  checkTenant(tenant);
  checkTenant(afterTenant, 'after_tenant');
  if (afterDocumentId !== '') checkDocumentId(afterDocumentId, 'after_document_id');
  if (allTenants && tenant !== '') {
    throw invalidArgument('tenant', 'is set and so is all_tenants; send one of them');
  }
  if (!allTenants && afterTenant !== '') {
    throw invalidArgument('after_tenant', 'is set without all_tenants; leave it out, or set all_tenants');
  }
  if (afterTenant !== '' && afterDocumentId === '') {
    throw invalidArgument('after_tenant', 'is set without after_document_id; send both, or neither');
  }
  const filter = parseFilter(request.filter);
  return { withVectors, ...(filter && { filter }) };
}

/** The collection with the counts of those tenants whose documents are sent. */
async function describe(
  store: ExportStore,
  { collection: name, tenant, allTenants }: ExportRequest__Output,
  call: CallOptions,
): Promise<CollectionInfo> {
  const key = await store.findCollection(name, call);
  const { physicalName } = key;
  if (!allTenants) return { ...key, ...(await store.count(physicalName, tenant, undefined, call)) };
  const listed = await store.listCollections(call);
  const found = listed.find((one) => one.physicalName === physicalName);
  if (!found) throw collectionNotFound(name);
  return found;
}

/** Whose documents to send, in an order that a resumed export meets again, and where to begin in each. */
async function tenantsOf(
  store: ExportStore,
  { physicalName }: CollectionKey,
  { tenant, allTenants, afterTenant, afterDocumentId }: ExportRequest__Output,
  call: CallOptions,
): Promise<[tenant: string, after: { after?: { documentId: string } }][]> {
  const after = afterDocumentId === '' ? {} : { after: { documentId: afterDocumentId } };
  if (!allTenants) return [[tenant, after]];
  const tenants = (await store.tenants(physicalName, call)).sort();
  const left = afterDocumentId === '' ? tenants : tenants.filter((one) => one >= afterTenant);
  return left.map((one) => [one, one === afterTenant ? after : {}]);
}

/** Pages of a tenant's documents; the next one is read while the caller takes its time with this one. */
async function* pages(
  store: ExportStore,
  collection: CollectionKey,
  tenant: string,
  wanted: Wanted & { after?: string | { documentId: string } },
  call: CallOptions,
): AsyncGenerator<FullDocument[], void, undefined> {
  const { physicalName, identity } = collection;
  const read = async (after: typeof wanted.after): Promise<{ documents: FullDocument[]; next?: string }> => {
    const bounds = { limit: PAGE_DOCUMENTS, bytes: PAGE_BYTES, ...(after !== undefined && { after }) };
    const page = await store.scroll(physicalName, tenant, { ...wanted, ...bounds }, call);
    // Asked after the page was read: a collection of the same name could have taken its place before.
    const now = await store.findCollection(physicalName, call);
    if (now.identity !== identity) throw collectionReplaced(collection.name, identity, now.identity);
    return page;
  };
  let coming: ReturnType<typeof read> | undefined = read(wanted.after);
  while (coming) {
    const { documents, next }: Awaited<typeof coming> = await coming;
    coming = next === undefined ? undefined : read(next);
    // Where the caller goes away, nobody waits for the page that is coming.
    coming?.catch(() => {});
    yield documents;
  }
}
