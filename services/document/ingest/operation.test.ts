import assert from 'node:assert/strict';
import { test } from 'node:test';
import { invalidArgument } from '../../runtime/errors.ts';
import {
  confirmLater,
  encodeAfterAll,
  putLater,
  rejected,
  startEncoding,
  startWriting,
  unchanged,
  writeAgain,
  written,
  type Encoding,
  type Ready,
  type Received,
  type Settled,
  type Writing,
} from './operation.ts';

const arrived = { sequence: 7, documentId: 'a', version: 3, tokens: 65, arrivedAt: 1 };
const document = {
  id: 'a',
  title: 'A',
  text: 'one',
  metadata: { n: 1 },
  version: 3,
  contentHash: 'hash',
  encodingHash: 'encoding hash',
  bytes: 4,
};
const received: Received = { ...arrived, state: 'received', document };
const passages = [{ vector: Float32Array.of(1, 0) }];

test('a document that is new goes from received to settled, and its write carries all of it', () => {
  const encoding = startEncoding(received);
  const batches = new Set<never>();
  const ready = putLater(encoding, 'acme', passages, batches);
  assert.deepEqual(ready, {
    ...arrived,
    state: 'ready',
    step: {
      kind: 'put',
      batches,
      write: {
        kind: 'put',
        tenant: 'acme',
        documentId: 'a',
        version: 3,
        contentHash: 'hash',
        title: 'A',
        metadata: { n: 1 },
        passages,
      },
    },
  });
  const outcome = { sequence: 7, documentId: 'a', kind: 'OUTCOME_KIND_INDEXED', passages: 1 };
  assert.deepEqual(written(startWriting(ready), 'indexed'), {
    ...arrived,
    state: 'settled',
    outcome,
    reason: '',
  });
});

test('a confirm keeps the document until the store has taken it', () => {
  const confirm = startWriting(confirmLater(received, 'acme'));
  assert.deepEqual(confirm.step.write, {
    kind: 'confirm',
    tenant: 'acme',
    documentId: 'a',
    version: 3,
    contentHash: 'hash',
  });
  assert.deepEqual(encodeAfterAll(confirm), startEncoding(received));
  const put = startWriting(putLater(encodeAfterAll(confirm), 'acme', passages, new Set()));
  assert.deepEqual(writeAgain(put).step, put.step);
  assert.throws(() => encodeAfterAll(put), /"changed" to a put/);
});

test('a settled operation keeps neither document nor write', () => {
  const states = [received, startEncoding(received), confirmLater(received, 'acme')];
  const error = invalidArgument('document.id', 'is empty');
  for (const state of states) {
    const settled = rejected(state, error);
    assert.deepEqual(
      Object.keys(settled).sort(),
      [...Object.keys(arrived), 'outcome', 'reason', 'state'].sort(),
    );
    assert.equal(settled.reason, error.reason);
  }
});

/** Never called: the compiler refuses these transitions, and the build fails where it would not. */
export function wrongTransitions(encoding: Encoding, ready: Ready, writing: Writing, settled: Settled): void {
  // @ts-expect-error a document without vectors cannot be written
  startWriting(received);
  // @ts-expect-error neither can one whose vectors are being made
  startWriting(encoding);
  // @ts-expect-error only what is being written can have been written
  written(ready, 'indexed');
  // @ts-expect-error an operation is written once at a time
  startWriting(writing);
  // @ts-expect-error a document is encoded once
  startEncoding(encoding);
  // @ts-expect-error vectors belong to a document that is being encoded
  putLater(received, '', [], new Set());
  // @ts-expect-error a confirm takes the place of encoding
  confirmLater(encoding, '');
  // @ts-expect-error what is stored already needs no write
  unchanged(writing);
  // @ts-expect-error an operation has one outcome
  rejected(settled, invalidArgument('document', 'is settled'));
}
