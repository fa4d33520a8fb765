import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import type { MeasureFamiliarityResponse__Output } from '../../proto/generated/scalingnote/v1/MeasureFamiliarityResponse.ts';
import { encodeFamiliarity } from '../../towers/familiarity.ts';
import { callUnary, failure } from '../runtime/testing/harness.ts';
import { FakeTower } from './testing/fakes.ts';
import { startQuery, type QueryHarness } from './testing/harness.ts';

const DISTILLATION = {
  teacher: 't',
  student: 'lookup',
  loss: '',
  texts: 1,
  steps: 1,
  seed: 1,
  heldOutCosine: 1,
};

function measure(harness: QueryHarness, collection = 'docs'): Promise<MeasureFamiliarityResponse__Output> {
  return callUnary(harness.client, 'MeasureFamiliarity', { collection });
}

test('the share of a collection that a student hardly saw is that of its tokens', async (context) => {
  // The fake tower's tokens are code points: it has seen a, and hardly b.
  const counts = new Uint32Array(128);
  counts['a'.codePointAt(0)!] = 100;
  counts[' '.codePointAt(0)!] = 100;
  counts['b'.codePointAt(0)!] = 1;
  const distillation = { ...DISTILLATION, familiarity: encodeFamiliarity(counts) };
  const harness = await startQuery({ tower: new FakeTower({ distillation }) });
  context.after(() => harness.stop());
  await harness.store.fill(
    'docs',
    Array.from({ length: 50 }, () => 'aab'),
  );
  const found = await measure(harness);
  assert.equal(found.documents, 50);
  assert.equal(found.tokens, '200');
  assert.equal(found.unknownTokenShare, 0.25);
  assert.equal(found.queryTower?.name, 'fake');
});

test('a large collection is looked at in part', async (context) => {
  const distillation = { ...DISTILLATION, familiarity: '' };
  const harness = await startQuery({ tower: new FakeTower({ distillation }) });
  context.after(() => harness.stop());
  await harness.store.fill(
    'docs',
    Array.from({ length: 1000 }, () => 'b'),
  );
  const found = await measure(harness);
  assert.equal(found.documents, 200);
  assert.equal(found.unknownTokenShare, 1);
});

test('a tower that does not say what it saw, and a collection without texts, have no share', async (context) => {
  const harness = await startQuery();
  context.after(() => harness.stop());
  assert.equal((await measure(harness)).unknownTokenShare, undefined);
  await harness.store.fill('docs', ['text']);
  assert.equal((await measure(harness)).unknownTokenShare, undefined);
  assert.equal((await failure(measure(harness, 'nowhere'))).code, status.NOT_FOUND);
});
