import { status } from '@grpc/grpc-js';
import type { GetDocumentsRequest__Output } from '../../proto/generated/scalingnote/v1/GetDocumentsRequest.ts';
import type { GetDocumentsResponse } from '../../proto/generated/scalingnote/v1/GetDocumentsResponse.ts';
import type { ListDocumentsRequest__Output } from '../../proto/generated/scalingnote/v1/ListDocumentsRequest.ts';
import type { ListDocumentsResponse } from '../../proto/generated/scalingnote/v1/ListDocumentsResponse.ts';
import type { CallOptions, Store } from '../../store/store.ts';
import { type FullDocument, passageTexts } from '../../store/document.ts';
import { invalidArgument, ServiceError } from '../runtime/errors.ts';
import {
  checkCollection,
  checkDocumentId,
  checkTenant,
  DEFAULT_PAGE,
  MAX_GET_IDS,
  MAX_PAGE,
} from '../runtime/validate.ts';
import { messageOf } from './export.ts';
import { wireBytes } from './full-document.ts';

/** A page of a collection's documents. @throws {ServiceError} `INVALID_ARGUMENT`, naming the field */
export async function listDocuments(
  store: Pick<Store, 'scroll'>,
  { collection, tenant, pageSize = DEFAULT_PAGE, pageToken }: ListDocumentsRequest__Output,
  call: CallOptions,
): Promise<ListDocumentsResponse> {
  checkCollection(collection);
  checkTenant(tenant);
  if (pageSize < 1 || pageSize > MAX_PAGE) {
    const range = `send 1 to ${MAX_PAGE}, or leave it out for ${DEFAULT_PAGE}`;
    throw invalidArgument('page_size', `is ${pageSize}; ${range}`);
  }
  const page = { limit: pageSize, ...(pageToken === '' ? {} : { after: pageToken }) };
  const { documents, next = '' } = await store.scroll(collection, tenant, page, call);
  return {
    documents: documents.map((document) => ({
      id: document.documentId,
      title: document.title,
      passages: passageTexts(document),
    })),
    nextPageToken: next,
  };
}

/** Passages of the documents that are read at once: with vectors and texts, some ten MB. */
const READ_PASSAGES = 2048;

/** Most bytes of the documents of one answer: half of what a client takes. */
const MAX_GET_BYTES = 32 * 1024 * 1024;

/**
 * Documents by id, as they came. A few are read at a time, so that an answer that would be too large is refused before it
 * lies in memory.
 *
 * @throws {ServiceError} `INVALID_ARGUMENT`, naming the field; `RESPONSE_TOO_LARGE` where several documents do not fit
 */
export async function getDocuments(
  store: Pick<Store, 'lookupDocuments' | 'readDocuments'>,
  { collection, tenant, documentIds, withVectors }: GetDocumentsRequest__Output,
  call: CallOptions,
): Promise<GetDocumentsResponse> {
  checkCollection(collection);
  checkTenant(tenant);
  const ids = [...new Set(documentIds)];
  if (ids.length === 0 || documentIds.length > MAX_GET_IDS) {
    throw invalidArgument('document_ids', `has ${documentIds.length} ids; send 1 to ${MAX_GET_IDS}`);
  }
  documentIds.forEach((id, index) => checkDocumentId(id, `document_ids[${index}]`));
  const keys = ids.map((documentId) => ({ tenant, documentId }));
  const sizes = await store.lookupDocuments(collection, keys, call);
  const found = new Map<string, FullDocument>();
  let bytes = 0;
  for (const part of partsOf(keys, (index) => sizes[index]?.passages ?? 0)) {
    for (const document of await store.readDocuments(collection, part, { withVectors }, call)) {
      if (!document) continue;
      found.set(document.documentId, document);
      bytes += wireBytes(document);
      if (bytes > MAX_GET_BYTES && found.size > 1) throw tooLarge(found.size, ids.length);
    }
  }
  return {
    documents: ids.flatMap((id) => {
      const document = found.get(id);
      return document ? [messageOf(document)] : [];
    }),
    missingIds: ids.filter((id) => !found.has(id)),
  };
}

/** Cuts a list into parts of about {@link READ_PASSAGES} passages. */
function* partsOf<Key>(
  keys: readonly Key[],
  passagesOf: (index: number) => number,
): Generator<Key[], void, undefined> {
  let part: Key[] = [];
  let passages = 0;
  for (const [index, key] of keys.entries()) {
    const own = passagesOf(index);
    if (part.length > 0 && passages + own > READ_PASSAGES) {
      yield part;
      part = [];
      passages = 0;
    }
    part.push(key);
    passages += own;
  }
  yield part;
}

function tooLarge(fitted: number, asked: number): ServiceError {
  return new ServiceError(
    status.FAILED_PRECONDITION,
    'RESPONSE_TOO_LARGE',
    `document_ids: the first ${fitted} of ${asked} documents take more than ${MAX_GET_BYTES} bytes; ask for fewer at a time`,
    { metadata: { documents: String(fitted) } },
  );
}
