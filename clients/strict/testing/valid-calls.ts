import type { Metadata, ServerDuplexStream } from '@grpc/grpc-js';
import { credentials } from '@grpc/grpc-js';
import type { IngestRequest__Output } from '../../../proto/generated/scalingnote/v1/IngestRequest.ts';
import type { SearchStreamRequest__Output } from '../../../proto/generated/scalingnote/v1/SearchStreamRequest.ts';
import type { SearchStreamResponse } from '../../../proto/generated/scalingnote/v1/SearchStreamResponse.ts';
import type { DocumentClient, IngestOutcome, QueryClient } from '../../index.ts';
import type { Handlers, IngestCall } from '../../testing/fake-service.ts';

/**
 * Every method of the clients with arguments that are valid and reach the services as they are: each field has a value
 * that is not its default.
 */

export interface Clients {
  queries: QueryClient;
  documents: DocumentClient;
}

/** A method, as a caller uses it. */
export interface Method {
  /** Made anew for each call. */
  args: () => unknown[];
  /** What the method returns: a promise, or what a caller awaits in its place. */
  call: (clients: Clients, ...args: never[]) => Promise<unknown>;
}

const TRACE = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`;
const FILTER = {
  must: [
    { field: 'metadata.a', equals: 'x' },
    { filter: { should: [{ field: 'metadata.b', exists: true }] } },
  ],
  mustNot: [
    { field: 'metadata.c', range: { gte: 1, lt: 5 } },
    { field: 'metadata.d', anyOf: [1, 2] },
  ],
};
const SEARCH = {
  collection: 'c',
  tenant: 't',
  limit: 3,
  offset: 2,
  scoreThreshold: 0.5,
  omitText: true,
  omitMetadata: true,
  atLeastAsFreshAs: 'token',
  withDocumentText: true,
  filter: FILTER,
  withPercentile: true,
  percentileThreshold: 0.5,
  withCount: true,
  facets: [{ field: 'metadata.a', limit: 3 }],
  sort: { field: 'metadata.a', descending: true },
  candidates: 100,
};
const TEXT_SEARCH = {
  ...SEARCH,
  query: 'q',
  mode: 'hybrid',
  explain: true,
  explainDocumentId: 'd',
  snippetLength: 100,
  fusion: { method: 'ranks', k: 20, denseWeight: 0.5 },
  rerank: 20,
  prefix: true,
  language: 'en',
};
const scope = { collection: 'c', tenant: 't' };
const stream = () => ({ traceparent: TRACE, metadata: { key: 'x' } });
const bounds = () => ({
  ...stream(),
  timeoutMs: 5000,
  hedgeAfterMs: 4000,
  signal: new AbortController().signal,
});
const long = () => ({
  ...stream(),
  signal: new AbortController().signal,
  patienceMs: 100,
  onReconnect: () => {},
});

/** A method whose request is an object, which bounds follow. */
function method(request: object, call: Method['call']): Method {
  return { args: () => [structuredClone(request), bounds()], call };
}

async function all(items: AsyncIterable<unknown>): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const item of items) found.push(item);
  return found;
}

export const METHODS: Readonly<Record<string, Method>> = {
  search: method(TEXT_SEARCH, ({ queries }, ...args) => queries.search(...(args as [never]))),
  searchByVector: method({ search: SEARCH, space: 'sp1_1', vector: [0.5, -1] }, ({ queries }, ...args) =>
    queries.searchByVector(...(args as [never])),
  ),
  encode: {
    args: () => [['one', 'two'], bounds()],
    call: ({ queries }, ...args) => queries.encode(...(args as [never])),
  },
  measureFamiliarity: method(scope, ({ queries }, ...args) =>
    queries.measureFamiliarity(...(args as [never])),
  ),
  describe: { args: () => [bounds()], call: ({ queries }, ...args) => queries.describe(...args) },
  health: { args: () => [bounds()], call: ({ documents }, ...args) => documents.health(...args) },
  searchStream: {
    args: () => [stream(), structuredClone(TEXT_SEARCH), { ...long(), timeoutMs: 5000 }].map(onlyQueryBounds),
    call: async ({ queries }, ...[own, request, query]) => {
      await using opened = queries.searchStream(own);
      return await opened.search(request!, query);
    },
  },
  delete: method({ ...scope, documentIds: ['a', 'b'] }, ({ documents }, ...args) =>
    documents.delete(...(args as [never])),
  ),
  deleteByFilter: method({ ...scope, filter: FILTER }, ({ documents }, ...args) =>
    documents.delete(...(args as [never])),
  ),
  count: method({ ...scope, filter: FILTER }, ({ documents }, ...args) =>
    documents.count(...(args as [never])),
  ),
  listDocuments: method(scope, ({ documents }, ...args) =>
    all(documents.listDocuments(...(args as [never]))),
  ),
  getDocuments: method({ ...scope, ids: ['a', 'b'], withVectors: true }, ({ documents }, ...args) =>
    documents.getDocuments(...(args as [never])),
  ),
  exportDocuments: {
    args: () => [
      {
        ...long(),
        ...scope,
        filter: structuredClone(FILTER),
        withVectors: true,
        after: { id: 'a' },
        onBegin: () => {},
      },
    ],
    call: ({ documents }, ...[options]) => all(documents.exportDocuments(options!)),
  },
  listCollections: {
    args: () => [bounds()],
    call: ({ documents }, ...args) => documents.listCollections(...args),
  },
  listAliases: { args: () => [bounds()], call: ({ documents }, ...args) => documents.listAliases(...args) },
  switchAlias: {
    args: () => ['alias', 'c--1', bounds()],
    call: ({ documents }, ...args) => documents.switchAlias(...(args as unknown as [never, never])),
  },
  dropCollection: {
    args: () => ['c--1', { withAliases: true }, bounds()],
    call: ({ documents }, ...args) => documents.dropCollection(...(args as unknown as [never])),
  },
  dropTenant: method(
    { tenant: 't', confirmTenant: 't', collection: 'c', dryRun: true },
    ({ documents }, ...args) => documents.dropTenant(...(args as [never])),
  ),
  listTenants: method({ collection: 'c' }, ({ documents }, ...args) =>
    all(documents.listTenants(...(args as [never]))),
  ),
  tenantUsage: {
    args: () => ['t', bounds()],
    call: ({ documents }, ...args) => documents.tenantUsage(...(args as unknown as [never])),
  },
  ingest: {
    args: () => [
      [
        {
          id: 'a',
          title: 'title',
          text: 'text',
          metadata: { colour: 'red', size: { width: 1 } },
          version: 2,
          expiresAt: new Date(5000),
          traceparent: TRACE,
          sequence: 3,
        },
        { delete: 'b', version: 2 },
        { patch: 'a', set: { colour: 'blue' }, remove: ['size'], version: 3, sequence: 7 },
      ],
      {
        ...long(),
        ...scope,
        omitText: true,
        analysis: { language: 'de', keepDiacritics: true },
        bulk: true,
        expectedIdentity: 'identity',
        expectedFreshness: 'token',
        window: 2,
        onWatermark: () => {},
        onReady: () => {},
      },
    ],
    call: async ({ documents }, ...[operations, options]) => {
      const rejected: IngestOutcome[] = [];
      const onOutcome = (outcome: IngestOutcome) => void (outcome.error && rejected.push(outcome));
      const summary = await documents.ingest(operations!, withCallback(options!, onOutcome));
      // A document that can't be sent is rejected alone.
      if (rejected[0]) throw rejected[0].error!;
      return summary;
    },
  },
};

/** A query of a stream takes fewer bounds than the stream. */
function onlyQueryBounds(arg: object, at: number): object {
  if (at !== 2) return arg;
  const { signal, timeoutMs, traceparent } = arg as Record<string, unknown>;
  return { signal, timeoutMs, traceparent };
}

/** Adds a callback to options, whatever these are by now. */
function withCallback(options: object, onOutcome: unknown): never {
  if (typeof options === 'object' && options !== null) {
    Object.defineProperty(options, 'onOutcome', { value: onOutcome, enumerable: true, configurable: true });
  }
  return options as never;
}

/** Every option of a client. */
export const CLIENT_OPTIONS = (address: string) => ({
  addresses: [address],
  balancing: 'least-loaded',
  credentials: credentials.createInsecure(),
  timeoutMs: 5000,
  attempts: 3,
  waitForReady: true,
  hedgeAfterMs: 4000,
  channelOptions: { 'grpc.keepalive_time_ms': 50_000, 'grpc.primary_user_agent': 'ours' },
});

/** A service that notes what arrives, message by message. */
export class Recorder {
  arrived: unknown[] = [];

  #note(request: unknown, metadata: Metadata, into = this.arrived): void {
    const trace = String(metadata.get('traceparent')[0]).slice(0, 35);
    into.push(structuredClone({ request, key: metadata.get('key'), trace }));
  }

  readonly #unary = (
    call: { request: unknown; metadata: Metadata },
    callback: (error: null, answer: never) => void,
  ): void => {
    this.#note(call.request, call.metadata);
    callback(null, {} as never);
  };

  readonly handlers: Handlers = {
    ...Object.fromEntries(
      [
        [
          'Search',
          'SearchByVector',
          'Encode',
          'MeasureFamiliarity',
          'Describe',
          'Delete',
          'Count',
          'ListDocuments',
        ],
        ['GetDocuments', 'ListCollections', 'ListAliases', 'SwitchAlias', 'DropCollection'],
        ['DropTenant', 'ListTenants', 'GetTenantUsage'],
      ].flatMap((names) => names.map((name) => [name, this.#unary])),
    ),
    SearchStream: (call: ServerDuplexStream<SearchStreamRequest__Output, SearchStreamResponse>) => {
      call.on('data', (request: SearchStreamRequest__Output) => {
        this.#note(request, call.metadata);
        call.write({ sequence: request.sequence, result: {} });
      });
      call.on('end', () => call.end());
      call.on('error', () => {});
    },
    Export: (call) => {
      this.#note(call.request, call.metadata);
      call.write({ header: { collection: { name: 'c' } } });
      call.end();
    },
    Ingest: (call: IngestCall) => {
      // What one that was given up sent may come when the next one has begun.
      const into = this.arrived;
      call.on('data', (request: IngestRequest__Output) => {
        const { begin } = request;
        // Random, and counted by the client.
        this.#note(
          begin ? { ...request, begin: { ...begin, runId: '', attempt: 1 } } : request,
          call.metadata,
          into,
        );
        const { sequence } = request;
        if (begin) call.write({ ready: { collection: { identity: begin.expectedIdentity } } });
        else {
          call.write({ outcome: { sequence, kind: 'OUTCOME_KIND_INDEXED' } });
          call.write({ watermark: { sequence, freshnessToken: 'token' } });
        }
      });
      call.on('end', () => call.end());
      call.on('error', () => {});
    },
  };
}
