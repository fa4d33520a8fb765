import assert from 'node:assert/strict';
import { test } from 'node:test';
import { physicalName } from '../../store/store.ts';
import { FakeStore } from './testing/fakes.ts';
import { Vocabularies } from './vocabularies.ts';
import { warmWords } from './warm.ts';

const SPACE = `sp1_${'a'.repeat(32)}`;
const OTHER = `sp1_${'b'.repeat(32)}`;

class CountingStore extends FakeStore {
  readonly read: string[] = [];

  override words(...asked: Parameters<FakeStore['words']>): ReturnType<FakeStore['words']> {
    this.read.push(asked[0]);
    return super.words(...asked);
  }
}

test('the words of the collections of a space are read before the first search, and not by it', async () => {
  const store = new CountingStore();
  await store.analysed('bees', SPACE, ['honey', 'hive']);
  await store.analysed('others', OTHER, ['harbour']);
  await store.lead('plain', SPACE);
  const vocabularies = new Vocabularies(store);
  const { signal } = new AbortController();
  await warmWords(store, SPACE, vocabularies, signal);
  const bees = physicalName('bees', SPACE);
  assert.deepEqual(store.read, [bees]);
  const vocabulary = await vocabularies.of(bees, '', { signal });
  assert.ok(vocabulary.size > 0);
  assert.deepEqual(store.read, [bees]);
});

test('a collection whose words cannot be read is left to the searches', async () => {
  const store = new CountingStore();
  await store.analysed('bees', SPACE, ['honey']);
  store.words = () => Promise.reject(new Error('not now'));
  const vocabularies = new Vocabularies(store);
  await warmWords(store, SPACE, vocabularies, new AbortController().signal);
  await assert.rejects(vocabularies.of(physicalName('bees', SPACE), '', new AbortController()), /not now/);
});
