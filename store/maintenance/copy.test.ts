import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreError } from '../errors.ts';
import { physicalName, type Store } from '../store.ts';
import type { FullDocument } from '../document.ts';
import type { DocumentWrite } from '../writes.ts';
import { MemoryData } from '../testing/memory-data.ts';
import { MemoryStore, type StoreCall } from '../testing/memory-store.ts';
import { copyCollection, type CopyOptions, type CopyProgress, type CopyReport } from './copy.ts';

const SPACE = { fingerprint: `sp1_${'a'.repeat(32)}`, dimensions: 3 };
const OTHER = { fingerprint: `sp1_${'b'.repeat(32)}`, dimensions: 3 };
const PHYSICAL = physicalName('docs', SPACE.fingerprint);

type Put = Extract<DocumentWrite, { kind: 'put' }>;

function put(documentId: string, rest: Partial<Put> = {}): Put {
  const text = `text of ${documentId}`;
  const seed = documentId.length + (documentId.codePointAt(documentId.length - 1) ?? 0);
  return {
    kind: 'put',
    tenant: '',
    documentId,
    version: 1,
    contentHash: `hash of ${documentId}`,
    encodingHash: `encoding of ${documentId}`,
    title: `title of ${documentId}`,
    text,
    metadata: { of: documentId, n: seed },
    passages: [0, 1].map((passage) => ({
      vector: new Float32Array([seed, passage, 1]),
      sparse: { indices: [seed, 4_000_000_000], values: [0.5, 2] },
      text,
      span: { start: passage, end: text.length },
    })),
    ...rest,
  };
}

