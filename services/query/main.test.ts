import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { credentials } from '@grpc/grpc-js';
import type { QueryServiceDescribeResponse__Output } from '../../proto/generated/scalingnote/v1/QueryServiceDescribeResponse.ts';
import type { SearchResponse__Output } from '../../proto/generated/scalingnote/v1/SearchResponse.ts';
import { v1 } from '../../proto/load.ts';
import { openStore } from '../../store/open.ts';
import { openTower } from '../../towers/open.ts';
import { passageTerms } from '../../towers/terms.ts';
import { callUnary } from '../runtime/testing/harness.ts';
import { startService } from '../runtime/testing/processes.ts';

const GLOSSES = {
  astronomer: 'a physicist who studies astronomy',
  baker: 'someone who bakes bread or cake',
  sailor: 'any member of a ship’s crew',
};

test('a process of its own, with the tower that ships, finds what another process has just stored', async (t) => {
  const data = await mkdtemp(join(tmpdir(), 'scalingnote-main-'));
  t.after(() => rm(data, { recursive: true }));
  const { child, address, stop } = await startService('query', '--port', '0', '--data', data);
  t.after(() => stop('SIGKILL'));
  const client = new v1.QueryService(address, credentials.createInsecure());
  t.after(() => client.close());

  const { service } = await callUnary<QueryServiceDescribeResponse__Output>(client, 'Describe', {});
  assert.deepEqual([service?.pid, service?.tower?.role], [child.pid, 'TOWER_ROLE_QUERY']);
  assert.ok(service!.tower!.retention! > 0.5, 'it is a student');

  const store = await openStore({ kind: 'embedded', directory: data });
  const tower = await openTower('all-MiniLM-L6-v2-lookup');
  await store.ensureCollection('people', service!.tower!.space!);
  for (const [documentId, text] of Object.entries(GLOSSES)) {
    const { vector } = await tower.encode(await tower.tokenize(text));
    const passages = [{ vector, sparse: passageTerms(text), text }];
    const fixed = {
      kind: 'put',
      tenant: '',
      version: 0,
      contentHash: text,
      encodingHash: text,
      title: '',
      metadata: {},
    } as const;
    await store.writeDocuments('people', [{ ...fixed, documentId, passages }]);
  }
  await Promise.all([tower.close(), store.close()]);

  const best = async (query: string, mode: string): Promise<string | undefined> => {
    const request = { collection: 'people', query, mode };
    const { hits } = await callUnary<SearchResponse__Output>(client, 'Search', request);
    return hits[0]?.documentId;
  };
  assert.equal(await best('a person who makes bread', 'SEARCH_MODE_DENSE'), 'baker');
  assert.equal(await best('ship', 'SEARCH_MODE_SPARSE'), 'sailor');
  assert.equal(await best('who studies the stars', 'SEARCH_MODE_HYBRID'), 'astronomer');

  await stop();
  assert.equal(child.exitCode, 0);
});
