import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import type { Filter } from '../../proto/generated/scalingnote/v1/Filter.ts';
import type { SearchResponse__Output } from '../../proto/generated/scalingnote/v1/SearchResponse.ts';
import { toValue } from '../../proto/struct.ts';
import { MAX_FILTER_DEPTH } from '../../store/filter.ts';
import { openStore, type StoreConfig } from '../../store/open.ts';
import { callUnary, failure, serveService } from '../runtime/testing/harness.ts';
import { MAX_RECEIVE_BYTES, queryService } from './service.ts';
import { DIMENSIONS, FakeTower, vectorOf } from './testing/fakes.ts';

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-depth-'));
const url = process.env['QDRANT_URL'];
const apiKey = process.env['QDRANT_API_KEY'];

const STORES: readonly StoreConfig[] = [
  { kind: 'embedded', directory: folder },
  ...(url === undefined
    ? []
    : [{ kind: 'qdrant' as const, url, exact: true, ...(apiKey !== undefined && { apiKey }) }]),
];

function nested(depth: number): Filter {
  if (depth === 1) return { must: [{ equals: { field: 'document_id', value: toValue('star') } }] };
  return { must: [{ filter: nested(depth - 1) }] };
}

for (const config of STORES) {
  test(`a filter as deep as the limit is applied by the ${config.kind} store, a deeper one is refused`, async (context) => {
    const tower = new FakeTower();
    const store = await openStore(config);
    const { name, physicalName } = await store.ensureCollection(`depth-${randomBytes(4).toString('hex')}`, {
      fingerprint: tower.manifest.space.fingerprint,
      dimensions: DIMENSIONS,
    });
    const harness = await serveService(
      queryService({ tower, store, slots: 1, queue: 1, cache: 0, log: pino({ level: 'silent' }) }),
      { maxReceiveBytes: MAX_RECEIVE_BYTES },
    );
    context.after(async () => {
      await harness.stop();
      await store.dropCollection(physicalName);
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    });
    await store.writeDocuments(
      name,
      ['star', 'moon'].map((documentId) => ({
        kind: 'put',
        tenant: '',
        documentId,
        version: 0,
        contentHash: documentId,
        encodingHash: documentId,
        title: '',
        metadata: {},
        passages: [{ text: documentId, vector: vectorOf(documentId) }],
      })),
    );
    const search = (depth: number): Promise<SearchResponse__Output> =>
      callUnary(harness.client, 'Search', { collection: name, query: 'stars', filter: nested(depth) });
    assert.deepEqual(
      (await search(MAX_FILTER_DEPTH)).hits.map(({ documentId }) => documentId),
      ['star'],
    );
    const { violations } = await failure(search(MAX_FILTER_DEPTH + 1));
    assert.equal(violations?.[0]?.field, `filter${'.must[0].filter'.repeat(MAX_FILTER_DEPTH)}`);
    assert.match(violations[0].description, /nested deeper than 8 filters/);
  });
}
