import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { pino } from 'pino';
import { readGolden } from '../../towers/golden/golden.ts';
import { verifyGolden } from '../../towers/golden/verify.ts';
import { openTower } from '../../towers/open.ts';
import { pullTower } from '../../towers/pull.ts';
import { startEndpoint } from '../../towers/remote/testing/endpoint.ts';
import { temporaryFolder } from '../../towers/testing/tiny-tower.ts';
import { DriftGuard } from '../runtime/drift/guard.ts';
import type { FakeTower } from './testing/fake-tower.ts';
import { eventually, harnesses } from './testing/harness.ts';

const start = harnesses();

test('an endpoint whose model is swapped is refused, and taken again when its model is back', async (context) => {
  const endpoint = await startEndpoint(context, {});
  const cacheDir = temporaryFolder(context);
  const reference = `remote:${endpoint.url}#${endpoint.behaviour.model}`;
  const remoteFacts = { maxTokens: 64, documentPrompt: '', queryPrompt: '' };
  await pullTower(reference, { cacheDir, remoteFacts });
  const tower = await openTower(reference, { cacheDir });
  context.after(() => tower.close());
  const golden = (await readGolden(tower))!;
  assert.ok(golden, 'a tower that runs elsewhere comes with golden vectors');
  const log = pino({ level: 'silent' });
  const drift = new DriftGuard({ tower, golden, intervalMs: 25, recheckMs: 60_000, log });
  context.after(() => drift.stop());
  const { ingest, store } = await start({ tower: tower as unknown as FakeTower, drift });
  drift.start();
  const stream = ingest().document(1, 'a', 'hello star');
  await eventually(() => stream.watermark === 1);

  endpoint.behaviour.seed = 1;
  const ended = await stream.ended;
  assert.equal(ended.status.code, status.FAILED_PRECONDITION);
  assert.equal(ended.status.reason, 'SPACE_DRIFTED');
  const refused = await ingest().document(1, 'b', 'hello world').finish();
  assert.equal(refused.status.reason, 'SPACE_DRIFTED');
  assert.deepEqual(Object.keys(await store.contents('docs')), ['a']);
  assert.equal((await verifyGolden(tower.directory, { cacheDir }))?.drifted, true);

  endpoint.behaviour.seed = 0;
  await eventually(() => drift.refusal === '');
  assert.equal((await ingest().document(1, 'b', 'hello world').finish()).status.code, status.OK);
  assert.equal((await verifyGolden(tower.directory, { cacheDir }))?.drifted, false);
});
