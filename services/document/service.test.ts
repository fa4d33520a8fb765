import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { status, type ServiceError } from '@grpc/grpc-js';
import type { DeleteRequest } from '../../proto/generated/scalingnote/v1/DeleteRequest.ts';
import type { DropCollectionRequest } from '../../proto/generated/scalingnote/v1/DropCollectionRequest.ts';
import type { ListDocumentsRequest } from '../../proto/generated/scalingnote/v1/ListDocumentsRequest.ts';
import type { ListDocumentsResponse__Output } from '../../proto/generated/scalingnote/v1/ListDocumentsResponse.ts';
import type { SwitchAliasRequest } from '../../proto/generated/scalingnote/v1/SwitchAliasRequest.ts';
import { parseFreshness } from '../../store/freshness.ts';
import { physicalName } from '../../store/store.ts';
import { FakeTower } from './testing/fake-tower.ts';
import { startHarness, statusOf, type Harness } from './testing/harness.ts';

let harness: Harness;
before(async () => {
  harness = await startHarness();
  for (const tenant of ['', 'acme']) {
    const stream = harness.ingest({ collection: 'docs', tenant });
    for (let sequence = 1; sequence <= 600; sequence++) {
      stream.document(sequence, `d${sequence}`, 'one|two', { version: 3 });
    }
    await stream.finish();
  }
});
after(() => harness.stop());

type Answer<T> = (error: ServiceError | null, value?: T) => void;
function ask<T>(call: (answer: Answer<T>) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, value) => (error ? reject(error) : resolve(value as T)));
  });
}

const count = (tenant = '') =>
  ask<{ documents: string; passages: string }>((answer) =>
    harness.client.count({ collection: 'docs', tenant }, answer),
  );
const remove = (request: DeleteRequest) =>
  ask<{ documents: string; freshnessToken: string }>((answer) =>
    harness.client.delete({ collection: 'docs', ...request }, answer),
  );

async function refusal(call: Promise<unknown>): Promise<ReturnType<typeof statusOf>> {
  const error = await call.then(
    () => assert.fail('it should have been refused'),
    (cause: ServiceError) => cause,
  );
  return statusOf(error);
}

