import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import * as fc from 'fast-check';
import type { IngestOutcome__Output } from '../../../proto/generated/scalingnote/v1/IngestOutcome.ts';
import { type JsonObject, toStruct } from '../../../proto/struct.ts';
import { unpackStatus } from '../../../proto/status.ts';
import { eventually, gate, harnesses } from '../testing/harness.ts';
import { READ_DOCUMENTS } from './reader.ts';
import { PATCH_ATTEMPTS } from './window.ts';

const start = harnesses();

/** Outcomes in short: the kind, or why it was rejected, with the passages there are and were encoded. */
function short(outcomes: readonly IngestOutcome__Output[]): string[] {
  return outcomes.map(({ kind, error, passages, encodedPassages }) => {
    if (error) return unpackStatus(error).reason;
    const name = kind.replace('OUTCOME_KIND_', '');
    return name === 'INDEXED' ? `${name} ${passages} ${encodedPassages}` : name;
  });
}

test('a change of metadata or expiry alone writes and does not encode', async () => {
  const { ingest, store, tower } = await start();
  await ingest().document(1, 'a', 'one|two', { title: 'T' }).finish();
  const { encoded } = tower;
  const metadata = toStruct({ price: 5 });
  const ended = await ingest()
    .document(1, 'a', 'one|two', { title: 'T', metadata })
    .document(2, 'a', 'one|two', { title: 'T', metadata, expiresAt: { seconds: 4_000_000_000, nanos: 5e6 } })
    .document(3, 'a', 'one|two', { title: 'T', metadata, expiresAt: { seconds: 4_000_000_000, nanos: 5e6 } })
    .finish();
  assert.deepEqual(short(ended.outcomes), ['INDEXED 2 0', 'INDEXED 2 0', 'UNCHANGED']);
  assert.equal(tower.encoded, encoded);
  const [stored] = await store.readDocuments('docs', [{ tenant: '', documentId: 'a' }]);
  assert.deepEqual(stored?.metadata, { price: 5 });
  assert.equal(stored.expiresAt, 4_000_000_000_005);
  assert.deepEqual([stored.title, stored.text], ['T', 'one|two']);
  const without = await ingest().document(1, 'a', 'one|two', { title: 'T', metadata }).finish();
  assert.deepEqual(short(without.outcomes), ['INDEXED 2 0']);
  const [forever] = await store.readDocuments('docs', [{ tenant: '', documentId: 'a' }]);
  assert.equal(forever?.expiresAt, undefined, 'sending it without an expiry takes that away');
});

test('a document whose texts are now to be kept out of the store, or in it, is encoded', async () => {
  const { ingest, tower } = await start();
  await ingest().document(1, 'a', 'one|two').finish();
  const without = await ingest({ collection: 'docs', omitText: true }).document(1, 'a', 'one|two').finish();
  assert.deepEqual(short(without.outcomes), ['INDEXED 2 2']);
  const again = await ingest().document(1, 'a', 'one|two').finish();
  assert.deepEqual(short(again.outcomes), ['INDEXED 2 2']);
  assert.equal(tower.encoded, 6);
});

test('a patch sets and removes keys, keeps the rest, and encodes nothing', async () => {
  const { ingest, store, tower } = await start();
  await ingest()
    .document(1, 'a', 'one|two', {
      title: 'T',
      version: 2,
      metadata: toStruct({ price: 5, colour: 'red', nested: { deep: [1] }, ['__proto__']: 'x' }),
    })
    .finish();
  const { encoded } = tower;
  const ended = await ingest()
    .patch(1, 'a', { set: { price: 6, new: null }, remove: ['colour', 'nobody'], version: 3 })
    .finish();
  assert.deepEqual(short(ended.outcomes), ['INDEXED 2 0']);
  assert.equal(tower.encoded, encoded);
  const { a } = await store.contents('docs');
  const expected = Object.fromEntries(
    Object.entries({ price: 6, new: null, nested: { deep: [1] }, ['__proto__']: 'x' }),
  );
  assert.deepEqual([a?.version, a?.title, a?.metadata], [3, 'T', expected]);
  const whole = await ingest()
    .document(1, 'a', 'one|two', { title: 'T', version: 3, metadata: toStruct(expected) })
    .finish();
  assert.deepEqual(short(whole.outcomes), ['UNCHANGED'], 'a patched document is as good as a whole one');
});

