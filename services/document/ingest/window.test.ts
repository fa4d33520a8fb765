import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { test } from 'node:test';
import { pino } from 'pino';
import { StoreError } from '../../../store/errors.ts';
import type { StoredDocument } from '../../../store/document.ts';
import type { DocumentWrite, DocumentWriteResult } from '../../../store/writes.ts';
import { TowerError } from '../../../towers/errors.ts';
import { FakeTower } from '../testing/fake-tower.ts';
import { Budget } from './budget.ts';
import { DocumentEncoder } from './encoder.ts';
import {
  BYTES_PER_TOKEN,
  rejected,
  type DocumentTrace,
  type Ready,
  type Received,
  type Settled,
} from './operation.ts';
import type { StreamTrace } from './stream-trace.ts';
import { PatientStore } from './patient-store.ts';
import { LOOKUP_DOCUMENTS } from './lookup-queue.ts';
import { Window } from './window.ts';
import { WRITE_BYTES, WRITE_OPERATIONS, WRITES_IN_FLIGHT } from './write-queue.ts';
import { invalidArgument } from '../../runtime/errors.ts';

const BACKOFF = { firstMs: 1, longestMs: 1 };
const OUTCOMES = {
  update: 'updated',
  put: 'indexed',
  confirm: 'unchanged',
  delete: 'deleted',
} as const;

/** A write that the store has not answered. */
interface PendingWrite {
  writes: readonly DocumentWrite[];
  ids: string[];
  /** Without answers, every step takes effect. */
  answer: (answers?: readonly DocumentWriteResult[]) => void;
  fail: (error: unknown) => void;
}

interface PendingLookup {
  ids: string[];
  answer: () => void;
  fail: (error: unknown) => void;
}

interface DeleteOptions {
  version?: number;
  tokens?: number;
  trace?: DocumentTrace;
}

/** A window before a store whose every answer is up to the test. */
class Scene {
  readonly lookups: PendingLookup[] = [];
  readonly writes: PendingWrite[] = [];
  /** What lookups find, by document id. */
  readonly stored = new Map<string, Partial<StoredDocument>>();
  readonly failures: unknown[] = [];
  /** Lines of the log. */
  readonly logged: object[] = [];
  /** What the store was told of the trace of each write. */
  readonly contexts: unknown[] = [];
  readonly tower = new FakeTower();
  readonly budget = new Budget(1e9);
  readonly window: Window;
  /** How often the window has said that something was settled. */
  told = 0;
  readonly #share = this.budget.open();
  #sequence = 0;

