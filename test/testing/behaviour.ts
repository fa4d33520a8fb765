import assert from 'node:assert/strict';
import { type DocumentClient, type QueryClient, ScalingnoteError } from '../../clients/index.ts';
import type { DocumentOrigin, Hit, SearchResult } from '../../clients/answers.ts';
import type { IngestOutcome } from '../../clients/ingest.ts';
import type { IngestOperation } from '../../clients/operation.ts';
import { camelCased, neutralName } from './neutral-names.ts';

/** One case of `clients/behaviour/cases.json`. */
export interface Case {
  name: string;
  call: keyof typeof CALLS;
  request: Record<string, unknown>;
  /** Bounds of the call. */
  options?: Record<string, unknown>;
  /** The store that the case is about. @default all */
  only_on?: string;
  /** Either an error, or what is expected of the answer. */
  expect: Record<string, unknown> & { code?: string; reason?: string; field?: string; says?: string };
}

/** What the calls go to. */
export interface Clients {
  documents: DocumentClient;
  queries: QueryClient;
  collection: string;
  /** The table's documents, and how far the ingest of them came. */
  table: readonly IngestOperation[];
  checkpoint: { identity: string; freshnessToken: string };
}

type Request = Record<string, unknown>;
type Answer = Record<string, unknown>;

/** Makes the call of a case with the TypeScript client, and spells the answer as the table does. */
export async function perform(clients: Clients, { call, request, options }: Case): Promise<Answer> {
  const asked = camelCased(special(withFilter(request))) as Request;
  return await CALLS[call](clients, { ...asked }, options && boundsOf(options));
}

/** The fields that an error names, as the table spells them. */
export function fieldsOf({ violations }: ScalingnoteError): string[] {
  return violations.map(({ field }) => neutralName(field).replace(/^timeout_ms$/, 'timeout'));
}

/** Fails where an error is not the one that a case expects. */
export function assertExpected(error: unknown, expect: Case['expect']): true {
  assert.ok(error instanceof ScalingnoteError, String(error));
  assert.equal(error.code, expect.code, error.message);
  assert.equal(error.reason, expect.reason ?? error.reason, error.message);
  if (expect.field !== undefined) {
    const fields = fieldsOf(error);
    assert.ok(fields.includes(expect.field), `${fields.join()}: ${error.message}`);
  }
  if (expect.says !== undefined) {
    const says = expect.says.toLowerCase();
    assert.ok(error.message.toLowerCase().includes(says), error.message);
  }
  return true;
}

/** The table counts seconds. What is no number stays, to be refused. */
function boundsOf({ timeout, ...rest }: Request): never {
  const value = special(timeout);
  const seconds = typeof value === 'number' ? value * 1000 : value;
  const named = (camelCased(rest) as Request)['metadata'] ?? rest['metadata'];
  return {
    ...(camelCased(rest) as Request),
    ...(named !== undefined && { metadata: named }),
    ...(timeout !== undefined && { timeoutMs: seconds }),
  } as never;
}

/** `{"$": "nan"}` is what JSON has no word for, `{"repeat": "a ", "times": 9}` a text that would be long to write. */
function special(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(special);
  if (typeof value !== 'object' || value === null) return value;
  if ('$' in value) return Number.NaN;
  if ('repeat' in value && 'times' in value) return String(value.repeat).repeat(Number(value.times));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, special(item)]));
}

/** `{"deep": N}` and `{"wide": N}` are filters that would be long to write. */
function withFilter(request: Request): Request {
  const { deep, wide } = (request['filter'] ?? {}) as { deep?: number; wide?: number };
  if (wide !== undefined) {
    const must = Array.from({ length: wide }, () => ({ field: 'version', equals: 0 }));
    return { ...request, filter: { must } };
  }
  if (deep === undefined) return request;
  let filter: object = {};
  for (let level = 1; level < deep; level++) filter = { must: [{ filter }] };
  return { ...request, filter };
}

/** A search of the table's documents sees what is there. The token is of their tenant, and says nothing of others. */
function within(clients: Clients, request: Request): never {
  const { collection, checkpoint } = clients;
  const ours = {
    collection,
    ...(request['tenant'] === undefined && { atLeastAsFreshAs: checkpoint.freshnessToken }),
  };
  return (request['collection'] === undefined ? { ...ours, ...request } : request) as never;
}