test('ListDocuments pages through a tenant’s documents, each once, with the texts of their passages', async () => {
  const list = (request: ListDocumentsRequest) =>
    ask<ListDocumentsResponse__Output>((answer) =>
      harness.client.listDocuments({ collection: 'docs', ...request }, answer),
    );
  const seen: string[] = [];
  let pageToken = '';
  do {
    const page = await list({ tenant: 'acme', pageSize: 100, pageToken });
    for (const { id, passages } of page.documents) {
      seen.push(id);
      assert.deepEqual(passages, ['one', 'two']);
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  assert.equal(seen.length, 600);
  assert.equal(new Set(seen).size, 600);
  assert.equal((await list({ tenant: 'acme' })).documents.length, 20);
  assert.deepEqual((await list({ tenant: 'nobody' })).documents, []);
  for (const pageSize of [0, 101]) {
    const { code, violations } = await refusal(list({ pageSize }));
    assert.equal(code, status.INVALID_ARGUMENT);
    assert.equal(violations?.[0]?.field, 'page_size');
  }
});

test('Delete by id says how many were there, whatever their versions, and leaves other tenants alone', async () => {
  const documentIds = [...Array.from({ length: 500 }, (_, index) => `d${index + 1}`), 'd1', 'nobody'];
  const before = await harness.store.freshness('docs');
  const { documents, freshnessToken } = await remove({ documentIds });
  assert.equal(documents, '500');
  const { identity, position } = parseFreshness(freshnessToken)!;
  assert.equal(identity, before.identity);
  // Qdrant's position counts nothing where no copy can lag.
  if (/^\d+$/.test(position)) assert.ok(Number(position) > Number(before.position), 'it covers the deletes');
  assert.equal((await remove({ documentIds })).documents, '0');
  assert.deepEqual(await count(), { documents: '100', passages: '200' });
  assert.deepEqual(await count('acme'), { documents: '600', passages: '1200' });
});

const badDeletes: [what: string, request: DeleteRequest, field: string][] = [
  ['nothing', {}, 'document_ids'],
  ['an empty filter', { filter: {} }, 'filter'],
  ['ids and a filter', { documentIds: ['a'], filter: { must: [] } }, 'filter'],
  ['too many ids', { documentIds: Array.from({ length: 10_001 }, String) }, 'document_ids'],
  ['an empty id', { documentIds: ['a', ''] }, 'document_ids[1]'],
  ['a bad collection', { collection: 'a b', documentIds: ['a'] }, 'collection'],
  ['a bad filter', { filter: { must: [{ exists: { field: '' } }] } }, 'filter.must[0].exists.field'],
];
for (const [what, request, field] of badDeletes) {
  test(`Delete of ${what} is refused, and the error names ${field}`, async () => {
    const { code, violations } = await refusal(remove(request));
    assert.equal(code, status.INVALID_ARGUMENT);
    assert.equal(violations?.[0]?.field, field);
  });
}

test('a collection that is not there is NOT_FOUND', async () => {
  const { code, reason } = await refusal(
    ask((answer: Answer<unknown>) => harness.client.count({ collection: 'nowhere' }, answer)),
  );
  assert.equal(code, status.NOT_FOUND);
  assert.equal(reason, 'COLLECTION_NOT_FOUND');
});

test('ListCollections names all, with space and counts', async () => {
  await harness.ingest({ collection: 'another' }).document(1, 'a', 'text').finish();
  const { collections } = await ask<{ collections: { name: string; documents: string; space: unknown }[] }>(
    (answer) => harness.client.listCollections({}, answer),
  );
  const { fingerprint, dimensions } = harness.tower.manifest.space;
  assert.deepEqual(
    collections.map(({ name, documents, space }) => ({ name, documents, space })),
    [
      { name: 'another', documents: '1', space: { fingerprint, dimensions } },
      { name: 'docs', documents: '700', space: { fingerprint, dimensions } },
    ],
  );
});

test('Describe answers what the process says of itself', async () => {
  const { service } = await ask<{ service: { version: string; store: string } | null }>((answer) =>
    harness.client.describe({}, answer),
  );
  assert.equal(service?.version, '0.0.0');
  assert.equal(service?.store, harness.store.kind);
});

const { fingerprint } = new FakeTower().manifest.space;
const physical = (name: string): string => physicalName(name, fingerprint);
const aliases = async (): Promise<Record<string, string>> => {
  const listed = await ask<{ aliases: { name: string; physicalName: string }[] }>((answer) =>
    harness.client.listAliases({}, answer),
  );
  return Object.fromEntries(listed.aliases.map((alias) => [alias.name, alias.physicalName]));
};
const switchTo = (request: SwitchAliasRequest) =>
  ask<{ previousPhysicalName: string }>((answer) => harness.client.switchAlias(request, answer));
const drop = (request: DropCollectionRequest) =>
  ask<{ aliases: string[] }>((answer) => harness.client.dropCollection(request, answer));

test('an alias is switched, and the answer says where it led', async () => {
  await harness.ingest({ collection: 'old' }).document(1, 'a', 'text').finish();
  await harness.ingest({ collection: 'new' }).document(1, 'a', 'text').document(2, 'b', 'text').finish();
  assert.deepEqual(await switchTo({ alias: 'live', physicalName: physical('old') }), {
    previousPhysicalName: '',
  });
  assert.deepEqual(await switchTo({ alias: 'live', physicalName: physical('new') }), {
    previousPhysicalName: physical('old'),
  });
  assert.equal((await aliases())['live'], physical('new'));
  const counted = await ask<{ documents: string }>((answer) =>
    harness.client.count({ collection: 'live' }, answer),
  );
  assert.equal(counted.documents, '2');
});

test('a collection with aliases is dropped with them, and only where the request allows it', async () => {
  await harness.ingest({ collection: 'gone' }).document(1, 'a', 'text').finish();
  await switchTo({ alias: 'also-gone', physicalName: physical('gone') });
  const inUse = await refusal(drop({ physicalName: physical('gone') }));
  assert.equal(inUse.code, status.FAILED_PRECONDITION);
  assert.equal(inUse.reason, 'COLLECTION_IN_USE');
  assert.match(inUse.message, /"also-gone", "gone".*with_aliases/);
  assert.deepEqual(await drop({ physicalName: physical('gone'), withAliases: true }), {
    aliases: ['also-gone', 'gone'],
  });
  const left = Object.keys(await aliases());
  assert.ok(!left.includes('gone') && !left.includes('also-gone'));
  assert.equal((await refusal(drop({ physicalName: physical('gone') }))).code, status.NOT_FOUND);
});

test('a collection without an alias is dropped by its physical name', async () => {
  await harness.ingest({ collection: 'replaced' }).document(1, 'a', 'text').finish();
  await harness.ingest({ collection: 'successor' }).document(1, 'a', 'text').finish();
  await switchTo({ alias: 'replaced', physicalName: physical('successor') });
  assert.deepEqual(await drop({ physicalName: physical('replaced') }), { aliases: [] });
  assert.equal((await aliases())['replaced'], physical('successor'));
});

const badNames: [what: string, name: string, says: RegExp][] = [
  ['nothing', '', /empty/],
  ['an alias', 'docs', new RegExp(`alias.*${physical('docs')}`)],
  ['a name with a slash', 'a/b', /no physical name/],
];
for (const [what, name, says] of badNames) {
  for (const [method, call] of [
    ['DropCollection', () => drop({ physicalName: name })],
    ['SwitchAlias', () => switchTo({ alias: 'x', physicalName: name })],
  ] as const) {
    test(`${method} of ${what} is refused`, async () => {
      const { code, violations } = await refusal(call());
      assert.equal(code, status.INVALID_ARGUMENT);
      assert.equal(violations?.[0]?.field, 'physical_name');
      assert.match(violations[0].description, says);
    });
  }
}

test('an alias has to be a logical name, and its target has to exist', async () => {
  const named = await refusal(switchTo({ alias: 'a--b', physicalName: physical('docs') }));
  assert.equal(named.violations?.[0]?.field, 'alias');
  const nowhere = await refusal(switchTo({ alias: 'a', physicalName: physical('nowhere') }));
  assert.equal(nowhere.code, status.NOT_FOUND);
});
