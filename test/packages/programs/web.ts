import { loadTower, WebClient, WebError } from '@scalingnote/web';

/** Where the query service is, a collection with documents, and the folder of a lookup tower. */
export interface WebOrder {
  service: string;
  collection: string;
  tower: string;
  space: string;
}

/** Searches over HTTP, is refused, and encodes by itself. */
export async function handler({ service, collection, tower, space }: WebOrder): Promise<object> {
  const client = new WebClient(service);
  const { hits } = await client.search({ collection, query: 'star' });
  // @ts-expect-error The types know no such field, and the client none either.
  const refused = await client.search({ collection, query: 'star', treshold: 1 }).catch(String);
  const gone = await client
    .search({ collection: 'nowhere', query: 'star' })
    .catch((error: unknown) => error instanceof WebError && error.code);
  const { vector } = (await loadTower(tower, { at: 'folder', space })).encode('a person who studies stars');
  return { found: hits.map(({ documentId }) => documentId).toSorted(), refused, gone, width: vector.length };
}
