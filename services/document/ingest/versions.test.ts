import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as fc from 'fast-check';
import { startHarness, type Harness } from '../testing/harness.ts';
import type { MemoryStore } from '../testing/memory-store.ts';

let harness: Harness<MemoryStore>;
before(async () => {
  harness = await startHarness();
});
after(() => harness.stop());

const versions = fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 8 });
let runs = 0;

test('the highest version wins, in every order of arrival', async () => {
  await fc.assert(
    fc.asyncProperty(versions, async (order) => {
      const id = `one-stream-${runs++}`;
      const stream = harness.ingest();
      order.forEach((version, index) => stream.document(index + 1, id, `version ${version}`, { version }));
      const { outcomes } = await stream.finish();

      let highest = -1;
      order.forEach((version, index) => {
        // The same content once more may be encoded once more, when nobody knows yet that it will be there.
        const expected =
          version > highest ? /_INDEXED$/ : version === highest ? /_(INDEXED|UNCHANGED)$/ : /_REJECTED$/;
        assert.match(outcomes[index]?.kind ?? '', expected, `operation ${index + 1} of ${order}`);
        highest = Math.max(highest, version);
      });
      assert.equal(harness.store.contents('docs')[id]?.version, highest);
      assert.equal(harness.store.contents('docs')[id]?.passages[0]?.text, `version ${highest}`);
    }),
    { numRuns: 60 },
  );
});

test('the highest version wins across two streams, whichever is faster', async () => {
  await fc.assert(
    fc.asyncProperty(versions, versions, fc.array(fc.nat(3)), async (left, right, pauses) => {
      const id = `two-streams-${runs++}`;
      let calls = 0;
      const pause = (): Promise<void> =>
        new Promise((resolve) => setTimeout(resolve, pauses[calls++ % Math.max(1, pauses.length)] ?? 0));
      harness.tower.before = pause;
      harness.store.before = pause;
      const ended = await Promise.all(
        [left, right].map((order) => {
          const stream = harness.ingest();
          order.forEach((version, index) =>
            stream.document(index + 1, id, `version ${version}`, { version }),
          );
          return stream.finish();
        }),
      );
      const highest = Math.max(...left, ...right);
      assert.equal(harness.store.contents('docs')[id]?.passages[0]?.text, `version ${highest}`);
      for (const { outcomes } of ended) {
        for (const { kind, error } of outcomes) {
          if (kind === 'OUTCOME_KIND_REJECTED') assert.equal(error?.code, 10, 'nothing but ABORTED');
        }
      }
    }),
    { numRuns: 40 },
  );
});

test('a version that is too old is rejected with both versions, and is not encoded', async () => {
  const { ingest, tower } = harness;
  await ingest().document(1, 'old', 'new text', { version: 9 }).finish();
  const encoded = tower.encoded;
  const { outcomes } = await ingest().document(1, 'old', 'old text', { version: 8 }).finish();
  assert.equal(outcomes[0]?.kind, 'OUTCOME_KIND_REJECTED');
  assert.equal(outcomes[0]?.error?.code, 10);
  assert.match(outcomes[0]?.error?.message ?? '', /version 8 .* 9 .*"old"/);
  assert.equal(tower.encoded, encoded);
});
