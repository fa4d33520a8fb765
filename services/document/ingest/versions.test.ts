import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import * as fc from 'fast-check';
import { openStore } from '../../../store/open.ts';
import { startHarness, type Harness } from '../testing/harness.ts';
import { TestStore } from '../testing/test-store.ts';

const versions = fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 8 });

async function memory(): Promise<TestStore> {
  const store = new TestStore();
  // Every call takes its time, each another one.
  let calls = 0;
  store.before = () => new Promise((resolve) => setTimeout(resolve, (calls++ * 7) % 4));
  return store;
}

const directory = await mkdtemp(join(tmpdir(), 'document-versions-'));
after(() => rm(directory, { recursive: true }));

async function embedded(): Promise<TestStore> {
  return new TestStore(await openStore({ kind: 'embedded', directory }));
}

for (const [name, open] of Object.entries({ memory, embedded })) {
  describe(`versions, in a store that is ${name}`, () => {
    let store: TestStore;
    let harness: Harness;
    let runs = 0;
    before(async () => {
      store = await open();
      harness = await startHarness({ store });
    });
    after(async () => {
      await harness.stop();
      await store.dispose();
    });

    /** Version and first text of a document. */
    const read = async (id: string) => {
      const document = (await store.contents('docs'))[id];
      return { version: document?.version, text: document?.passages[0]?.text };
    };

    test('the highest version wins, in every order of arrival', async () => {
      await fc.assert(
        fc.asyncProperty(versions, async (order) => {
          const id = `one-stream-${runs++}`;
          const stream = harness.ingest();
          order.forEach((version, index) =>
            stream.document(index + 1, id, `version ${version}`, { version }),
          );
          const { outcomes } = await stream.finish();

          let highest = -1;
          order.forEach((version, index) => {
            // The same content once more may be encoded once more, when nobody knows yet that it will be there.
            const expected =
              version > highest ? /_INDEXED$/ : version === highest ? /_(INDEXED|UNCHANGED)$/ : /_REJECTED$/;
            assert.match(outcomes[index]?.kind ?? '', expected, `operation ${index + 1} of ${order.join()}`);
            highest = Math.max(highest, version);
          });
          assert.deepEqual(await read(id), { version: highest, text: `version ${highest}` });
        }),
        { numRuns: 40 },
      );
    });

    test('the highest version wins across two streams, whichever is faster', async () => {
      await fc.assert(
        fc.asyncProperty(versions, versions, fc.array(fc.nat(3)), async (left, right, pauses) => {
          const id = `two-streams-${runs++}`;
          let calls = 0;
          harness.tower.before = () =>
            new Promise((resolve) => setTimeout(resolve, pauses[calls++ % Math.max(1, pauses.length)] ?? 0));
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
          assert.deepEqual(await read(id), { version: highest, text: `version ${highest}` });
          for (const { error } of ended.flatMap(({ outcomes }) => outcomes)) {
            assert.ok(error === null || error.code === status.ABORTED, error?.message);
          }
        }),
        { numRuns: 30 },
      );
    });

    test('a version that is too old is rejected with both versions, and is not encoded', async () => {
      const { ingest, tower } = harness;
      await ingest().document(1, 'old', 'new text', { version: 9 }).finish();
      const encoded = tower.encoded;
      const { outcomes } = await ingest().document(1, 'old', 'old text', { version: 8 }).finish();
      assert.equal(outcomes[0]?.kind, 'OUTCOME_KIND_REJECTED');
      assert.equal(outcomes[0]?.error?.code, status.ABORTED);
      assert.match(outcomes[0]?.error?.message ?? '', /version 8 .* 9 .*"old"/);
      assert.equal(tower.encoded, encoded);
    });

    test('the last of equal versions wins, with deletes in between', async () => {
      const step = fc.constantFrom('delete', 'red', 'green', 'blue');
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
          const id = `steps-${runs++}`;
          const stream = harness.ingest();
          steps.forEach((text, index) => {
            if (text === 'delete') stream.delete(index + 1, id);
            else stream.document(index + 1, id, text);
          });
          const { outcomes, watermark } = await stream.finish();
          assert.equal(watermark, steps.length);
          assert.ok(outcomes.every(({ error }) => error === null));
          const last = steps.at(-1);
          assert.equal((await read(id)).text, last === 'delete' ? undefined : last);
        }),
        { numRuns: 40 },
      );
    });
  });
}
