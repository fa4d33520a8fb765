import assert from 'node:assert/strict';
import { test } from 'node:test';
import { invalidArgument } from '../../runtime/errors.ts';
import {
  beginAgain,
  confirmLater,
  putLater,
  rejected,
  startEncoding,
  startWriting,
  patchLater,
  unchanged,
  updateLater,
  writeAgain,
  written,
  type Encoding,
  type Patching,
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
const patching: Patching = {
  ...arrived,
  state: 'patching',
  patch: { id: 'a', set: { n: 2 }, remove: [], version: 3, bytes: 7 },
  attempts: 0,
};
const options = { tenant: 'acme', omitText: false };

test('a document that is new goes from received to settled, and its write carries all of it', () => {
  const encoding = startEncoding(received);
  const batches = new Set<never>();
  const ready = putLater(encoding, options, { passages, encoded: 1 }, batches);
  assert.deepEqual(ready, {
    ...arrived,
    state: 'ready',
    step: {
      kind: 'put',
      batches,
      encoded: 1,
      write: {
        kind: 'put',
        tenant: 'acme',
        documentId: 'a',
        version: 3,
        contentHash: 'hash',
        encodingHash: 'encoding hash',
        title: 'A',
        text: 'one',
        metadata: { n: 1 },
        passages,
      },
    },
  });
  const outcome = {
    sequence: 7,
    documentId: 'a',
    kind: 'OUTCOME_KIND_INDEXED',
    passages: 1,
    encodedPassages: 1,
  };
  assert.deepEqual(written(startWriting(ready), 'indexed', 9), {
    ...arrived,
    state: 'settled',
    outcome,
    reason: '',
  });
});

test('a confirm keeps the document until the store has taken it', () => {
  const confirm = startWriting(confirmLater(received, 'acme', 'hash'));
  assert.deepEqual(confirm.step.write, {
    kind: 'confirm',
    tenant: 'acme',
    documentId: 'a',
    version: 3,
    contentHash: 'hash',
  });
  assert.deepEqual(beginAgain(confirm), startEncoding(received));
  const put = startWriting(putLater(startEncoding(received), options, { passages, encoded: 1 }, new Set()));
  assert.deepEqual(writeAgain(put).step, put.step);
  assert.throws(() => beginAgain(put), /"changed" to a put/);
});

test('an update keeps what it was made of, until the store has taken it', () => {
  const update = startWriting(updateLater(received, 'acme'));
  assert.deepEqual(update.step.write, {
    kind: 'update',
    tenant: 'acme',
    documentId: 'a',
    version: 3,
    contentHash: 'hash',
    metadata: { n: 1 },
    expected: { encodingHash: 'encoding hash' },
  });
  assert.deepEqual(beginAgain(update), startEncoding(received));
  const { outcome } = written(update, 'updated', 9);
  assert.deepEqual(outcome, {
    sequence: 7,
    documentId: 'a',
    kind: 'OUTCOME_KIND_INDEXED',
    passages: 9,
    encodedPassages: 0,
  });
});

test('a patch expects the content that it was applied to, and counts its attempts', () => {
  const from = { contentHash: 'before', encodingHash: 'e', metadata: { n: 1 }, omitText: false };
  const to = { ...from, contentHash: 'after', metadata: { n: 2 }, expiresAt: 5 };
  const writing = startWriting(patchLater(patching, 'acme', from, to));
  assert.deepEqual(writing.step.write, {
    kind: 'update',
    tenant: 'acme',
    documentId: 'a',
    version: 3,
    contentHash: 'after',
    metadata: { n: 2 },
    expiresAt: 5,
    expected: { contentHash: 'before' },
  });
  assert.deepEqual(beginAgain(writing), { ...patching, attempts: 1 });
});

test('a settled operation keeps neither document nor write', () => {
  const states = [
    received,
    patching,
    startEncoding(received),
    confirmLater(received, 'acme', 'hash'),
    updateLater(received, 'acme'),
  ];
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
  written(ready, 'indexed', 0);
  // @ts-expect-error an operation is written once at a time
  startWriting(writing);
  // @ts-expect-error a document is encoded once
  startEncoding(encoding);
  // @ts-expect-error vectors belong to a document that is being encoded
  putLater(received, options, { passages, encoded: 0 }, new Set());
  // @ts-expect-error a confirm takes the place of encoding
  confirmLater(encoding, '', '');
  // @ts-expect-error a patch has nothing to encode
  startEncoding(patching);
  // @ts-expect-error what is stored already needs no write
  unchanged(writing);
  // @ts-expect-error an operation has one outcome
  rejected(settled, invalidArgument('document', 'is settled'));
}
