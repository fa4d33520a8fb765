import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Metadata, status } from '@grpc/grpc-js';
import { TowerError } from '../../towers/errors.ts';
import type { Reranker } from '../../towers/reranker/reranker.ts';
import { failure } from '../runtime/testing/harness.ts';
import { type Page, Reranks } from './rerank.ts';
import { startQuery, type QueryHarness } from './testing/harness.ts';

const started: QueryHarness[] = [];
after(() => Promise.all(started.map(({ stop }) => stop())));

const COLLECTION_TEXTS = ['a', 'bb', 'ccc', 'dddd', 'eeeee', 'ffffff'];

/** It likes long texts. */
class FakeReranker implements Reranker {
  readonly name = 'by length';
  readonly read: (readonly string[])[] = [];
  before: () => Promise<void> | void = () => {};

  async score(_: string, texts: readonly string[]): Promise<number[]> {
    this.read.push(texts);
    await this.before();
    return texts.map(({ length }) => length);
  }

  async close(): Promise<void> {}
}

async function start(reranker?: Reranker): Promise<QueryHarness> {
  const harness = await startQuery({ reranker });
  started.push(harness);
  const { store, tower } = harness;
  const collection = (await store.findCollection('docs')).physicalName;
  assert.ok(collection.includes(tower.manifest.space.fingerprint.slice(0, 12)));
  await store.fill(collection, COLLECTION_TEXTS);
  return harness;
}

test('the best documents are read again, the others follow as they were', async () => {
  const reranker = new FakeReranker();
  const { search } = await start(reranker);
  const plain = (await search({})).hits.map(({ text }) => text);
  const expected = [...plain.slice(0, 3).toSorted((a, b) => b.length - a.length), ...plain.slice(3)];
  for (const page of [
    { limit: 10, offset: 0 },
    { limit: 2, offset: 0 },
    { limit: 2, offset: 2 },
    { limit: 2, offset: 4 },
  ]) {
    const { hits, reranking } = await search({ rerank: 3, ...page });
    assert.deepEqual(
      hits.map(({ text }) => text),
      expected.slice(page.offset, page.offset + page.limit),
    );
    assert.deepEqual(
      { ...reranking },
      {
        reranker: 'by length',
        documents: 3,
        skipped: 'RERANK_SKIPPED_UNSPECIFIED',
      },
    );
    for (const [index, { text, rerankScore }] of hits.entries()) {
      assert.equal(rerankScore, page.offset + index < 3 ? text.length : undefined);
    }
  }
  assert.deepEqual(reranker.read[0]?.toSorted(), plain.slice(0, 3).toSorted());
  const bare = await search({ rerank: 3, omitText: true });
  assert.deepEqual([bare.hits[0]!.text, bare.hits[0]!.rerankScore], ['', expected[0]!.length]);
  assert.equal((await search({})).reranking, null, 'it is off where nobody asks');
});

test('where it does not fit into the deadline, or is away, the order stays and the answer says so', async () => {
  const reranker = new FakeReranker();
  const reranks = new Reranks(reranker);
  const found = ['a', 'bb', 'ccc'].map((text) => ({
    documentId: text,
    score: 1,
    passage: 0,
    title: '',
    text,
    version: 0,
  }));
  const ask = (deadlineMs?: number) =>
    reranks.search(
      {
        most: 3,
        text: 'q',
        call: {
          signal: new AbortController().signal,
          metadata: new Metadata(),
          ...(deadlineMs !== undefined && { deadline: Date.now() + deadlineMs }),
        },
      },
      { tenant: '', limit: 2, offset: 1 },
      async () => found,
    );
  const order = ({ hits }: Page): string[] => hits.map(({ documentId }) => documentId);
  assert.deepEqual(order(await ask()), ['bb', 'a']);
  reranker.before = () => new Promise(() => {});
  const late = await ask(200);
  assert.deepEqual([late.reranking?.skipped, order(late)], ['RERANK_SKIPPED_DEADLINE', ['bb', 'ccc']]);
  const again = await ask(20);
  assert.equal(again.reranking?.skipped, 'RERANK_SKIPPED_DEADLINE');
  assert.equal(reranker.read.length, 2, 'it is not asked for what it had no time for a moment ago');
  reranker.before = () => {
    throw new TowerError('ENDPOINT_UNAVAILABLE', 'no answer');
  };
  const away = await ask();
  assert.deepEqual([away.reranking?.skipped, order(away)], ['RERANK_SKIPPED_AWAY', ['bb', 'ccc']]);
});

test('it is refused where it can’t be', async () => {
  const { search } = await start();
  const error = await failure(search({ rerank: 1 }));
  assert.deepEqual([error.code, error.reason], [status.FAILED_PRECONDITION, 'RERANKER_MISSING']);
  for (const [request, field] of [
    [{ rerank: 101 }, 'rerank'],
    [{ rerank: 1, sort: { field: 'version' } }, 'rerank'],
    [{ rerank: 1, explain: true }, 'explain'],
  ] as const) {
    const refusal = await failure(search(request));
    assert.deepEqual([refusal.code, refusal.violations![0]?.field], [status.INVALID_ARGUMENT, field]);
  }
});