  constructor(trace?: StreamTrace) {
    const store = new PatientStore(
      {
        kind: 'embedded',
        readDocuments: () => assert.fail('not asked'),
        freshness: () => assert.fail('not asked'),
        lookupDocuments: (_collection, keys) =>
          new Promise((resolve, fail) => {
            const ids = keys.map(({ documentId }) => documentId);
            const answer = (): void =>
              resolve(ids.map((id) => this.stored.get(id) as StoredDocument | undefined));
            this.lookups.push({ ids, answer, fail });
          }),
        writeDocuments: (_collection, writes, options) =>
          new Promise((resolve, fail) => {
            this.contexts.push(options?.trace);
            const ids = writes.map(({ documentId }) => documentId);
            const well = writes.map(({ kind }): DocumentWriteResult => ({ outcome: OUTCOMES[kind] }));
            const answer = (answers = well as readonly DocumentWriteResult[]): void => resolve([...answers]);
            this.writes.push({ writes, ids, answer, fail });
          }),
      },
      BACKOFF,
      pino({ level: 'silent' }),
    );
    const shared = {
      store,
      encoder: new DocumentEncoder(this.tower, BACKOFF, Infinity),
      analyses: { of: () => Promise.resolve(undefined), learn: () => undefined },
      budget: this.budget,
      log: pino({}, { write: (line) => void this.logged.push(JSON.parse(line) as object) }),
    };
    const target = { collection: 'docs', tenant: 'acme', omitText: false, lane: { group: {} } };
    this.window = new Window(shared, this.#share, target, trace, {
      onSettled: () => void this.told++,
      onFailure: (error) => this.failures.push(error),
    });
  }

  #next(documentId: string, version: number, tokens: number) {
    assert.equal(this.budget.admit(this.#share, tokens), true);
    const sequence = ++this.#sequence;
    return { sequence, documentId, version, tokens, arrivedAt: sequence * 10 };
  }

  /** A document; its content hash is its text. */
  put(id: string, { version = 1, text = 'text', tokens = 1 } = {}): void {
    const content = {
      id,
      title: '',
      text,
      metadata: {},
      version,
      contentHash: text,
      encodingHash: `encoding of ${text}`,
      bytes: 4,
    };
    const operation: Received = { ...this.#next(id, version, tokens), state: 'received', document: content };
    this.window.add(operation);
  }

  delete(id: string, { version = 1, tokens = 1, trace }: DeleteOptions = {}): void {
    const write = { kind: 'delete', tenant: 'acme', documentId: id, version } as const;
    const step = { kind: 'delete', write } as const;
    const operation: Ready = {
      ...this.#next(id, version, tokens),
      state: 'ready',
      step,
      ...(trace && { trace }),
    };
    this.window.add(operation);
  }

  /** An operation that was refused before it came in. */
  flawed(id: string): void {
    this.window.add(rejected(this.#next(id, 0, 0), invalidArgument('document', 'is flawed')));
  }

  /** Answers the next lookups, and lets everything run that can. */
  async lookUp(): Promise<void> {
    await settle();
    for (let pending = this.lookups.shift(); pending; pending = this.lookups.shift()) {
      pending.answer();
      await settle();
    }
  }

  /** The one write that is under way. */
  async write(): Promise<PendingWrite> {
    await settle();
    assert.equal(this.writes.length, 1);
    return this.writes.shift()!;
  }

  /** Outcomes that can go out, as `id kind`. */
  async outcomes(): Promise<string[]> {
    await settle();
    const found: Settled[] = [];
    for (let next = this.window.takeSettled(); next; next = this.window.takeSettled()) found.push(next);
    return found.map(
      ({ documentId, outcome, reason }) =>
        `${documentId} ${reason || String(outcome.kind).replace('OUTCOME_KIND_', '').toLowerCase()}`,
    );
  }
}

/** Lets everything run that does not wait for the test. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 40; turn++) await nextTurn();
}

/** The next test must not wait for ever for what a broken window never does. */
const bounded = { timeout: 20_000 };

test(
  'what came in one turn is looked up in one call, encoded, and written in one call',
  bounded,
  async () => {
    const scene = new Scene();
    for (const id of ['a', 'b', 'c']) scene.put(id, { tokens: 5 });
    assert.equal(scene.window.size, 3);
    assert.equal(scene.window.oldestArrival, 10);
    await settle();
    assert.deepEqual(
      scene.lookups.map(({ ids }) => ids),
      [['a', 'b', 'c']],
    );
    await scene.lookUp();
    const write = await scene.write();
    assert.deepEqual(write.ids, ['a', 'b', 'c']);
    assert.deepEqual(
      write.writes.map(({ kind, tenant }) => [kind, tenant]),
      Array.from({ length: 3 }, () => ['put', 'acme']),
    );
    assert.deepEqual(await scene.outcomes(), [], 'nothing is answered before the store has');
    assert.equal(scene.budget.held, 15);
    const told = scene.told;
    write.answer();
    await settle();
    assert.ok(scene.told > told);
    assert.equal(scene.budget.held, 0);
    assert.equal(scene.window.size, 3, 'settled ones count until they are taken');
    assert.deepEqual(await scene.outcomes(), ['a indexed', 'b indexed', 'c indexed']);
    assert.equal(scene.window.size, 0);
    assert.equal(scene.window.oldestArrival, undefined);
  },
);

test('what is stored decides', bounded, async () => {
  const scene = new Scene();
  scene.stored.set('newer', { version: 3, contentHash: 'text' });
  scene.stored.set('same', { version: 2, contentHash: 'text' });
  scene.stored.set('older', { version: 1, contentHash: 'text' });
  scene.stored.set('other', { version: 2, contentHash: 'other' });
  for (const id of ['newer', 'same', 'older', 'other', 'none']) scene.put(id, { version: 2 });
  await settle();
  const told = scene.told;
  await scene.lookUp();
  assert.ok(scene.told > told);
  assert.deepEqual(await scene.outcomes(), ['newer VERSION_STALE', 'same unchanged']);
  const writes: DocumentWrite[] = [];
  while (writes.length < 3) {
    const write = await scene.write();
    write.answer();
    writes.push(...write.writes);
  }
  assert.deepEqual(
    writes.map(({ documentId, kind, version }) => [documentId, kind, version]),
    [
      ['older', 'confirm', 2],
      ['other', 'put', 2],
      ['none', 'put', 2],
    ],
  );
  assert.equal(scene.tower.encoded, 2);
  assert.deepEqual(await scene.outcomes(), ['older unchanged', 'other indexed', 'none indexed']);
  assert.equal(scene.budget.held, 0);
});

test('one lookup is under way at a time, of a bounded number of documents', bounded, async () => {
  const scene = new Scene();
  scene.put('first');
  await settle();
  for (let index = 0; index <= LOOKUP_DOCUMENTS; index++) scene.put(`d${index}`);
  await settle();
  assert.deepEqual(
    scene.lookups.map(({ ids }) => ids.length),
    [1],
  );
  scene.lookups.shift()!.answer();
  await settle();
  assert.deepEqual(
    scene.lookups.map(({ ids }) => ids.length),
    [LOOKUP_DOCUMENTS],
  );
  scene.lookups.shift()!.answer();
  await settle();
  assert.deepEqual(
    scene.lookups.map(({ ids }) => ids),
    [[`d${LOOKUP_DOCUMENTS}`]],
  );
  scene.lookups.shift()!.answer();
  await settle();
  scene.put('last');
  await settle();
  assert.deepEqual(
    scene.lookups.map(({ ids }) => ids),
    [['last']],
  );
});

test('an operation on a document in flight is compared with the newest one before it', bounded, async () => {
  const scene = new Scene();
  scene.put('a', { version: 5, text: 'one' });
  scene.put('a', { version: 5, text: 'one' }); // the same: confirm
  scene.put('a', { version: 3, text: 'two' }); // older: the store will refuse it, unencoded
  scene.put('a', { version: 5, text: 'one' }); // as the newest is, which is not the last: confirm
  scene.put('a', { version: 5, text: 'three' }); // other content in the same version: put
  scene.put('a', { version: 6, text: 'three' }); // raises the version alone: confirm
  scene.delete('a', { version: 7 });
  scene.put('a', { version: 8, text: 'three' }); // after a delete: put
  await settle();
  assert.deepEqual(
    scene.lookups.map(({ ids }) => ids),
    [['a']],
  );
  await scene.lookUp();
  const steps: unknown[] = [];
  for (let round = 0; round < 8; round++) {
    const write = await scene.write();
    for (const { kind, version } of write.writes) steps.push([kind, version]);
    write.answer(write.writes.map(({ kind }) => ({ outcome: OUTCOMES[kind] })));
    await settle();
    if (scene.writes.length === 0) break;
  }
  assert.deepEqual(steps, [
    ['put', 5],
    ['confirm', 5],
    ['confirm', 3],
    ['confirm', 5],
    ['put', 5],
    ['confirm', 6],
    ['delete', 7],
    ['put', 8],
  ]);
  assert.equal((await scene.outcomes()).length, 8);
  scene.put('a', { version: 9, text: 'three' });
  await settle();
  assert.deepEqual(
    scene.lookups.map(({ ids }) => ids),
    [['a']],
    'settled ones are forgotten',
  );
});

test('writes keep the order of the stream, and a document is in one write at a time', bounded, async () => {
  const scene = new Scene();
  scene.put('slow');
  scene.delete('b');
  await settle();
  assert.deepEqual(scene.writes, [], 'the first one is not ready');
  await scene.lookUp();
  const first = await scene.write();
  assert.deepEqual(first.ids, ['slow', 'b']);
  scene.delete('b', { version: 2 });
  for (let index = 0; index < WRITE_OPERATIONS; index++) scene.delete(`d${index}`);
  await settle();
  assert.deepEqual(scene.writes, [], 'the next operation is on a document that is being written');
  first.answer();
  const second = await scene.write();
  assert.deepEqual(second.ids.slice(0, 2), ['b', 'd0']);
  assert.equal(second.ids.length, WRITE_OPERATIONS);
  second.answer();
  (await scene.write()).answer();
  assert.equal((await scene.outcomes()).length, WRITE_OPERATIONS + 3);
});

test('several operations on one document that are ready go in one write, in order', bounded, async () => {
  const scene = new Scene();
  scene.delete('a', { version: 1 });
  scene.delete('b', { version: 1 });
  scene.delete('a', { version: 2 });
  const write = await scene.write();
  assert.deepEqual(
    write.writes.map(({ documentId, version }) => `${documentId}${version}`),
    ['a1', 'b1', 'a2'],
  );
  write.answer();
  assert.deepEqual(await scene.outcomes(), ['a deleted', 'b deleted', 'a deleted']);
});

test(
  'while a write is under way, smaller ones wait and full ones begin, up to the most',
  bounded,
  async () => {
    const scene = new Scene();
    let next = 0;
    const add = (count: number): void => {
      for (let index = 0; index < count; index++) scene.delete(`d${next++}`);
    };
    add(1);
    await settle();
    add(WRITE_OPERATIONS - 1);
    await settle();
    assert.deepEqual(
      scene.writes.map(({ ids }) => ids.length),
      [1],
    );
    add(1);
    await settle();
    assert.deepEqual(
      scene.writes.map(({ ids }) => ids.length),
      [1, WRITE_OPERATIONS],
    );
    add(2 * WRITE_OPERATIONS);
    await settle();
    assert.equal(WRITES_IN_FLIGHT, 3);
    assert.deepEqual(
      scene.writes.map(({ ids }) => ids.length),
      [1, WRITE_OPERATIONS, WRITE_OPERATIONS],
    );
    scene.writes.shift()!.answer();
    await settle();
    assert.equal(scene.writes.length, 3);
    add(1);
    for (let left = 3; left > 0; left--) {
      assert.equal(scene.writes.length, left);
      scene.writes.shift()!.answer();
      await settle();
      if (left === 3) assert.equal(scene.writes.length, 2, 'a small one waits');
    }
    const last = await scene.write();
    assert.deepEqual(last.ids, [`d${next - 1}`]);
    last.answer();
    assert.equal((await scene.outcomes()).length, next);
  },
);

test('a write is bounded in bytes, unless a single operation exceeds them', bounded, async () => {
  const scene = new Scene();
  const half = WRITE_BYTES / BYTES_PER_TOKEN / 2;
  scene.delete('a', { tokens: half });
  scene.delete('b', { tokens: half });
  scene.delete('c', { tokens: 1 });
  scene.delete('huge', { tokens: 3 * half });
  scene.delete('e', { tokens: 1 });
  await settle();
  const ids = scene.writes.map((write) => write.ids);
  assert.deepEqual(ids, [['a', 'b'], ['c'], ['huge']]);
  for (const write of scene.writes.splice(0)) write.answer();
  const last = await scene.write();
  assert.deepEqual(last.ids, ['e']);
  last.answer();
  assert.deepEqual((await scene.outcomes()).length, 5);
  assert.equal(scene.budget.held, 0);
});

test('exactly the most bytes are no full write; one more is', bounded, async () => {
  const scene = new Scene();
  scene.delete('first');
  await settle();
  scene.delete('a', { tokens: WRITE_BYTES / BYTES_PER_TOKEN });
  await settle();
  assert.deepEqual(
    scene.writes.map(({ ids }) => ids),
    [['first']],
  );
  scene.delete('b');
  await settle();
  assert.deepEqual(
    scene.writes.map(({ ids }) => ids),
    [['first'], ['a']],
  );
});

test(
  'content that is gone is encoded after all, and later operations on it are written again',
  bounded,
  async () => {
    const scene = new Scene();
    scene.stored.set('a', { version: 1, contentHash: 'text' });
    scene.put('a', { version: 2 });
    await scene.lookUp();
    const held = await scene.write();
    scene.delete('b');
    held.answer([{ outcome: 'changed' }]);
    assert.deepEqual(await scene.outcomes(), []);
    assert.equal(scene.tower.encoded, 1);
    const put = await scene.write();
    assert.deepEqual(
      put.writes.map(({ documentId, kind }) => [documentId, kind]),
      [
        ['a', 'put'],
        ['b', 'delete'],
      ],
    );
    put.answer();
    assert.deepEqual(await scene.outcomes(), ['a indexed', 'b deleted']);
  },
);

test(
  'what follows a confirm in vain is written again, after it; other documents are not',
  bounded,
  async () => {
    const scene = new Scene();
    scene.stored.set('a', { version: 1, contentHash: 'text' });
    scene.put('a', { version: 2 });
    scene.delete('a', { version: 3 });
    scene.delete('b');
    await scene.lookUp();
    const write = await scene.write();
    assert.deepEqual(write.ids, ['a', 'a', 'b']);
    write.answer([{ outcome: 'changed' }, { outcome: 'deleted' }, { outcome: 'deleted' }]);
    assert.deepEqual(await scene.outcomes(), []);
    const again = await scene.write();
    assert.deepEqual(
      again.writes.map(({ kind, version }) => [kind, version]),
      [
        ['put', 2],
        ['delete', 3],
      ],
    );
    again.answer();
    assert.deepEqual(await scene.outcomes(), ['a indexed', 'a deleted', 'b deleted']);
    assert.equal(scene.budget.held, 0);
  },
);

test('what the store refuses is rejected, and says why', bounded, async () => {
  const scene = new Scene();
  scene.delete('a');
  scene.delete('b');
  const write = await scene.write();
  write.answer([{ outcome: 'stale', storedVersion: 7 }, { outcome: 'deleted' }]);
  assert.deepEqual(await scene.outcomes(), ['a VERSION_STALE', 'b deleted']);
  scene.delete('c');
  (await scene.write()).fail(new StoreError('STORE_INVALID_ARGUMENT', 'no'));
  assert.deepEqual(await scene.outcomes(), ['c STORE_INVALID_ARGUMENT']);
  assert.deepEqual(scene.failures, []);
  assert.equal(scene.budget.held, 0);
});

test('an operation that was refused before it came in has its place in the order', bounded, async () => {
  const scene = new Scene();
  scene.delete('a');
  const told = scene.told;
  scene.flawed('b');
  assert.ok(scene.told > told);
  assert.equal(scene.window.takeSettled(), undefined);
  const write = await scene.write();
  assert.deepEqual(write.ids, ['a']);
  scene.delete('c');
  write.answer();
  assert.deepEqual(await scene.outcomes(), ['a deleted', 'b INVALID_ARGUMENT']);
  assert.deepEqual((await scene.write()).ids, ['c'], 'a settled one holds nothing up');
});

test('a document that the tower fails on is rejected, and those behind it are written', bounded, async () => {
  const scene = new Scene();
  scene.tower.before = (text) => {
    if (text.includes('bad')) throw new TowerError('ENCODER_FAILED', 'no');
  };
  scene.put('a', { text: 'bad' });
  scene.delete('b');
  const told = scene.told;
  await scene.lookUp();
  assert.ok(scene.told > told + 1);
  const write = await scene.write();
  assert.deepEqual(write.ids, ['b']);
  write.answer();
  assert.deepEqual(await scene.outcomes(), ['a ENCODER_FAILED', 'b deleted']);
  assert.deepEqual(scene.failures, []);
});

test('a tower that is closed ends the stream', bounded, async () => {
  const scene = new Scene();
  const closed = new TowerError('ENCODER_CLOSED', 'closed');
  scene.tower.before = () => {
    throw closed;
  };
  scene.put('a');
  scene.put('b');
  await scene.lookUp();
  assert.deepEqual(scene.failures, [closed], 'once');
  assert.deepEqual(await scene.outcomes(), []);
});

for (const call of ['lookup', 'write'] as const) {
  test(
    `a store that is of no use at ${call} ends the stream, once, and nothing more is written`,
    bounded,
    async () => {
      const scene = new Scene();
      const error = new StoreError('STORE_FULL', 'full');
      if (call === 'lookup') scene.put('a');
      else scene.delete('a');
      await settle();
      (call === 'lookup' ? scene.lookups : scene.writes).shift()!.fail(error);
      await settle();
      assert.deepEqual(scene.failures, [error]);
      scene.delete('b');
      await settle();
      assert.deepEqual(scene.writes, []);
      assert.deepEqual(await scene.outcomes(), []);
    },
  );
}

test('a window that is abandoned writes and settles nothing more, and is no failure', bounded, async () => {
  const scene = new Scene();
  let release = (): void => {};
  scene.tower.before = () => new Promise((resolve) => (release = resolve));
  scene.delete('written');
  const write = await scene.write();
  scene.put('encoding');
  await scene.lookUp();
  scene.put('asked');
  await settle();
  const told = scene.told;
  scene.window.abandon();
  write.answer();
  scene.lookups.shift()!.answer();
  release();
  await settle();
  assert.deepEqual(await scene.outcomes(), []);
  assert.equal(scene.told, told);
  assert.deepEqual(scene.writes, []);
  assert.deepEqual(scene.failures, []);
  assert.equal(scene.tower.encoded, 0);
});

test(
  'a write carries the context of its span to the store, and the trace hears of its end',
  bounded,
  async () => {
    const context = {};
    const heard: string[] = [];
    const trace = {
      writing: (operations: readonly unknown[], target: { store: string; collection: string }) => {
        heard.push(`writing ${operations.length} to ${target.collection}, ${target.store}`);
        return { libraryContext: context };
      },
      written: (span: { libraryContext: object }) => heard.push(`written ${span.libraryContext === context}`),
      settled: ({ documentId }: Settled) => heard.push(`settled ${documentId}`),
    };
    const scene = new Scene(trace as unknown as StreamTrace);
    scene.delete('a');
    (await scene.write()).answer();
    assert.deepEqual(await scene.outcomes(), ['a deleted']);
    assert.deepEqual(scene.contexts, [context]);
    assert.deepEqual(heard, ['writing 1 to docs, embedded', 'written true', 'settled a']);
  },
);

test(
  'an error that nobody foresaw is logged, with the document that it concerns and its trace',
  bounded,
  async () => {
    const scene = new Scene();
    const ids = { trace_id: 't', span_id: 's' };
    scene.delete('a', { trace: { span: { logFields: ids } } as unknown as DocumentTrace });
    (await scene.write()).fail(new TypeError('unforeseen'));
    assert.deepEqual(await scene.outcomes(), ['a INTERNAL']);
    assert.equal(scene.logged.length, 1);
    const { collection, tenant, documentId, trace_id, span_id } = scene.logged[0] as Record<string, unknown>;
    const fields = { collection, tenant, documentId, trace_id, span_id };
    assert.deepEqual(fields, { collection: 'docs', tenant: 'acme', documentId: 'a', ...ids });
  },
);

test('the traces of documents are ended where the window is abandoned', bounded, async () => {
  const abandoned: unknown[] = [];
  const trace = { abandoned: (document: unknown) => abandoned.push(document) };
  const scene = new Scene(trace as unknown as StreamTrace);
  const own = { span: {} } as unknown as DocumentTrace;
  scene.put('first');
  scene.delete('untraced');
  scene.delete('traced', { trace: own });
  scene.window.abandon();
  assert.deepEqual(abandoned, [own]);
  await settle();
  assert.deepEqual(scene.writes, []);
});

test(
  'a document whose text is stored is updated, and encoded only where its text is to be kept now',
  bounded,
  async () => {
    const scene = new Scene();
    const stored = {
      version: 1,
      contentHash: 'other metadata',
      encodingHash: 'encoding of text',
      passages: 1,
    };
    scene.stored.set('kept', { ...stored, textOmitted: false });
    scene.stored.set('omitted', { ...stored, textOmitted: true });
    for (const id of ['kept', 'omitted']) scene.put(id, { version: 2 });
    await scene.lookUp();
    const kinds: Record<string, string> = {};
    for (let writes = 0; writes < 2; writes = Object.keys(kinds).length) {
      const write = await scene.write();
      for (const { documentId, kind } of write.writes) kinds[documentId] = kind;
      write.answer();
    }
    assert.deepEqual(kinds, { kept: 'update', omitted: 'put' });
  },
);
