import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Metadata, type ServiceError } from '@grpc/grpc-js';
import { pino } from 'pino';
import { Patterns } from '../../keys/patterns.ts';
import { SCOPES } from '../../keys/scopes.ts';
import type { DropTenantResponse__Output } from '../../proto/generated/scalingnote/v1/DropTenantResponse.ts';
import type { GetTenantUsageResponse__Output } from '../../proto/generated/scalingnote/v1/GetTenantUsageResponse.ts';
import type { ListCollectionsResponse__Output } from '../../proto/generated/scalingnote/v1/ListCollectionsResponse.ts';
import type { ListTenantsResponse__Output } from '../../proto/generated/scalingnote/v1/ListTenantsResponse.ts';
import { unpackStatus } from '../../proto/status.ts';
import { Access } from '../runtime/access/access.ts';
import { Quotas } from '../runtime/tenants/quotas.ts';
import { eventually, gate, type Harness, harnesses, type IngestStream, statusOf } from './testing/harness.ts';
import { FakeTower } from './testing/fake-tower.ts';

const start = harnesses();
const folder = mkdtempSync(join(tmpdir(), 'scalingnote-tenants-'));
after(() => rmSync(folder, { recursive: true }));
let files = 0;

function quotasOf(content: object): Quotas {
  const file = join(folder, `${files++}.json`);
  writeFileSync(file, JSON.stringify({ version: 1, ...content }));
  const quotas = new Quotas(file, pino({ level: 'silent' }));
  after(() => quotas.close());
  return quotas;
}

/** Lets anybody in who names some tenants, separated by commas, in place of a key. */
const byName = new Access(
  {
    credential: (credential) => ({
      id: credential,
      kind: 'key',
      scopes: new Set(SCOPES),
      tenants: new Patterns(credential.split(',')),
      collections: new Patterns(['*']),
      death: () => undefined,
    }),
    certificate: () => undefined,
  },
  undefined,
);

