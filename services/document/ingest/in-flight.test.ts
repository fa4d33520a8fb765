import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DocumentInFlight } from './in-flight.ts';
import type { Arrived } from './operation.ts';

test('what stands behind a patch waits until its document was read, also where a delete came before', () => {
  const document = new DocumentInFlight();
  const [patch, after] = [{ state: 'patching' }, { state: 'received' }] as unknown as Arrived[];
  document.unsettled = 1;
  document.expect(1, { kind: 'deleted' });
  document.waiting.push(patch!, after!);
  document.unsettled += 2;
  assert.equal(document.takeNext(), undefined, 'the store may refuse the delete');
  document.unsettled--;
  assert.equal(document.takeNext(), patch);
  document.reset();
  assert.equal(document.takeNext(), undefined);
});