const names = (count: number, prefix = 'd'): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}${String(index).padStart(5, '0')}`);

async function filled(writes: readonly DocumentWrite[], options: object = {}): Promise<MemoryStore> {
  const store = new MemoryStore(options);
  await store.ensureCollection('docs', SPACE);
  await store.writeDocuments('docs', writes);
  return store;
}

/** Everything that a collection holds. */
async function contents(
  store: Store,
  collection = 'docs',
): Promise<{ documents: FullDocument[]; deletes: object[] }> {
  const documents: FullDocument[] = [];
  const deletes: object[] = [];
  for (const tenant of await store.tenants(collection)) {
    documents.push(
      ...(await store.scroll(collection, tenant, { limit: 100_000, withVectors: true })).documents,
    );
    deletes.push(...(await store.scrollDeletes(collection, tenant, { limit: 100_000 })).deletes);
  }
  return { documents, deletes };
}

const copy = (source: Store, target: Store, rest: Partial<CopyOptions> = {}): Promise<CopyReport> =>
  copyCollection({ source, target, collection: 'docs', ...rest });

const isReason =
  (reason: string) =>
  (error: unknown): boolean =>
    error instanceof StoreError && error.reason === reason;

test('a copy keeps how the model encoded when the source was made, and which fields are indexed', async () => {
  const source = new MemoryStore();
  await source.ensureCollection('docs', { ...SPACE, goldenVectors: 'as it was' });
  await source.indexField('docs', 'metadata.year', 'integer');
  const target = new MemoryStore();
  await copy(source, target);
  assert.equal(await target.goldenVectors('docs'), 'as it was');
  assert.deepEqual((await target.findCollection('docs')).indexedFields, { 'metadata.year': 'integer' });
});

const INGESTED = { at: 1_700_000_000_123, sequence: 7, trace: '0123456789abcdef'.repeat(2) };

test('a copy has all tenants, vectors, terms, spans, expiries and remembered deletes', async () => {
  const source = await filled([
    ...names(1200).map((id) => put(id)),
    ...names(40, 'x').map((id) =>
      put(id, { tenant: 'acme', version: 7, expiresAt: 4_102_444_800_250, ingested: INGESTED }),
    ),
    put('gone', { version: 3 }),
    { kind: 'delete', tenant: '', documentId: 'gone', version: 5 },
    { kind: 'delete', tenant: 'ghosts', documentId: 'never', version: 9 },
  ]);
  const target = new MemoryStore();
  const report = await copy(source, target);
  assert.deepEqual(await contents(target), await contents(source));
  const keys = ['x00000', 'x00039'].map((documentId) => ({ tenant: 'acme', documentId }));
  const origins = await target.findOrigins('docs', keys);
  assert.deepEqual(
    origins.map((origin) => origin?.ingested),
    [INGESTED, INGESTED],
    'a copy came in when its original did',
  );
  const { copied, deletes, documents, passages, mended, withoutText } = report;
  assert.deepEqual(
    { copied, deletes, documents, passages, mended, withoutText },
    { copied: 1240, deletes: 2, documents: 1240, passages: 2480, mended: 0, withoutText: 0 },
  );
  assert.ok(report.sampled > 0);
  assert.notEqual(report.source.identity, report.target.identity);
  assert.equal(report.target.name, 'docs');
});

test('a copy under another name leads there by an alias, which appears when all is there', async () => {
  const source = await filled(names(10).map((id) => put(id)));
  let aliasedBefore = false;
  const data = new MemoryData();
  const target = new MemoryStore({
    data,
    before: ({ operation }: StoreCall) => {
      if (operation !== 'switchAlias' && data.aliases.size > 0)
        aliasedBefore ||= operation === 'writeDocuments';
    },
  });
  const { target: made } = await copy(source, target, { as: 'other' });
  assert.equal(made.name, 'other');
  assert.equal(made.physicalName, physicalName('other', SPACE.fingerprint));
  assert.equal(aliasedBefore, false);
});

test('documents without texts are copied, and counted', async () => {
  const { text: _, ...rest } = put('a');
  const source = await filled([{ ...rest, passages: [{ vector: new Float32Array([1, 2, 3]) }] }, put('b')]);
  const target = new MemoryStore();
  const told: string[] = [];
  const onWithoutText = (id: string): void => void told.push(id);
  assert.equal((await copy(source, target, { onWithoutText })).withoutText, 1);
  assert.deepEqual(told, ['a']);
  assert.deepEqual(await contents(target), await contents(source));
});

test('a target of another space is refused, and nothing is made', async () => {
  const source = await filled([put('a')]);
  const target = new MemoryStore();
  await target.ensureCollection('docs', OTHER);
  await assert.rejects(copy(source, target), isReason('SPACE_MISMATCH'));
  assert.equal((await target.listCollections()).length, 1);
});

test('a target with documents is refused, unless they are merged: the higher version wins', async () => {
  const source = await filled([put('a', { version: 5 }), put('b', { version: 5 })]);
  const target = await filled([
    put('b', { version: 9, title: 'newer' }),
    put('c', { contentHash: 'own' }),
    put('a', { version: 2, title: 'older' }),
  ]);
  await assert.rejects(copy(source, target), /has 3 documents already/);
  const { newer } = await copy(source, target, { merge: true });
  assert.equal(newer, 1);
  assert.deepEqual(
    (await contents(target)).documents.map(({ documentId, title }) => [documentId, title]),
    [
      ['a', 'title of a'],
      ['b', 'newer'],
      ['c', 'title of c'],
    ],
  );
});

/** The progress of copies, as a command keeps it in a file. */
class Kept {
  last: CopyProgress | undefined;
  readonly onProgress = (progress: CopyProgress): void => {
    this.last = JSON.parse(JSON.stringify(progress)) as CopyProgress;
  };
  readonly resume = (source: string, target: string): CopyProgress | undefined =>
    this.last?.source === source && this.last.target === target ? this.last : undefined;
}

test('a copy that breaks at any write goes on where it was, and writes nothing twice that was durable', async () => {
  const source = await filled([
    ...names(2200).map((id) => put(id)),
    ...names(1700, 'x').map((id) => put(id, { tenant: 'acme' })),
    { kind: 'delete', tenant: 'acme', documentId: 'gone', version: 5 },
  ]);
  const expected = await contents(source);
  for (const breaksAt of [1, 2, 5, 8]) {
    const data = new MemoryData();
    let writes = 0;
    const kept = new Kept();
    const broken = new MemoryStore({
      data,
      after: ({ operation }: StoreCall) => {
        if (operation === 'writeDocuments' && ++writes === breaksAt) {
          throw new StoreError('STORE_UNAVAILABLE', 'away');
        }
      },
    });
    await assert.rejects(copy(source, broken, kept), /away/);
    let again = 0;
    const target = new MemoryStore({
      data,
      before: ({ operation, writes: steps }: StoreCall) => {
        if (operation === 'writeDocuments') again += steps.filter(({ kind }) => kind === 'put').length;
      },
    });
    // Without what was kept, the documents would be somebody else's.
    if (kept.last?.after !== undefined) await assert.rejects(copy(source, target), /already/);
    await copy(source, target, kept);
    assert.deepEqual(await contents(target), expected);
    // Pages of 500 documents, of which four were under way at most.
    assert.ok(again <= 3900 - 500 * Math.max(0, breaksAt - 4), `${again} written again`);
  }
});

test('progress of another collection of the same name counts for nothing', async () => {
  const source = await filled(names(700).map((id) => put(id)));
  const kept = new Kept();
  await copy(source, new MemoryStore(), kept);
  assert.ok(kept.last);
  // The same names, dropped and made again at both ends.
  const remade = await filled(names(700).map((id) => put(id)));
  const target = new MemoryStore();
  await copy(remade, target, kept);
  assert.deepEqual(await contents(target), await contents(remade));
});

test('what changes in the source while it is copied is in the copy', async () => {
  let pages = 0;
  const source = await filled(
    names(3000).map((id) => put(id, { version: 5 })),
    {
      after: async ({ operation }: StoreCall) => {
        if (operation !== 'scroll' || ++pages > 6) return;
        await source.writeDocuments('docs', [
          put(`d0000${pages}`, { version: 6 + pages, contentHash: `new ${pages}`, title: 'changed' }),
          put(`new${pages}`),
          { kind: 'delete', tenant: '', documentId: `d0010${pages}`, version: 9 },
        ]);
        // Deleted whatever its version, and back in a lower one.
        const filter = { must: [{ field: 'document_id', equals: `d0020${pages}` }] };
        await source.deleteByFilter('docs', '', filter);
        await source.writeDocuments('docs', [put(`d0020${pages}`, { version: 1, contentHash: 'back' })]);
      },
    },
  );
  const target = new MemoryStore();
  const { mended } = await copy(source, target);
  assert.ok(mended > 0);
  assert.deepEqual(await contents(target), await contents(source));
});

test('documents that differ each time end the copy, and says how many documents differ', async () => {
  const source = await filled([put('a')]);
  // Each comparison finds the document gone.
  const target = new MemoryStore({
    before: async ({ operation }: StoreCall) => {
      if (operation !== 'lookupDocuments') return;
      await target.deleteByFilter(PHYSICAL, '', { must: [{ field: 'document_id', equals: 'a' }] });
    },
  });
  await assert.rejects(copy(source, target), /differ after 5 rounds/);
});

test('a store that corrupts a vector in silence is found out', async () => {
  const source = await filled(names(10).map((id) => put(id)));
  class Corrupting extends MemoryStore {
    override writeDocuments(
      ...[name, writes, options]: Parameters<MemoryStore['writeDocuments']>
    ): ReturnType<MemoryStore['writeDocuments']> {
      const wrong = writes.map((write) =>
        write.kind === 'put'
          ? {
              ...write,
              passages: write.passages.map((one) => ({ ...one, vector: new Float32Array([1, 2, 2]) })),
            }
          : write,
      );
      return super.writeDocuments(name, wrong, options);
    }
  }
  await assert.rejects(copy(source, new Corrupting()), /another vector of passage 0/);
});

test('a copy can be stopped, and its reason is told', async () => {
  const controller = new AbortController();
  const source = await filled(names(3000).map((id) => put(id)));
  const onProgress = ({ after }: CopyProgress): void => {
    if (after !== undefined) controller.abort(new Error('enough'));
  };
  await assert.rejects(copy(source, new MemoryStore(), { signal: controller.signal, onProgress }), /enough/);
});

test('a collection that was dropped and made again while it was copied is no copy', async () => {
  const data = new MemoryData();
  const source = await filled(
    names(20).map((id) => put(id)),
    { data },
  );
  const target = new MemoryStore({
    before: ({ operation }: StoreCall) => {
      if (operation === 'lookupDocuments') data.collections.get(PHYSICAL)!.identity = `col_${'0'.repeat(32)}`;
    },
  });
  await assert.rejects(copy(source, target), isReason('COLLECTION_REPLACED'));
});
