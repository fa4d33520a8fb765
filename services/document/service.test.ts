import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { status, type ServiceError } from '@grpc/grpc-js';
import type { DeleteRequest } from '../../proto/generated/scalingnote/v1/DeleteRequest.ts';
import { startHarness, statusOf, type Harness } from './testing/harness.ts';
import type { MemoryStore } from './testing/memory-store.ts';

let harness: Harness<MemoryStore>;
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
  ask<{ documents: string }>((answer) => harness.client.delete({ collection: 'docs', ...request }, answer));

async function refusal(call: Promise<unknown>): Promise<ReturnType<typeof statusOf>> {
  const error = await call.then(
    () => assert.fail('it should have been refused'),
    (cause: ServiceError) => cause,
  );
  return statusOf(error);
}

test('Delete by id says how many were there, whatever their versions, and leaves other tenants alone', async () => {
  const documentIds = [...Array.from({ length: 500 }, (_, index) => `d${index + 1}`), 'd1', 'nobody'];
  assert.deepEqual(await remove({ documentIds }), { documents: '500' });
  assert.deepEqual(await remove({ documentIds }), { documents: '0' });
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
  assert.equal(service?.store, 'embedded');
});
