import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status, type ClientReadableStream, type ServiceError } from '@grpc/grpc-js';
import type { ExportRequest } from '../../proto/generated/scalingnote/v1/ExportRequest.ts';
import type { ExportResponse__Output } from '../../proto/generated/scalingnote/v1/ExportResponse.ts';
import type { FullDocument__Output } from '../../proto/generated/scalingnote/v1/FullDocument.ts';
import type { GetDocumentsRequest } from '../../proto/generated/scalingnote/v1/GetDocumentsRequest.ts';
import type { GetDocumentsResponse__Output } from '../../proto/generated/scalingnote/v1/GetDocumentsResponse.ts';
import type { RichStatus } from '../../proto/status.ts';
import { limits } from '../../machine/limits.ts';
import type { CallOptions, Store } from '../../store/store.ts';
import type { DocumentWrite } from '../../store/writes.ts';
import { MemoryStore } from '../../store/testing/memory-store.ts';
import { DIMENSIONS } from '../runtime/testing/fake-manifest.ts';
import { ExportPlaces } from './export-places.ts';
import { eventually, type Harness, harnesses, statusOf } from './testing/harness.ts';
import { FakeTower } from './testing/fake-tower.ts';
import { TestStore } from './testing/test-store.ts';

const start = harnesses();
const SPACE = { fingerprint: new FakeTower().manifest.space.fingerprint, dimensions: DIMENSIONS };

type Put = Extract<DocumentWrite, { kind: 'put' }>;

function put(documentId: string, rest: Partial<Put> = {}): Put {
  const text = `text of ${documentId}`;
  return {
    kind: 'put',
    tenant: '',
    documentId,
    version: 1,
    contentHash: `hash of ${documentId}`,
    encodingHash: '',
    title: `title of ${documentId}`,
    text,
    metadata: { of: documentId },
    passages: [
      {
        vector: new Float32Array(DIMENSIONS).fill(1),
        sparse: { indices: [7, 4_000_000_000], values: [0.5, 2] },
        text,
        span: { start: 0, end: text.length },
      },
    ],
    ...rest,
  };
}

/** A service whose collection "docs" has some documents. */
async function filled(writes: readonly DocumentWrite[], store = new TestStore()): Promise<Harness> {
  await store.ensureCollection('docs', SPACE);
  await store.writeDocuments('docs', writes);
  return start({ store });
}

