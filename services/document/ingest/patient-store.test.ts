import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { pino } from 'pino';
import { StoreError, type StoreErrorReason } from '../../../store/errors.ts';
import type { StoredDocument } from '../../../store/document.ts';
import type { DocumentWrite, DocumentWriteResult } from '../../../store/writes.ts';
import { PatientStore, READS_AT_ONCE } from './patient-store.ts';
import { untilItWorks } from './retry.ts';

const BACKOFF = { firstMs: 1, longestMs: 4 };
const DELETED: DocumentWriteResult = { outcome: 'deleted' };

function writesOf(...ids: string[]): DocumentWrite[] {
  return ids.map((documentId) => ({ kind: 'delete', tenant: '', documentId, version: 1 }));
}

/** A patient store before one whose calls a test answers, the document ids of every write, and the lines of its log. */
function patient(
  write: (ids: string[]) => DocumentWriteResult[],
  lookup: () => (StoredDocument | undefined)[] = () => [],
) {
  const attempts: string[][] = [];
  const logged: Record<string, unknown>[] = [];
  const log = pino({}, { write: (line) => void logged.push(JSON.parse(line) as Record<string, unknown>) });
  const store = new PatientStore(
    {
      kind: 'embedded',
      readDocuments: () => assert.fail('not asked'),
      lookupDocuments: async () => lookup(),
      freshness: async () => assert.fail('not asked'),
      writeDocuments: async (_collection, writes) => {
        const ids = writes.map(({ documentId }) => documentId);
        attempts.push(ids);
        return write(ids);
      },
    },
    BACKOFF,
    log,
  );
  return { store, attempts, logged };
}

function failure(reason: StoreErrorReason, retryDelayMs?: number): StoreError {
  return new StoreError(reason, 'failed', retryDelayMs === undefined ? {} : { retryDelayMs });
}

function bounds(): { signal: AbortSignal } {
  return { signal: new AbortController().signal };
}

/** Calls that fail `failures` times, and how long each wait was. */
async function waitsOf(context: TestContext, failures: number, shortestMs: number): Promise<number[]> {
  context.mock.method(Math, 'random', () => 1);
  const waits: number[] = [];
  let calls = 0;
  const answer = await untilItWorks(
    async () => {
      if (++calls <= failures) throw failure('STORE_UNAVAILABLE');
      return 'answer';
    },
    {
      backoff: BACKOFF,
      ...bounds(),
      waitFor: () => shortestMs,
      onWait: (_error, waitMs) => waits.push(waitMs),
    },
  );
  assert.equal(answer, 'answer');
  assert.equal(calls, failures + 1);
  return waits;
}

test('a call is repeated until it succeeds, and the waits double up to the longest', async (context) => {
  assert.deepEqual(await waitsOf(context, 4, 0), [1, 2, 4, 4]);
});

test('what the store asks for comes on top of the wait', async (context) => {
  assert.deepEqual(await waitsOf(context, 2, 3), [4, 5]);
});

test('a call is made once where waiting does not help, and its error is passed on', async () => {
  const error = failure('STORE_FULL');
  const waitFor = (): undefined => undefined;
  let calls = 0;
  await assert.rejects(
    untilItWorks(
      async () => {
        calls++;
        throw error;
      },
      { backoff: BACKOFF, ...bounds(), waitFor },
    ),
    error,
  );
  assert.equal(calls, 1);
});

test('nothing is called after the signal, and a wait ends with it', async () => {
  const reason = new Error('gone');
  let calls = 0;
  const call = async (): Promise<never> => {
    calls++;
    throw failure('STORE_UNAVAILABLE');
  };
  const waitFor = (): number => 0;
  const aborted = AbortSignal.abort(reason);
  await assert.rejects(untilItWorks(call, { backoff: BACKOFF, signal: aborted, waitFor }), reason);
  assert.equal(calls, 0);
  const controller = new AbortController();
  const waiting = untilItWorks(call, {
    backoff: BACKOFF,
    signal: controller.signal,
    waitFor: () => 1e9,
    onWait: () => setImmediate(() => controller.abort(reason)),
  });
  await assert.rejects(waiting, { name: 'AbortError' });
  assert.equal(calls, 1);
});

test('the error of a call that fails after the signal is passed on', async () => {
  const controller = new AbortController();
  const error = failure('STORE_UNAVAILABLE');
  const asked: unknown[] = [];
  const call = untilItWorks(
    async () => {
      controller.abort();
      throw error;
    },
    {
      backoff: BACKOFF,
      signal: controller.signal,
      waitFor: (cause) => {
        asked.push(cause);
        return 0;
      },
    },
  );
  await assert.rejects(call, error);
  assert.deepEqual(asked, []);
});

for (const reason of ['STORE_UNAVAILABLE', 'STORE_OVERLOADED'] as const) {
  test(`${reason} is waited out, and its beginning and end are logged once`, async () => {
    let away = 3;
    const { store, attempts, logged } = patient(() => {
      if (away-- > 0) throw failure(reason);
      return [DELETED];
    });
    assert.deepEqual(await store.write('docs', writesOf('a'), bounds()), [DELETED]);
    assert.deepEqual(attempts, [['a'], ['a'], ['a'], ['a']]);
    assert.deepEqual(
      logged.map(({ level }) => level),
      [40, 30],
    );
    const { waitMs } = logged[0]!;
    assert.ok(typeof waitMs === 'number' && waitMs >= 0 && waitMs <= BACKOFF.firstMs);
    assert.ok((logged[0]!['err'] as { message: string }).message.includes('failed'));
    const { outageMs } = logged[1]!;
    assert.ok(typeof outageMs === 'number' && outageMs >= 0 && outageMs < 60_000);
    away = 1;
    await store.write('docs', writesOf('b'), bounds());
    assert.equal(logged.length, 4, 'the next outage is another one');
    await store.write('docs', writesOf('c'), bounds());
    assert.equal(logged.length, 4, 'and without one there is nothing to log');
  });
}

