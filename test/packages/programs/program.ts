import { DocumentClient, QueryClient, ScalingnoteError, type SearchRequest } from '@scalingnote/client';

/** Where the services are, and a collection that nobody else uses. */
export interface Order {
  documents: string;
  queries: string;
  collection: string;
}

/** What the program saw. `../judge.ts` says what it must be. */
export interface Report {
  indexed: number;
  found: { id: string; title: string; metadata: unknown }[];
  widths: number[];
  typed: string[];
  refusals: object[];
}

/** Uses what people use first. A Lambda function, the body of a route, and all that the other consumers run. */
export async function handler({ documents, queries, collection }: Order): Promise<Report> {
  const documentClient = new DocumentClient({ address: documents });
  const queryClient = new QueryClient({ address: queries });
  try {
    const { indexed, freshnessToken } = await documentClient.ingest(
      [
        { id: 'star', title: 'Star', text: 'star', metadata: { legs: 0 } },
        { id: 'astronomer', title: 'Astronomer', text: 'astronomer', metadata: { legs: 2 } },
      ],
      { collection },
    );
    const request: SearchRequest = { collection, query: 'star', atLeastAsFreshAs: freshnessToken };
    const { hits } = await queryClient.search({
      ...request,
      filter: { must: [{ field: 'metadata.legs', range: { gte: 2 } }] },
    });
    const { embeddings } = await queryClient.encode(['hello', 'world']);
    const stream = queryClient.searchStream();
    const [, typed] = await Promise.all([
      stream.search({ ...request, query: 'st' }),
      stream.search({ ...request, query: 'star' }),
    ]);
    stream.close();
    return {
      indexed,
      found: hits.map(({ id, title, metadata }) => ({ id, title, metadata })),
      widths: embeddings.map((vector) => vector.length),
      typed: (typed?.hits ?? []).map(({ id }) => id).toSorted(),
      refusals: [
        // @ts-expect-error The types know no such option, and the client none either.
        await refusal(async () => new QueryClient({ adress: queries })),
        // @ts-expect-error Nor such a field.
        await refusal(async () => queryClient.search({ ...request, treshold: 1 })),
        // The client knows no collections: this one is the service's.
        await refusal(async () => queryClient.search({ collection: 'nowhere', query: 'star' })),
      ],
    };
  } finally {
    documentClient.close();
    queryClient.close();
  }
}

async function refusal(call: () => Promise<unknown>): Promise<object> {
  try {
    return { answer: await call() };
  } catch (error) {
    if (!(error instanceof ScalingnoteError)) return { foreign: String(error) };
    const { code, reason, violations } = error;
    return { code, reason, fields: violations.map(({ field }) => field) };
  }
}
