import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { status as Code, type ServerWritableStream } from '@grpc/grpc-js';
import type { ExportRequest__Output } from '../proto/generated/scalingnote/v1/ExportRequest.ts';
import type { ExportResponse } from '../proto/generated/scalingnote/v1/ExportResponse.ts';
import { DocumentClient, type FullDocument, ScalingnoteError } from './index.ts';
import { failure, type FakeService, serve } from './testing/fake-service.ts';

type ExportCall = ServerWritableStream<ExportRequest__Output, ExportResponse>;

const IDS = Array.from({ length: 50 }, (_, index) => `d${String(index).padStart(3, '0')}`);
const away = failure({ code: Code.UNAVAILABLE, message: 'away', reason: 'SHUTTING_DOWN', retryDelayMs: 1 });

/**
 * Streams the documents after the one that is asked for, and breaks where a test says so.
 *
 * @param breaks - after how many documents each connection breaks; none left: it ends well
 */
class FakeExport {
  identity = 'col_1';
  readonly requests: ExportRequest__Output[] = [];
  readonly #breaks: number[];
  readonly #how: (call: ExportCall) => void;

  constructor(breaks: number[] = [], how: (call: ExportCall) => void = (call) => call.emit('error', away)) {
    this.#breaks = breaks;
    this.#how = how;
  }

  readonly handle = async (call: ExportCall): Promise<void> => {
    this.requests.push(call.request);
    const left = this.#breaks.shift() ?? Infinity;
    if (left < 0) return this.#how(call);
    await send(call, { header: { collection: { name: 'c', identity: this.identity, documents: 50 } } });
    const after = call.request.afterDocumentId;
    for (const [sent, id] of IDS.filter((one) => one > after).entries()) {
      if (sent === left) return this.#how(call);
      await send(call, { document: { id, tenant: 't', text: `text ${id}` } });
    }
    call.end();
  };
}

async function send(call: ExportCall, message: ExportResponse): Promise<void> {
  if (!call.write(message)) await once(call, 'drain');
}

async function withClient<T>(fake: FakeExport, use: (client: DocumentClient) => Promise<T>): Promise<T> {
  using service = await serve({ Export: (call) => void fake.handle(call) });
  using client = new DocumentClient({ address: service.address });
  return await use(client);
}

async function idsOf(documents: AsyncIterable<FullDocument>): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of documents) ids.push(id);
  return ids;
}

for (const [what, how] of [
  ['says that it is away', (call) => call.emit('error', away)],
  ['resets the stream', (call: ExportCall) => call.emit('error', { code: Code.INTERNAL, details: 'reset' })],
] as [string, (call: ExportCall) => void][]) {
  test(`a server that ${what} at any moment costs no document and doubles none`, async () => {
    const fake = new FakeExport([-1, 0, 7, 1, 0, 30], how);
    let begun = 0;
    await withClient(fake, async (client) => {
      const options = { collection: 'c', tenant: 't', onBegin: () => begun++ };
      assert.deepEqual(await idsOf(client.exportDocuments(options)), IDS);
    });
    assert.equal(begun, 1);
    assert.equal(fake.requests.length, 7);
    assert.ok(fake.requests.every(({ tenant, afterTenant }) => tenant === 't' && afterTenant === ''));
  });
}

test('an export of all tenants goes on in the tenant where it broke', async () => {
  const fake = new FakeExport([3]);
  await withClient(fake, (client) => idsOf(client.exportDocuments({ collection: 'c', allTenants: true })));
  const { afterTenant, afterDocumentId, allTenants } = fake.requests[1]!;
  assert.deepEqual(
    { afterTenant, afterDocumentId, allTenants },
    {
      afterTenant: 't',
      afterDocumentId: 'd002',
      allTenants: true,
    },
  );
});

test('a collection that became another one ends the export', async () => {
  const fake: FakeExport = new FakeExport([3], (call) => {
    fake.identity = 'col_2';
    call.emit('error', away);
  });
  await withClient(fake, async (client) => {
    await assert.rejects(
      idsOf(client.exportDocuments({ collection: 'c' })),
      (error) => error instanceof ScalingnoteError && error.reason === 'COLLECTION_REPLACED',
    );
  });
});

test('what can’t get better ends the export at once, and patience ends', async () => {
  const denied = failure({ code: Code.NOT_FOUND, message: 'no', reason: 'COLLECTION_NOT_FOUND' });
  const fake = new FakeExport([-1], (call) => call.emit('error', denied));
  await withClient(fake, async (client) => {
    await assert.rejects(idsOf(client.exportDocuments({ collection: 'c' })), /no/);
    assert.equal(fake.requests.length, 1);
  });
  const gone = new FakeExport(Array.from({ length: 1000 }, () => -1));
  await withClient(gone, async (client) => {
    await assert.rejects(idsOf(client.exportDocuments({ collection: 'c', patienceMs: 100 })), /away/);
  });
});

test('a reader that stops early ends the call on the server', async () => {
  let end = (): void => {};
  const ended = new Promise<void>((resolve) => (end = resolve));
  const fake = new FakeExport();
  using service = await serve({
    Export: (call) => {
      call.on('cancelled', () => end());
      void fake.handle(call).catch(() => {});
    },
  });
  using client = new DocumentClient({ address: service.address });
  for await (const { id } of client.exportDocuments({ collection: 'c' })) if (id === 'd002') break;
  await ended;
});