function found(result: SearchResult): Answer {
  const { hits, explainedDocument, queryTruncation: cut, fusion, resultSet: set } = result;
  const ids = hits.map(({ id }) => id);
  const each = (read: (hit: Hit) => unknown): unknown[] => hits.map(read);
  return {
    ids,
    ids_in_any_order: ids.toSorted(),
    count: ids.length,
    first: ids[0],
    texts: each(({ text }) => text),
    metadata: each(({ metadata }) => metadata),
    versions: each(({ version }) => version),
    snippets: each(({ snippet }) => snippet?.text),
    highlights: each(({ snippet }) =>
      snippet?.highlights.map(({ start, end }) => snippet.text.slice(start, end)),
    ),
    document_texts: each(({ documentText }) => documentText),
    ranks: each(({ explanation }) => explanation?.rank),
    origins: each(({ explanation }) => originOf(explanation?.origin)),
    cut: cut && {
      read_all: cut.tokensRead >= cut.queryTokens,
      query_tokens: cut.queryTokens,
      at_least: cut.queryTokensAtLeast,
    },
    fate: explainedDocument?.fate,
    fate_origin: originOf(explainedDocument?.explanation?.origin),
    filter_path: explainedDocument?.filterPath,
    word_ranks: each(({ legs }) => legs?.sparse?.rank),
    fusion: fusion && [fusion.method, fusion.k, fusion.denseWeight],
    set: set && [
      set.kind,
      set.count,
      set.exact,
      set.facets.map(({ values }) => values.map(({ value, documents }) => [value, documents])),
    ],
    no_good_answer: result.noGoodAnswer !== undefined,
  };
}

/** What is the same in each run of what an explanation says about how a document came in. */
function originOf(origin: DocumentOrigin | undefined): Answer | undefined {
  if (!origin) return undefined;
  const { ingestedAt, traceId = '', sequence, position, coverage, unknown } = origin;
  const age = Date.now() - (ingestedAt?.getTime() ?? 0);
  return {
    lately: age >= 0 && age < 3_600_000,
    traced: /^[0-9a-f]{32}$/.test(traceId),
    sequence,
    placed: position !== undefined,
    coverage,
    known: unknown === undefined,
  };
}