function as(tenants: string): Metadata {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${tenants}`);
  return metadata;
}

type Method = 'dropTenant' | 'getTenantUsage' | 'listTenants' | 'listCollections' | 'count';

function ask<Answer>(
  { client }: Harness,
  method: Method,
  request: object,
  metadata = new Metadata(),
): Promise<Answer> {
  const call = client[method].bind(client) as (
    request: object,
    metadata: Metadata,
    callback: (error: ServiceError | null, answer?: unknown) => void,
  ) => void;
  return new Promise((resolve, reject) => {
    call(request, metadata, (error, answer) => (error ? reject(error) : resolve(answer as Answer)));
  });
}

async function fill(harness: Harness, tenant: string, count: number): Promise<void> {
  const stream = harness.ingest({ collection: 'docs', tenant });
  for (let each = 1; each <= count; each++) stream.document(each, `d${each}`, `text ${each} of ${tenant}`);
  await stream.finish();
}

const kinds = ({ outcomes }: Pick<IngestStream, 'outcomes'>) =>
  outcomes.map(({ documentId, kind }) => `${documentId} ${kind}`.replace('OUTCOME_KIND_', ''));

test('documents past the quota are rejected by name, the others of the stream are not, and the watermark covers all', async () => {
  const harness = await start({ quotas: quotasOf({ tenants: { acme: { documents: 2 } } }) });
  const stream = harness.ingest({ collection: 'docs', tenant: 'acme' });
  for (const [index, id] of ['a', 'b', 'c', 'a'].entries()) stream.document(index + 1, id, `text ${index}`);
  stream.delete(5, 'b').document(6, 'd', 'text');
  const { status, watermark, outcomes } = await stream.finish();
  assert.deepEqual([status.code, watermark], [0, 6]);
  assert.deepEqual(kinds({ outcomes }), [
    'a INDEXED',
    'b INDEXED',
    'c REJECTED',
    'a INDEXED',
    'b DELETED',
    'd INDEXED',
  ]);
  const error = unpackStatus(outcomes[2]!.error!);
  assert.deepEqual([error.code, error.reason], [8, 'QUOTA_EXCEEDED']);
  assert.equal(error.metadata?.['quota'], 'documents');
  assert.match(error.message, /"acme" may have 2 documents, and has 2; .*tenants\."acme"\.documents/);
  // A document that has no place is not encoded.
  const { encoded } = harness.tower;
  const again = harness.ingest({ collection: 'docs', tenant: 'acme' });
  again.document(1, 'e', 'another text');
  assert.deepEqual(kinds(await again.finish()), ['e REJECTED']);
  assert.equal(harness.tower.encoded, encoded);
  // Another tenant has no quota.
  await fill(harness, 'other', 5);
  const counted = await ask<{ documents: string }>(harness, 'count', { collection: 'docs', tenant: 'other' });
  assert.equal(counted.documents, '5');
});

test('requests, and streams, past the quota are refused with the time to come again', async () => {
  const harness = await start({
    quotas: quotasOf({ default: { requestsPerSecond: 2, ingestStreams: 1 } }),
  });
  await fill(harness, 'acme', 1);
  const count = (tenant: string) => ask(harness, 'count', { collection: 'docs', tenant });
  await count('acme');
  const refused = await count('acme').then(
    () => undefined,
    (error: ServiceError) => statusOf(error),
  );
  assert.deepEqual([refused?.code, refused?.reason], [8, 'QUOTA_EXCEEDED']);
  assert.ok(refused!.retryDelayMs! > 0);
  await count('other');
  const first = harness.ingest({ collection: 'docs', tenant: 'third' });
  await first.until(({ events }) => events.length > 0);
  const second = await harness.ingest({ collection: 'docs', tenant: 'third' }).ended;
  assert.deepEqual([second.status.code, second.status.metadata?.['quota']], [8, 'ingestStreams']);
  await first.finish();
});

test('a tenant past its tokens per second waits, and holds nobody up', async () => {
  const harness = await start({
    quotas: quotasOf({ tenants: { slow: { tokensPerSecond: 20 } } }),
    settings: { budgetTokens: 2048 },
  });
  const slow = harness.ingest({ collection: 'docs', tenant: 'slow' });
  // Each is some 20 tokens of the fake tower: one a second.
  for (let each = 1; each <= 50; each++) slow.document(each, `d${each}`, 'x'.repeat(19));
  await slow.until(({ outcomes }) => outcomes.length > 0);
  await fill(harness, 'other', 200);
  assert.ok(slow.outcomes.length < 50, 'it was not held back');
  slow.call.cancel();
  await slow.ended;
});

test('a tenant with many streams gives one to a tenant that has none, and loses nothing', async () => {
  const tower = new FakeTower();
  const harness = await start({ tower, settings: { maxStreams: 4 } });
  const many = [1, 2, 3, 4].map(() => harness.ingest({ collection: 'docs', tenant: 'many' }));
  await Promise.all(many.map((stream) => stream.until(({ events }) => events.length > 0)));
  const held = gate();
  tower.before = () => held.opened;
  many.forEach((stream, index) => stream.document(1, `d${index}`, `text ${index}`));
  await eventually(() => tower.busy > 0);
  const few = harness.ingest({ collection: 'docs', tenant: 'few' });
  await few.until(({ events }) => events.length > 0);
  // One more of the tenant that has most is refused.
  const fifth = await harness.ingest({ collection: 'docs', tenant: 'many' }).ended;
  assert.deepEqual([fifth.status.code, fifth.status.reason], [8, 'TOO_MANY_STREAMS']);
  held.open();
  const ended = await Promise.race(many.map((stream) => stream.ended));
  assert.deepEqual([ended.status.code, ended.status.reason], [14, 'STREAM_SHARE']);
  // What it had sent has its outcome, and the watermark covers it.
  assert.deepEqual([ended.outcomes.length, ended.watermark], [1, 1]);
  few.document(1, 'mine', 'text');
  assert.deepEqual(kinds(await few.finish()), ['mine INDEXED']);
  for (const stream of many) stream.call.end();
  await Promise.all(many.map((stream) => stream.ended));
  assert.equal(Object.keys(await harness.store.contents('docs', 'many')).length, 4);
});

test('a drop removes everything of one tenant, ends its streams, and is refused without its name', async () => {
  const harness = await start();
  await fill(harness, 'acme', 30);
  await fill(harness, 'other', 3);
  const open = harness.ingest({ collection: 'docs', tenant: 'acme' });
  await open.until(({ events }) => events.length > 0);
  const drop = (request: object) => ask<DropTenantResponse__Output>(harness, 'dropTenant', request);
  for (const [request, field] of [
    [{}, 'tenant'],
    [{ tenant: 'acme' }, 'confirm_tenant'],
    [{ tenant: 'acme', confirmTenant: 'Acme' }, 'confirm_tenant'],
    [{ tenant: 'acme', confirmTenant: 'acme', collection: 'nowhere' }, undefined],
  ] as const) {
    const error = await drop(request).then(
      () => undefined,
      (thrown: ServiceError) => statusOf(thrown),
    );
    assert.equal(error?.violations?.[0]?.field, field, error?.message);
    assert.ok(error !== undefined);
  }
  const dry = await drop({ tenant: 'acme', dryRun: true });
  assert.deepEqual([dry.complete, dry.drops.map(({ documents }) => documents)], [false, ['30']]);
  const { drops, complete } = await drop({ tenant: 'acme', confirmTenant: 'acme' });
  assert.equal(complete, true);
  assert.deepEqual(
    drops.map(({ documents, remaining }) => [documents, remaining]),
    [['30', '0']],
  );
  const { status } = await open.ended;
  assert.deepEqual([status.code, status.reason], [10, 'TENANT_DROPPED']);
  assert.deepEqual(await drop({ tenant: 'acme', confirmTenant: 'acme' }), { drops: [], complete: true });
  assert.equal(Object.keys(await harness.store.contents('docs', 'other')).length, 3);
  // Whoever comes back begins anew.
  await fill(harness, 'acme', 1);
  assert.equal(Object.keys(await harness.store.contents('docs', 'acme')).length, 1);
});

test('a credential sees, counts and drops what is of its tenants alone', async () => {
  const harness = await start({ access: byName, quotas: quotasOf({ default: { documents: 100 } }) });
  for (const [tenant, count] of [
    ['a', 2],
    ['ab', 3],
    ['b', 4],
  ] as const) {
    const stream = new Metadata();
    stream.set('authorization', `Bearer ${tenant}`);
    const call = harness.client.ingest(stream);
    await new Promise<void>((resolve, reject) => {
      call.on('data', ({ ready }: { ready?: { collection?: { documents: string } } }) => {
        // Whatever others have.
        if (ready) assert.equal(ready.collection?.documents, '0');
      });
      call.on('end', resolve).on('error', reject);
      call.write({ begin: { collection: 'docs', tenant } });
      for (let each = 1; each <= count; each++)
        call.write({ sequence: each, document: { id: `${each}`, text: 'x' } });
      call.end();
    });
  }
  const listed = async (tenants: string) =>
    (await ask<ListCollectionsResponse__Output>(harness, 'listCollections', {}, as(tenants))).collections.map(
      ({ documents, passages }) => [documents, passages],
    );
  assert.deepEqual(await listed('a'), [['2', '2']]);
  assert.deepEqual(await listed('a*'), [['5', '5']]);
  assert.deepEqual(await listed('a,b'), [['6', '6']]);
  assert.deepEqual(await listed('nobody'), [['0', '0']]);
  assert.deepEqual(await listed('*'), [['9', '9']]);

  const tenants = async (who: string, request = {}) => {
    const page = await ask<ListTenantsResponse__Output>(harness, 'listTenants', request, as(who));
    return [
      page.tenants.map(({ tenant, documents }) => `${tenant} ${documents}`),
      page.nextPageToken,
    ] as const;
  };
  assert.deepEqual(await tenants('a*'), [['a 2', 'ab 3'], '']);
  const [first, token] = await tenants('*', { pageSize: 2 });
  assert.deepEqual(first, ['a 2', 'ab 3']);
  assert.deepEqual(await tenants('*', { pageSize: 2, pageToken: token }), [['b 4'], '']);

  const usage = await ask<GetTenantUsageResponse__Output>(
    harness,
    'getTenantUsage',
    { tenant: 'b' },
    as('b'),
  );
  assert.deepEqual([usage.documents, usage.maxDocuments, usage.maxBytes], ['4', '100', undefined]);
  for (const [method, request] of [
    ['getTenantUsage', { tenant: 'b' }],
    ['dropTenant', { tenant: 'b', confirmTenant: 'b' }],
  ] as const) {
    const error = await ask(harness, method, request, as('a')).then(
      () => undefined,
      (thrown: ServiceError) => statusOf(thrown),
    );
    assert.equal(error?.reason, 'TENANT_NOT_ALLOWED');
  }
});