test('an error that asks for a wait gets it', async () => {
  let away = 1;
  const { store, logged } = patient(() => {
    if (away-- > 0) throw failure('STORE_OVERLOADED', 20);
    return [DELETED];
  });
  await store.write('docs', writesOf('a'), bounds());
  const { waitMs } = logged[0]!;
  assert.ok(typeof waitMs === 'number' && waitMs >= 20 && waitMs <= 21);
});

test('a lookup waits, too', async () => {
  let away = 2;
  const found = [{ version: 1, contentHash: 'hash', textOmitted: false, passages: 1 }, undefined];
  const { store } = patient(
    () => [],
    () => {
      if (away-- > 0) throw failure('STORE_UNAVAILABLE');
      return found;
    },
  );
  assert.equal(store.kind, 'embedded');
  assert.deepEqual(await store.lookup('docs', [], bounds().signal), found);
});

for (const [what, error] of [
  ['STORE_INVALID_ARGUMENT', failure('STORE_INVALID_ARGUMENT')],
  ['STORE_INTERNAL', failure('STORE_INTERNAL')],
  ['an error that is no StoreError', new TypeError('unforeseen')],
] as const) {
  test(`${what}: the document that causes it is found by halving, and the others are written in order`, async () => {
    const { store, attempts } = patient((ids) => {
      if (ids.includes('bad')) throw error;
      return ids.map(() => DELETED);
    });
    const answers = await store.write('docs', writesOf('a', 'b', 'bad', 'c', 'd'), bounds());
    const refused = { outcome: 'refused', cause: error };
    assert.deepEqual(answers, [DELETED, DELETED, refused, DELETED, DELETED]);
    assert.deepEqual(attempts, [
      ['a', 'b', 'bad', 'c', 'd'],
      ['a', 'b'],
      ['bad', 'c', 'd'],
      ['bad'],
      ['c', 'd'],
    ]);
  });
}

for (const reason of ['COLLECTION_NOT_FOUND', 'SPACE_MISMATCH', 'STORE_FULL'] as const) {
  test(`${reason} concerns the whole write: it is not repeated, in parts neither`, async () => {
    const error = failure(reason);
    const { store, attempts } = patient(() => {
      throw error;
    });
    await assert.rejects(store.write('docs', writesOf('a', 'b'), bounds()), error);
    assert.deepEqual(attempts, [['a', 'b']]);
  });
}

test('a write that was cancelled is not looked into', async () => {
  const controller = new AbortController();
  const error = failure('STORE_INTERNAL');
  const { store, attempts } = patient(() => {
    controller.abort();
    throw error;
  });
  await assert.rejects(store.write('docs', writesOf('a', 'b'), { signal: controller.signal }), error);
  assert.deepEqual(attempts, [['a', 'b']]);
});

test('the store is called with the collection, what is asked, and the bounds of the call', async () => {
  const calls: unknown[] = [];
  const store = new PatientStore(
    {
      kind: 'embedded',
      readDocuments: () => assert.fail('not asked'),
      lookupDocuments: async (...all) => {
        calls.push(all);
        return [];
      },
      freshness: async (...all) => {
        calls.push(all);
        return { identity: '', position: '' };
      },
      writeDocuments: async (...all) => {
        calls.push(all);
        return [];
      },
    },
    BACKOFF,
    pino({ level: 'silent' }),
  );
  const keys = [{ tenant: '', documentId: 'a' }];
  const writes = writesOf('a');
  const limits = bounds();
  await store.lookup('docs', keys, limits.signal);
  await store.write('docs', writes, limits);
  await store.freshness('docs', limits.signal, 'acme');
  assert.deepEqual(calls, [
    ['docs', keys, { signal: limits.signal }],
    ['docs', writes, limits],
    ['docs', { signal: limits.signal, tenant: 'acme' }],
  ]);
});

test('so many whole documents are read at a time, and the next when one of them has come', async () => {
  const answers: (() => void)[] = [];
  const store = new PatientStore(
    {
      kind: 'embedded',
      readDocuments: () => new Promise((resolve) => answers.push(() => resolve([]))),
      lookupDocuments: () => assert.fail('not asked'),
      freshness: () => assert.fail('not asked'),
      writeDocuments: () => assert.fail('not asked'),
    },
    BACKOFF,
    pino({ level: 'silent' }),
  );
  const { signal } = bounds();
  const reads = Array.from({ length: READS_AT_ONCE + 1 }, () =>
    store.read('docs', [], { withVectors: false }, signal),
  );
  const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  await settled();
  assert.equal(answers.length, READS_AT_ONCE);
  answers[0]!();
  await settled();
  assert.equal(answers.length, READS_AT_ONCE + 1);
  for (const answer of answers) answer();
  await Promise.all(reads);
});