test('a patch that changes nothing is UNCHANGED, and raises the version', async () => {
  const { ingest, store } = await start();
  await ingest()
    .document(1, 'a', 'one', { metadata: toStruct({ n: 1 }) })
    .finish();
  const writes = store.writes.length;
  const same = await ingest()
    .patch(1, 'a', { set: { n: 1 }, remove: ['m'] })
    .finish();
  assert.deepEqual(short(same.outcomes), ['UNCHANGED']);
  assert.equal(store.writes.length, writes);
  const raised = await ingest()
    .patch(1, 'a', { set: { n: 1 }, version: 4 })
    .finish();
  assert.deepEqual(short(raised.outcomes), ['UNCHANGED']);
  assert.equal((await store.contents('docs')).a?.version, 4);
});

test('patches of what is not there, or newer, or would grow too large are rejected alone', async () => {
  const { ingest } = await start();
  await ingest()
    .document(1, 'a', 'one', { version: 5, metadata: toStruct({ big: 'x'.repeat(40_000) }) })
    .finish();
  const ended = await ingest()
    .patch(1, 'nobody', { set: { n: 1 }, version: 9 })
    .patch(2, 'a', { set: { n: 1 }, version: 4 })
    .patch(3, 'a', { set: { more: 'y'.repeat(40_000) }, version: 5 })
    .patch(4, 'a', { set: { n: 1 }, remove: ['n'], version: 5 })
    .patch(5, '', { set: { n: 1 } })
    .patch(6, 'a', { set: { n: 1 }, version: 5 })
    .finish();
  assert.deepEqual(short(ended.outcomes), [
    'DOCUMENT_NOT_FOUND',
    'VERSION_STALE',
    'INVALID_ARGUMENT',
    'INVALID_ARGUMENT',
    'INVALID_ARGUMENT',
    'INDEXED 1 0',
  ]);
  const [missing, , large, both, nameless] = ended.outcomes.map(({ error }) => error && unpackStatus(error));
  assert.equal(missing?.code, status.NOT_FOUND);
  assert.match(large!.message, /patch\.set, with what the document has: is 80\d+ bytes long/);
  assert.equal(both?.violations?.[0]?.field, 'patch.remove[0]');
  assert.equal(nameless?.violations?.[0]?.field, 'patch.id');
});

test('operations on one document take effect in order, though none has been written', async () => {
  const { ingest, store, tower } = await start();
  const held = gate();
  store.before = (call) => (call === 'lookup' ? held.opened : undefined);
  const stream = ingest()
    .patch(1, 'a', { set: { early: true } })
    .document(2, 'a', 'one', { metadata: toStruct({ n: 1, m: 1 }) })
    .patch(3, 'a', { set: { n: 2 } })
    .patch(4, 'a', { set: { o: 3 }, remove: ['m'] })
    .document(5, 'b', 'one')
    .patch(6, 'a', { set: { o: 3 } })
    .delete(7, 'a')
    .patch(8, 'a', { set: { late: true } })
    .document(9, 'a', 'two', { metadata: toStruct({ n: 5 }) })
    .patch(10, 'a', { set: { last: 1 } });
  held.open();
  const ended = await stream.finish();
  assert.deepEqual(short(ended.outcomes), [
    'DOCUMENT_NOT_FOUND',
    'INDEXED 1 1',
    'INDEXED 1 0',
    'INDEXED 1 0',
    'INDEXED 1 1',
    'UNCHANGED',
    'DELETED',
    'DOCUMENT_NOT_FOUND',
    'INDEXED 1 1',
    'INDEXED 1 0',
  ]);
  assert.deepEqual((await store.contents('docs')).a?.metadata, { n: 5, last: 1 });
  assert.equal(tower.encoded, 3);
});

test('a patch of a document that somebody changes meanwhile is applied to what it is then', async () => {
  const { ingest, store } = await start();
  await ingest()
    .document(1, 'a', 'one', { metadata: toStruct({ n: 0, mine: 0 }) })
    .finish();
  let others = 0;
  store.before = async (call, writes) => {
    if (call !== 'write' || writes[0]?.kind !== 'update' || others === 3) return;
    const { before } = store;
    store.before = () => {};
    await ingest()
      .patch(1, 'a', { set: { n: ++others } })
      .finish();
    store.before = before;
  };
  const ended = await ingest()
    .patch(1, 'a', { set: { mine: 1 } })
    .patch(2, 'a', { set: { also: 1 } })
    .finish();
  assert.deepEqual(short(ended.outcomes), ['INDEXED 1 0', 'INDEXED 1 0']);
  assert.deepEqual((await store.contents('docs')).a?.metadata, { n: 3, mine: 1, also: 1 });
});

