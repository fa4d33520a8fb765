import assert from 'node:assert/strict';
import {
  type ClientDuplexStream,
  credentials,
  Metadata,
  type ServiceDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import * as fc from 'fast-check';
import { pino } from 'pino';
import { Patterns } from '../../../../keys/patterns.ts';
import { SCOPES } from '../../../../keys/scopes.ts';
import { v1 } from '../../../../proto/load.ts';
import { toStruct, toValue } from '../../../../proto/struct.ts';
import { generationAt } from '../../../../store/qdrant/layout.ts';
import type { Store } from '../../../../store/store.ts';
import { IngestPipeline } from '../../../document/ingest/pipeline.ts';
import { documentService } from '../../../document/service.ts';
import { FakeTower as DocumentTower } from '../../../document/testing/fake-tower.ts';
import { queryService } from '../../../query/service.ts';
import { FakeTower as QueryTower } from '../../../query/testing/fakes.ts';
import { Access } from '../../access/access.ts';
import { type RunningServer, startServer } from '../../server.ts';
import { statusOf } from '../../testing/harness.ts';

/** Every RPC of both services, by name. */
export const METHODS = { ...v1.QueryService.service, ...v1.DocumentService.service } as ServiceDefinition;
const COLLECTION = 'docs';

/** Each tenant is its own key. */
const access = new Access(
  {
    credential: (credential) => ({
      id: credential,
      kind: 'key',
      scopes: new Set(SCOPES),
      tenants: new Patterns([credential]),
      collections: new Patterns(['*']),
      death: () => undefined,
    }),
    certificate: () => undefined,
  },
  undefined,
);

/** What a tenant does, and what it asks to see of it. */
export interface Step {
  tenant: 'a' | 'b';
  method: string;
  request: (tenant: string) => object;
}

const word = fc.constantFrom('sun', 'moon', 'star', 'sea', 'tree');
const text = fc.array(word, { minLength: 1, maxLength: 4 }).map((words) => words.join(' '));
const id = fc.constantFrom('1', '2', '3', '4');
const scope = (tenant: string) => ({ collection: COLLECTION, tenant });
const byColour = { must: [{ equals: { field: 'metadata.colour', value: toValue('red') } }] };

const ingested = fc
  .array(
    fc.oneof(
      fc
        .record({ id, text, metadata: word.map((colour) => toStruct({ colour })) })
        .map((document) => ({ document })),
      id.map((one) => ({ delete: { id: one } })),
      fc.record({ id, set: word.map((colour) => toStruct({ colour })) }).map((patch) => ({ patch })),
    ),
    { maxLength: 4 },
  )
  .map((operations) => [
    { sequence: 0 },
    ...operations.map((each, index) => ({ ...each, sequence: index + 1 })),
  ]);

/** A way to call each RPC that a tenant can call. A new one needs a line here. */
export const CALLS: Readonly<Record<string, fc.Arbitrary<(tenant: string) => object> | undefined>> = {
  Search: fc
    .record({
      query: text,
      // Terms are as rare as they are in the whole shard of a Qdrant server; see docs/tenants.md.
      mode: fc.constantFrom('SEARCH_MODE_DENSE', 'SEARCH_MODE_SPARSE', 'SEARCH_MODE_HYBRID'),
      explain: fc.boolean(),
      explainDocumentId: fc.oneof(fc.constant(''), id),
      snippetLength: fc.constantFrom(0, 40),
      withDocumentText: fc.boolean(),
      filter: fc.constantFrom(null, byColour),
    })
    .map((request) => (tenant: string) => ({ ...request, ...scope(tenant), limit: 10 })),
  SearchByVector: fc.constant((tenant: string) => ({
    search: scope(tenant),
    space: new QueryTower().manifest.space.fingerprint,
    vector: Array.from({ length: 8 }, () => Math.sqrt(1 / 8)),
  })),
  SearchStream: text.map((query) => (tenant: string) => ({
    sequence: 1,
    search: { query, ...scope(tenant) },
  })),
  Encode: fc.array(text, { minLength: 1, maxLength: 2 }).map((texts) => () => ({ texts })),
  MeasureFamiliarity: fc.constant(scope),
  Ingest: ingested.map((operations) => (tenant: string) => ({
    messages: operations.map((each, index) => (index === 0 ? { begin: scope(tenant) } : each)),
  })),
  Delete: fc
    .oneof(
      fc.array(id, { minLength: 1, maxLength: 2 }).map((documentIds) => ({ documentIds })),
      fc.constant({ filter: byColour }),
    )
    .map((what) => (tenant: string) => ({ ...scope(tenant), ...what })),
  Count: fc
    .constantFrom({}, { filter: byColour })
    .map((what) => (tenant: string) => ({ ...scope(tenant), ...what })),
  ListDocuments: fc.constant((tenant: string) => ({ ...scope(tenant), pageSize: 2 })),
  GetDocuments: fc.constant((tenant: string) => ({
    ...scope(tenant),
    documentIds: ['1', '2', '3'],
    withVectors: true,
  })),
  Export: fc.constant((tenant: string) => ({ ...scope(tenant), withVectors: true })),
  ListCollections: fc.constant(() => ({})),
  ListAliases: fc.constant(() => ({})),
  ListTenants: fc.constant(() => ({})),
  GetTenantUsage: fc.constant((tenant: string) => ({ tenant })),
  DropTenant: fc.constant((tenant: string) => ({ tenant, confirmTenant: tenant })),
  // They concern everybody who uses a collection, and need the scope admin.
  SwitchAlias: undefined,
  DropCollection: undefined,
  // What the service is.
  Describe: undefined,
};

/** A step of one of two tenants. */
export const step: fc.Arbitrary<Step> = fc
  .oneof(
    { weight: 20, arbitrary: CALLS['Ingest']!.map((request) => ({ method: 'Ingest', request })) },
    ...Object.entries(CALLS).flatMap(([method, requests]) =>
      requests === undefined
        ? []
        : [
            {
              weight: method === 'DropTenant' ? 2 : 10,
              arbitrary: requests.map((request) => ({ method, request })),
            },
          ],
    ),
  )
  .chain((call) => fc.constantFrom<'a' | 'b'>('a', 'b').map((tenant) => ({ tenant, ...call })));

/** Services over a store, and what a tenant is answered. */
async function open(store: Store) {
  const log = pino({ level: 'silent' });
  const tower = new DocumentTower();
  const pipeline = new IngestPipeline({ store, tower, log }, { budgetTokens: 32_768, maxStreams: 8 });
  const query = queryService({
    tower: new QueryTower(),
    store,
    slots: 4,
    queue: 4,
    cache: 100,
    log,
  });
  const servers: RunningServer[] = [];
  for (const service of [query, documentService({ store, pipeline, describe: () => ({}) })]) {
    const server = await startServer({
      host: '127.0.0.1',
      port: 0,
      portSetting: '',
      services: [service],
      maxReceiveBytes: 1_000_000,
      log,
      access,
    });
    server.setServing(true);
    servers.push(server);
  }
  const options = { 'grpc.use_local_subchannel_pool': 1 };
  const [searches, documents] = [
    new v1.QueryService(servers[0]!.address, credentials.createInsecure(), options),
    new v1.DocumentService(servers[1]!.address, credentials.createInsecure(), options),
  ];
  const call = async ({ tenant, method, request }: Step): Promise<unknown> => {
    const client = method in v1.QueryService.service ? searches : documents;
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${tenant}`);
    const { path, requestStream, responseStream, requestSerialize, responseDeserialize } = METHODS[method]!;
    const body = request(tenant);
    if (!responseStream) {
      return await new Promise((resolve) => {
        client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          body,
          metadata,
          (error, answer) => resolve(error ? statusOf(error) : answer),
        );
      });
    }
    const stream = requestStream
      ? client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata)
      : client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, body, metadata);
    if (requestStream) {
      const { messages = [body] } = body as { messages?: object[] };
      const duplex = stream as ClientDuplexStream<object, object>;
      for (const each of messages) duplex.write(each);
      duplex.end();
    }
    const answers: unknown[] = [];
    return await new Promise((resolve) => {
      stream.on('data', (answer: unknown) => answers.push(answer));
      stream.on('error', (error: ServiceError) => resolve([...answers, statusOf(error)]));
      stream.on('end', () => resolve(answers));
    });
  };
  const close = async (): Promise<void> => {
    searches.close();
    documents.close();
    await Promise.all(servers.map((server) => server.shutdown(100)));
  };
  return { call, close };
}

/** What differs by chance, or by the clock, is no answer: times, and the random name of a collection. */
function plain(answer: unknown): unknown {
  return JSON.parse(
    JSON.stringify(answer, (key, value: unknown) => {
      if (key.endsWith('Ms')) return 0;
      if (key === 'ingestedAt' && value !== null) {
        const { seconds } = value as { seconds: string };
        return isNow(Number(seconds) * 1000) ? 'now' : value;
      }
      if (value !== null && typeof value === 'object' && 'type' in value && value.type === 'Buffer') {
        return Buffer.from((value as unknown as { data: number[] }).data).toString('base64');
      }
      if (typeof value !== 'string') return value;
      if (key === 'position') return plainPosition(value);
      return value.replaceAll(/col_[0-9a-f]{32}(?:\.([\w-]+))?/g, (_, position?: string) =>
        position === undefined ? 'col_' : `col_.${plainPosition(position)}`,
      );
    }),
  );
}

/**
 * A position without the clock in it. In the embedded store, it is the time of the tenant's first write, in microseconds, plus the
 * number of its transactions since, which how its own stream is cut into writes decides; in Qdrant, it is a time. A number that
 * is no time of this run may count what others write: it stays.
 */
function plainPosition(position: string): string {
  const { lane = '', number } = /^(?<lane>\D+-)?(?<number>\d+)$/.exec(position)?.groups ?? {};
  if (number === undefined) return position;
  return isNow(Number(number) / (lane === '' ? 1000 : generationAt(1))) ? `${lane}now` : position;
}

/** Answers of a stream without its watermarks but the last: when one comes, and how many come, is a matter of timing. */
function withLastWatermark(answer: unknown): unknown {
  if (!Array.isArray(answer)) return answer;
  const marks = (each: { event?: string }) => each.event === 'watermark';
  return [...answer.filter((each) => !marks(each)), ...answer.filter(marks).slice(-1)];
}

/** Whether a time, in milliseconds since the epoch, can be one of this run. */
function isNow(ms: number): boolean {
  return Math.abs(Date.now() - ms) < 600_000;
}

/** Runs the steps in a fresh store. @returns what tenant a was answered */
async function run(steps: readonly Step[], store: Store): Promise<unknown[]> {
  const { manifest } = new DocumentTower();
  const { fingerprint, dimensions } = manifest.space;
  const { physicalName } = await store.ensureCollection(COLLECTION, { fingerprint, dimensions });
  const { call, close } = await open(store);
  try {
    const answers: unknown[] = [];
    for (const each of steps) {
      const answer = await call(each);
      if (each.tenant === 'a') answers.push(plain(withLastWatermark(answer)));
    }
    return answers;
  } finally {
    await close();
    await store.dropCollection(physicalName);
  }
}

/**
 * Two tenants use one collection in any way, once together and once the first one alone: whatever the first one is answered
 * has to be the same both times.
 */
export async function audit(
  openOne: () => Promise<Store>,
  steps: fc.Arbitrary<Step>,
  numRuns: number,
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { minLength: 2, maxLength: 12 }), async (all) => {
      const store = await openOne();
      try {
        const together = await run(all, store);
        const alone = await run(
          all.filter(({ tenant }) => tenant === 'a'),
          store,
        );
        assert.deepEqual(together, alone);
      } finally {
        await store.close();
      }
    }),
    { numRuns, interruptAfterTimeLimit: 60_000 },
  );
}