test('an abort ends the export with its reason', async () => {
  const controller = new AbortController();
  await withClient(new FakeExport(), async (client) => {
    const documents = client.exportDocuments({ collection: 'c', signal: controller.signal });
    await documents.next();
    controller.abort(new Error('enough'));
    await assert.rejects(idsOf(documents), /enough/);
  });
});

test('documents come with all their parts, and what is not stored is absent', async () => {
  const vector = Buffer.from(new Float32Array([0.6, 0.8]).buffer);
  using service = await serve({
    GetDocuments: (_, callback) =>
      callback(null, {
        documents: [
          {
            id: 'a',
            title: 'T',
            text: 'x',
            metadata: { fields: { n: { numberValue: 1 } } },
            version: '9007199254740991',
            expiresAt: { seconds: 12, nanos: 5_000_000 },
            contentHash: 'h',
            passages: [{ text: 'x', start: 0, end: 1, vector, termIds: [4], termWeights: [0.5] }],
          },
          { id: 'b', textOmitted: true, passages: [{}] },
          { id: 'c', textUnknown: true },
        ],
        missingIds: ['d'],
      }),
  });
  using client = new DocumentClient({ address: service.address });
  assert.deepEqual(await client.getDocuments({ collection: 'c', ids: ['a', 'b', 'c', 'd'] }), [
    {
      id: 'a',
      title: 'T',
      text: 'x',
      metadata: { n: 1 },
      version: Number.MAX_SAFE_INTEGER,
      expiresAt: new Date(12_005),
      tenant: '',
      contentHash: 'h',
      passages: [
        {
          text: 'x',
          span: { start: 0, end: 1 },
          vector: new Float32Array([0.6, 0.8]),
          terms: { ids: [4], weights: [0.5] },
        },
      ],
    },
    {
      id: 'b',
      title: '',
      missingText: 'omitted',
      metadata: {},
      version: 0,
      tenant: '',
      contentHash: '',
      passages: [{ text: '' }],
    },
    {
      id: 'c',
      title: '',
      missingText: 'unknown',
      metadata: {},
      version: 0,
      tenant: '',
      contentHash: '',
      passages: [],
    },
  ]);
});

test('many ids and large documents take several calls, in the order of the ids', async () => {
  const asked: number[] = [];
  using service = await serve({
    GetDocuments: ({ request: { documentIds } }, callback) => {
      asked.push(documentIds.length);
      if (documentIds.length > 30) {
        callback(
          failure({ code: Code.FAILED_PRECONDITION, message: 'too large', reason: 'RESPONSE_TOO_LARGE' }),
        );
      } else callback(null, { documents: documentIds.map((id) => ({ id })) });
    },
  });
  using client = new DocumentClient({ address: service.address });
  const ids = Array.from({ length: 250 }, (_, index) => `d${index}`);
  const found = await client.getDocuments({ collection: 'c', ids });
  assert.deepEqual(
    found.map(({ id }) => id),
    ids,
  );
  assert.deepEqual(asked.slice(0, 4), [100, 50, 25, 25]);
  const again = await client.getDocuments({ collection: 'c', ids: [...ids, ...ids.toReversed()] });
  assert.deepEqual(
    again.map(({ id }) => id),
    ids,
    'an id comes once',
  );
});

describe('with no service', () => {
  const DEAD = '127.0.0.1:9';
  const isRefused = ({ code, message }: ScalingnoteError): boolean =>
    code === 'UNAVAILABLE' && /ECONNREFUSED/.test(message);

  test('an export ends with the client’s timeout, however long its patience', async () => {
    using client = new DocumentClient({ address: DEAD, timeoutMs: 300 });
    let reconnects = 0;
    const onReconnect = () => void reconnects++;
    await assert.rejects(idsOf(client.exportDocuments({ collection: 'c', onReconnect })), isRefused);
    assert.ok(reconnects > 0, 'it waits for a service until then');
  });

  for (const options of [{ waitForReady: false }, { attempts: 1 }]) {
    test(`an export and an ingest end at once with ${JSON.stringify(options)}`, async () => {
      using client = new DocumentClient({ address: DEAD, ...options });
      const onReconnect = () => assert.fail('it was tried again');
      await assert.rejects(idsOf(client.exportDocuments({ collection: 'c', onReconnect })), isRefused);
      await assert.rejects(
        client.ingest([{ id: 'a', text: 'x' }], { collection: 'c', onReconnect }),
        isRefused,
      );
    });
  }

  test('an export that has begun waits for its service to come back, for as long as its patience', async () => {
    const fake = new FakeExport([10]);
    const handlers = { Export: (call: ExportCall) => void fake.handle(call) };
    const service = await serve(handlers);
    using client = new DocumentClient({ address: service.address, timeoutMs: 100 });
    let back: Promise<FakeService> | undefined;
    const port = Number(service.address.split(':')[1]);
    const onReconnect = () => {
      service.close();
      back ??= sleep(500).then(() => serve(handlers, port));
    };
    assert.deepEqual(await idsOf(client.exportDocuments({ collection: 'c', onReconnect })), IDS);
    (await back!).close();
  });
});