test('a patch that is always too late is rejected after some attempts', async () => {
  const { ingest, store } = await start();
  await ingest().document(1, 'a', 'one').finish();
  let others = 0;
  let own = true;
  store.before = async (call, writes) => {
    if (!own || call !== 'write' || writes[0]?.kind !== 'update') return;
    own = false;
    await ingest()
      .patch(1, 'a', { set: { n: ++others } })
      .finish();
    own = true;
  };
  const ended = await ingest()
    .patch(1, 'a', { set: { mine: 1 } })
    .delete(2, 'b')
    .finish();
  assert.deepEqual(short(ended.outcomes), ['PATCH_CONTENDED', 'DELETED']);
  assert.equal(ended.outcomes[0]?.error?.code, status.ABORTED);
  assert.equal(others, PATCH_ATTEMPTS + 1);
});

test('many patches of many documents are read many in a call, and written many in a call', async () => {
  const { ingest, store } = await start();
  const stream = ingest();
  for (let sequence = 1; sequence <= 300; sequence++) stream.document(sequence, `d${sequence}`, 'one');
  await stream.finish();
  const writes = store.writes.length;
  const held = gate();
  store.before = (call) => (call === 'read' ? held.opened : undefined);
  const before = store.lookups;
  const patches = ingest();
  for (let sequence = 1; sequence <= 300; sequence++)
    patches.patch(sequence, `d${sequence}`, { set: { n: 1 } });
  await eventually(() => store.lookups === before + 300);
  held.open();
  const ended = await patches.finish();
  assert.ok(ended.outcomes.every(({ kind }) => kind === 'OUTCOME_KIND_INDEXED'));
  assert.ok(store.reads.length <= 2 + Math.ceil(300 / READ_DOCUMENTS), `${store.reads.length} reads`);
  assert.ok(store.writes.length - writes < 60, `${store.writes.length - writes} writes`);
});

type Step =
  | { kind: 'document'; text: string; metadata: JsonObject }
  | { kind: 'delete' }
  | { kind: 'patch'; set: JsonObject; remove: string[] };

const metadata = fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.nat(2), {
  maxKeys: 3,
  noNullPrototype: true,
});
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('document' as const), text: fc.constantFrom('one', 'two'), metadata }),
  fc.constant({ kind: 'delete' as const }),
  fc
    .record({ set: metadata, remove: fc.uniqueArray(fc.constantFrom('a', 'b', 'c')) })
    .map(({ set, remove }) => ({
      kind: 'patch' as const,
      set,
      remove: remove.filter((key) => !(key in set)),
    })),
);

test('whatever the order of documents, patches and deletes: the end is as if they came one by one', async () => {
  const { ingest, store } = await start();
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 14 }), async (steps) => {
      const id = `d${runs++}`;
      const stream = ingest();
      let expected: { text: string; metadata: JsonObject } | undefined;
      const kinds: RegExp[] = [];
      steps.forEach((each, index) => {
        if (each.kind === 'delete') {
          stream.delete(index + 1, id);
          kinds.push(/DELETED/);
          expected = undefined;
        } else if (each.kind === 'document') {
          stream.document(index + 1, id, each.text, { metadata: toStruct(each.metadata) });
          kinds.push(/INDEXED|UNCHANGED/);
          expected = { text: each.text, metadata: each.metadata };
        } else {
          stream.patch(index + 1, id, { set: each.set, remove: each.remove });
          kinds.push(expected ? /INDEXED|UNCHANGED/ : /DOCUMENT_NOT_FOUND/);
          const kept = Object.entries(expected?.metadata ?? {}).filter(([key]) => !each.remove.includes(key));
          if (expected) {
            expected = { ...expected, metadata: { ...Object.fromEntries(kept), ...each.set } };
          }
        }
      });
      const { outcomes } = await stream.finish();
      short(outcomes).forEach((outcome, index) => assert.match(outcome, kinds[index]!));
      const found = (await store.contents('docs'))[id];
      assert.deepEqual(
        found && { text: found.passages[0]?.text, metadata: found.metadata },
        expected && { ...expected },
      );
    }),
    { numRuns: 100 },
  );
});