const CALLS = {
  search: async (clients: Clients, request: Request, bounds?: never): Promise<Answer> =>
    found(await clients.queries.search(within(clients, request), bounds)),

  search_by_vector: async (clients: Clients, request: Request): Promise<Answer> => {
    const { vectorOf, space, vector, ...search } = request;
    const { embeddings, queryTower } = await clients.queries.encode([vectorOf as string]);
    const asked = {
      search: within(clients, search),
      space: (space ?? queryTower.space.fingerprint) as string,
      vector: (vector ?? embeddings[0]) as number[],
    };
    return found(await clients.queries.searchByVector(asked));
  },

  encode: async ({ queries }: Clients, { texts, times = 1 }: Request): Promise<Answer> => {
    const all = times === 1 ? texts : Array.from({ length: times as number }, () => texts).flat();
    const { embeddings } = await queries.encode(all as string[]);
    const same: number[][] = [];
    for (const [one, vector] of embeddings.slice(0, 3).entries()) {
      for (let other = one + 1; other < Math.min(embeddings.length, 3); other++) {
        if (vector.every((value, index) => value === embeddings[other]![index])) same.push([one, other]);
      }
    }
    return { vectors: embeddings.length, dimensions: embeddings[0]?.length, same };
  },

  get: async ({ documents, collection }: Clients, request: Request): Promise<Answer> => {
    const { ids, paddedTo = 0, ...rest } = request as { ids: string[]; paddedTo?: number };
    const padding = Array.from({ length: Math.max(0, paddedTo - ids.length) }, (_, i) => `nobody-${i}`);
    const asked = { collection, ids: [...ids.slice(0, 1), ...padding, ...ids.slice(1)], ...rest };
    const got = await documents.getDocuments(asked);
    return {
      ids: got.map(({ id }) => id),
      count: got.length,
      documents: got.map(({ id, title, text, metadata, version, tenant }) => ({
        id,
        title,
        text,
        metadata,
        version,
        tenant,
      })),
    };
  },

  export: async ({ documents, collection }: Clients, request: Request): Promise<Answer> => {
    const { afterFirst, ...rest } = request;
    const options = { collection, ...rest };
    const all = async (more = {}) => {
      const got = [];
      for await (const document of documents.exportDocuments({ ...options, ...more })) got.push(document);
      return got;
    };
    const got = afterFirst ? await all({ after: { id: (await all())[0]!.id } }) : await all();
    const ids = got.map(({ id }) => id);
    const vectors = got.flatMap(({ passages }) => passages.flatMap(({ vector }) => vector?.length ?? []));
    return { ids, ids_in_any_order: ids.toSorted(), count: ids.length, vectors };
  },

  ingest: async (clients: Clients, request: Request): Promise<Answer> => {
    const { operations, resume, ...options } = request;
    const { checkpoint, collection, table } = clients;
    let source = operations === 'documents' ? table : (operations as IngestOperation[]);
    let progress = {};
    let watermark = 0;
    if (resume) {
      const { sequence, identity, isAhead } = resume as {
        sequence: number;
        identity?: string;
        isAhead?: boolean;
      };
      // The TypeScript client leaves it to its caller to pass operations over.
      source = source
        .map((operation, index) => ({ ...operation, sequence: index + 1 }))
        .filter((operation) => operation.sequence > sequence);
      const expectedFreshness = isAhead
        ? `${checkpoint.identity}.${Number.MAX_SAFE_INTEGER}`
        : checkpoint.freshnessToken;
      progress = { expectedIdentity: identity ?? checkpoint.identity, expectedFreshness };
      watermark = sequence;
    }
    const outcomes = new Map<number, IngestOutcome>();
    const done = await clients.documents.ingest(source, {
      collection,
      ...progress,
      ...options,
      onOutcome: (outcome) => outcomes.set(outcome.sequence, outcome),
    });
    const inOrder = [...outcomes.values()].toSorted((one, other) => one.sequence - other.sequence);
    return {
      outcomes: inOrder.map(({ kind }) => kind),
      fields: inOrder.flatMap(({ error }) => (error ? fieldsOf(error) : [])),
      watermark: Math.max(watermark, done.watermark),
      sent: done.sent,
    };
  },

  count: async ({ documents, collection }: Clients, request: Request): Promise<Answer> => ({
    documents: (await documents.count({ collection, ...request })).documents,
  }),

  delete: async ({ documents, collection }: Clients, request: Request): Promise<Answer> => ({
    documents: (await documents.delete({ collection, ...request })).documents,
  }),

  describe: async ({ queries }: Clients): Promise<Answer> => {
    const { tower } = await queries.describe();
    return { role: tower.role, dimensions: tower.space.dimensions };
  },

  collections: async ({ documents, collection }: Clients): Promise<Answer> => {
    const ours = (await documents.listCollections()).filter(({ name }) => name === collection);
    return { has: ours.length === 1, documents: ours[0]?.documents };
  },

  stream: async (clients: Clients, request: Request): Promise<Answer> => {
    const stream = clients.queries.searchStream();
    if (request['isClosed']) stream.close();
    const answer = async ({ timeout, metadata, ...search }: Request): Promise<unknown> => {
      const bounds = {
        ...(timeout !== undefined && { timeoutMs: (timeout as number) * 1000 }),
        ...(metadata !== undefined && { metadata }),
      };
      try {
        const result = await stream.search(within(clients, search), bounds);
        return result ? result.hits.map(({ id }) => id) : null;
      } catch (error) {
        if (error instanceof ScalingnoteError) return error.code;
        throw error;
      }
    };
    const answers: unknown[] = [];
    const searches = request['searches'] as Request[];
    if (request['inTurn']) for (const search of searches) answers.push(await answer(search));
    else answers.push(...(await Promise.all(searches.map(answer))));
    stream.close();
    return { answers, last: answers.at(-1), superseded: answers.slice(0, -1).includes(null) };
  },
};
