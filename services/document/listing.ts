import type { ListDocumentsRequest__Output } from '../../proto/generated/scalingnote/v1/ListDocumentsRequest.ts';
import type { ListDocumentsResponse } from '../../proto/generated/scalingnote/v1/ListDocumentsResponse.ts';
import { type CallOptions, passageTexts, type Store } from '../../store/store.ts';
import { invalidArgument } from '../runtime/errors.ts';
import { checkCollection, checkTenant } from '../runtime/validate.ts';

/** Documents of a page by default and at most: a page is one message, and a document may have megabytes. */
const DEFAULT_PAGE = 20;
const MAX_PAGE = 100;

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