const names = (count: number, prefix = 'd'): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}${String(index).padStart(5, '0')}`);

/** What came over one stream, and how it ended. */
interface Exported {
  events: ExportResponse__Output[];
  documents: FullDocument__Output[];
  status: RichStatus;
}

function collect(call: ClientReadableStream<ExportResponse__Output>): Promise<Exported> {
  const events: ExportResponse__Output[] = [];
  const ended = (end: RichStatus): Exported => ({
    events,
    documents: events.flatMap(({ document }) => document ?? []),
    status: end,
  });
  return new Promise((resolve) => {
    call.on('data', (event: ExportResponse__Output) => events.push(event));
    call.on('end', () => resolve(ended({ code: 0, message: '', reason: '' })));
    call.on('error', (error: ServiceError) => resolve(ended(statusOf(error))));
  });
}

const exportAll = ({ client }: Harness, request: ExportRequest = {}): Promise<Exported> =>
  collect(client.export({ collection: 'docs', ...request }));

const get = ({ client }: Harness, request: GetDocumentsRequest): Promise<GetDocumentsResponse__Output> =>
  new Promise((resolve, reject) => {
    client.getDocuments({ collection: 'docs', ...request }, (error, answer) =>
      error ? reject(error) : resolve(answer!),
    );
  });

async function refusal(call: Promise<unknown>): Promise<RichStatus> {
  return await call.then(
    () => assert.fail('it should have been refused'),
    (error: ServiceError) => statusOf(error),
  );
}

test('a document comes back as it was ingested, and its vectors and terms where they are asked for', async () => {
  const harness = await start();
  const expiresAt = { seconds: '4102444800', nanos: 250_000_000 };
  await harness
    .ingest()
    .document(1, 'a', 'one|two', {
      title: 'T',
      version: 7,
      metadata: {
        fields: { n: { numberValue: 1.5 }, list: { listValue: { values: [{ boolValue: true }] } } },
      },
    })
    .finish();
  await harness.store.writeDocuments('docs', [put('b', { expiresAt: 4_102_444_800_250 })]);
  const { documents, missingIds } = await get(harness, { documentIds: ['b', 'nobody', 'a', 'b'] });
  assert.deepEqual(missingIds, ['nobody']);
  assert.deepEqual(
    documents.map(({ id }) => id),
    ['b', 'a'],
  );
  const [b, a] = documents;
  assert.equal(a!.title, 'T');
  assert.equal(a!.version, '7');
  assert.deepEqual(Object.keys(a!.metadata?.fields ?? {}), ['n', 'list']);
  assert.deepEqual({ ...b!.expiresAt }, expiresAt);
  assert.equal(b!.text, 'text of b');
  assert.deepEqual([b!.passages[0]!.start, b!.passages[0]!.end], [0, 9]);
  assert.equal(b!.passages[0]!.vector.length, 0);
  assert.deepEqual(b!.passages[0]!.termIds, []);

  const [full] = (await get(harness, { documentIds: ['b'], withVectors: true })).documents;
  const [passage] = full!.passages;
  assert.equal(passage!.vector.length, 4 * DIMENSIONS);
  assert.ok(Math.abs(passage!.vector.readFloatLE(0) - 1 / Math.sqrt(DIMENSIONS)) < 1e-6);
  assert.deepEqual(passage!.termIds, [7, 4_000_000_000]);
  assert.deepEqual(passage!.termWeights, [0.5, 2]);
});

test('texts that are not stored are told apart from texts that are empty', async () => {
  const { text: _, ...untold } = put('omitted');
  const harness = await filled([untold, put('empty', { text: '' })]);
  const { documents } = await get(harness, { documentIds: ['omitted', 'empty'] });
  assert.deepEqual(
    documents.map(({ textOmitted, textUnknown }) => [textOmitted, textUnknown]),
    [
      [true, false],
      [false, false],
    ],
  );
});

test('GetDocuments refuses by name what it can’t do', async () => {
  const harness = await filled([put('a')]);
  for (const documentIds of [[], names(101), ['']]) {
    const { code, violations } = await refusal(get(harness, { documentIds }));
    assert.equal(code, status.INVALID_ARGUMENT);
    assert.match(violations![0]!.field, /^document_ids/);
  }
  const nowhere = await refusal(get(harness, { collection: 'nowhere', documentIds: ['a'] }));
  assert.equal(nowhere.reason, 'COLLECTION_NOT_FOUND');
});

test('documents that are too large for one answer are refused together, and each comes alone', async () => {
  const text = 'x'.repeat(8 * 1024 * 1024);
  const ids = names(5);
  const harness = await filled(ids.map((id) => put(id, { text })));
  const refused = await refusal(get(harness, { documentIds: ids }));
  assert.equal(refused.reason, 'RESPONSE_TOO_LARGE');
  assert.equal((await get(harness, { documentIds: [ids[4]!] })).documents[0]!.text.length, text.length);
});

test('an export begins with the collection, and each document comes once, over several pages', async () => {
  const harness = await filled([...names(700).map((id) => put(id)), put('x', { tenant: 'acme' })]);
  const { events, documents, status: end } = await exportAll(harness, { withVectors: true });
  assert.equal(end.code, 0);
  // Those of the tenant: what others have is nobody else's business.
  assert.equal(events[0]!.header?.collection?.documents, '700');
  const { identity = '' } = events[0]?.header?.collection ?? {};
  assert.match(identity, /^col_[0-9a-f]{32}$/);
  assert.equal(events.filter(({ header }) => header).length, 1);
  assert.deepEqual(
    documents.map(({ id }) => id),
    names(700),
  );
  assert.ok(documents.every(({ passages: [passage] }) => passage!.vector.length === 4 * DIMENSIONS));
});

test('a filter narrows an export', async () => {
  const harness = await filled(names(20).map((id, n) => put(id, { metadata: { even: n % 2 === 0 } })));
  const filter = { must: [{ equals: { field: 'metadata.even', value: { boolValue: true } } }] };
  assert.equal((await exportAll(harness, { filter })).documents.length, 10);
});

test('an export goes on after any document, in any tenant, also after one that is gone', async () => {
  const writes = ['', 'acme', 'zeta'].flatMap((tenant) => names(5, tenant).map((id) => put(id, { tenant })));
  const harness = await filled(writes);
  const all = (await exportAll(harness, { allTenants: true })).documents;
  assert.equal(all.length, 15);
  await harness.store.writeDocuments('docs', [
    { kind: 'delete', tenant: 'acme', documentId: 'acme00002', version: 1 },
  ]);
  for (const [place, { tenant, id }] of all.entries()) {
    const { documents } = await exportAll(harness, {
      allTenants: true,
      afterTenant: tenant,
      afterDocumentId: id,
    });
    assert.deepEqual(
      documents.map((document) => document.id),
      all.slice(place + 1).flatMap((document) => (document.id === 'acme00002' ? [] : document.id)),
    );
  }
  const one = await exportAll(harness, { tenant: 'zeta', afterDocumentId: 'zeta00003' });
  assert.deepEqual(
    one.documents.map(({ id }) => id),
    ['zeta00004'],
  );
});

for (const [what, request, field] of [
  ['a tenant beside all_tenants', { allTenants: true, tenant: 'a' }, 'tenant'],
  ['after_tenant for one tenant', { afterTenant: 'a', afterDocumentId: 'x' }, 'after_tenant'],
  ['after_tenant without a document', { allTenants: true, afterTenant: 'a' }, 'after_tenant'],
  ['no collection', { collection: '' }, 'collection'],
] as const) {
  test(`an export with ${what} is refused by name`, async () => {
    const { status: end } = await exportAll(await filled([put('a')]), request);
    assert.equal(end.code, status.INVALID_ARGUMENT);
    assert.equal(end.violations?.[0]?.field, field);
  });
}

/** A store whose scrolls a test can look at and act between. */
class WatchedStore extends TestStore {
  pages = 0;
  beforePage: (page: number) => Promise<void> | void = () => {};

  override async scroll(
    collection: string,
    tenant: string,
    page: Parameters<Store['scroll']>[2],
    options?: CallOptions,
  ): ReturnType<Store['scroll']> {
    await this.beforePage(++this.pages);
    return super.scroll(collection, tenant, page, options);
  }
}

test('documents that change while an export runs come once, and those that do not change all come', async () => {
  const store = new WatchedStore();
  const ids = names(2000);
  const harness = await filled(
    ids.map((id) => put(id)),
    store,
  );
  store.beforePage = async (page) => {
    const changed = ids.filter((_, index) => index % 10 === page % 10);
    await store.writeDocuments('docs', [
      ...changed.map((id) => put(id, { version: page, title: `page ${page}` })),
      put(`new${page}`),
    ]);
  };
  const { documents } = await exportAll(harness);
  const got = documents.map(({ id }) => id);
  assert.equal(new Set(got).size, got.length);
  assert.deepEqual(got.filter((id) => !id.startsWith('new')).sort(), ids);
});

test('a collection that is dropped and made again ends the export, rather than mixing two', async () => {
  const store = new WatchedStore();
  const harness = await filled(
    names(2000).map((id) => put(id)),
    store,
  );
  store.beforePage = async (page) => {
    if (page !== 4) return;
    const [old] = await store.listCollections();
    await store.dropCollection(old!.physicalName);
    await store.ensureCollection('docs', SPACE);
    await store.writeDocuments(
      'docs',
      names(2000, 'z').map((id) => put(id)),
    );
  };
  const { documents, status: end } = await exportAll(harness);
  assert.equal(end.reason, 'COLLECTION_REPLACED');
  assert.ok(documents.every(({ id }) => id.startsWith('d')));
});

test('a client that does not read holds the export back, and it goes on when it reads', async () => {
  const text = 'x'.repeat(64 * 1024);
  const store = new WatchedStore();
  const ids = names(2000);
  const harness = await filled(
    ids.map((id) => put(id, { text, passages: [{ vector: new Float32Array(DIMENSIONS).fill(1) }] })),
    store,
  );
  const call = harness.client.export({ collection: 'docs' });
  await new Promise((resolve) => call.once('readable', resolve));
  // What the connection and the client's buffers take is a small part of these 131 MB, which are 30 pages.
  let before = -1;
  while (before !== store.pages) {
    before = store.pages;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  assert.ok(store.pages < 8, `${store.pages} pages were read for a client that reads nothing`);
  const { documents } = await collect(call);
  assert.deepEqual(
    documents.map(({ id }) => id),
    ids,
  );
});

test('a client that goes away ends the reading', async () => {
  const store = new WatchedStore();
  const harness = await filled(
    names(2000).map((id) => put(id, { text: 'x'.repeat(64 * 1024) })),
    store,
  );
  const call = harness.client.export({ collection: 'docs' });
  call.on('error', () => {});
  await new Promise((resolve) => call.once('data', resolve));
  call.cancel();
  let before = -1;
  while (before !== store.pages) {
    before = store.pages;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.ok(store.pages < 30);
});

test('the deadline of an export holds', async () => {
  const store = new WatchedStore(new MemoryStore());
  const harness = await filled([put('a')], store);
  store.beforePage = () => new Promise(() => {});
  const call = harness.client.export({ collection: 'docs' }, { deadline: Date.now() + 100 });
  assert.equal((await collect(call)).status.code, status.DEADLINE_EXCEEDED);
});

test('draining ends an export between two documents, and says to come again', async () => {
  const store = new WatchedStore();
  const harness = await filled(
    names(2000).map((id) => put(id)),
    store,
  );
  let hold = (): void => {};
  store.beforePage = (page) => (page === 3 ? new Promise((resolve) => (hold = resolve)) : undefined);
  const exported = exportAll(harness);
  await eventually(() => store.pages === 3);
  const stopped = harness.server.shutdown(5000);
  const { status: end, documents } = await exported;
  assert.equal(end.code, status.UNAVAILABLE);
  assert.equal(end.reason, 'SHUTTING_DOWN');
  assert.ok(end.retryDelayMs! > 0);
  assert.deepEqual(
    documents.map(({ id }) => id),
    names(documents.length),
  );
  hold();
  await stopped;
});

test('so many exports run at a time as there is memory for, and one that ends makes room', async () => {
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  const store = new WatchedStore();
  const harness = await filled([put('a')], store);
  store.beforePage = () => gate;
  const { most } = new ExportPlaces();
  const calls = Array.from({ length: most }, () => harness.client.export({ collection: 'docs' }));
  const exports = calls.map(collect);
  await eventually(() => store.pages === most);
  const { status: refused } = await exportAll(harness);
  assert.deepEqual([refused.code, refused.reason], [status.RESOURCE_EXHAUSTED, 'OVERLOADED']);
  calls[0]!.cancel();
  assert.equal((await exports[0]!).status.code, status.CANCELLED);
  release();
  for (const each of exports.slice(1)) assert.equal((await each).documents.length, 1);
  assert.equal((await exportAll(harness)).documents.length, 1);
});

test('little memory leaves few exports, and one always', () => {
  const of = (gib: number): number => new ExportPlaces({ ...limits(), memoryBytes: gib * 2 ** 30 }).most;
  assert.deepEqual([16, 2, 0.5, 0.05].map(of), [32, 16, 4, 1]);
  assert.equal(new ExportPlaces({ ...limits(), memoryBytes: 16 * 2 ** 30 }).refusal(23), undefined);
  assert.match(
    new ExportPlaces({ ...limits(), memoryBytes: 16 * 2 ** 30 }).refusal(24)!.message,
    /of this address/,
  );
});
