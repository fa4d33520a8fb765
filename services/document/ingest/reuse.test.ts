import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreError } from '../../../store/errors.ts';
import type { FullDocument } from '../../../store/document.ts';
import { splitPassages } from '../../../towers/passages.ts';
import { type CutDocument, recutPassages } from '../../../towers/recut.ts';
import { rulesOf } from '../../../towers/testing/passage-rules.ts';
import type { Passage } from '../../../towers/tower.ts';
import { FakeTower } from '../testing/fake-tower.ts';
import { harnesses, type Harness } from '../testing/harness.ts';

const rules = await rulesOf({ window: 24, overlap: 6, maxTokens: 96 });

/** A tower that cuts as the real ones do; its vectors are a function of the tokens. */
class CuttingTower extends FakeTower {
  override eachPassage(document: { title: string; text: string }): AsyncGenerator<Passage, void, undefined> {
    return splitPassages(document, rules);
  }

  override recut(document: { title: string; text: string }, before: CutDocument) {
    const cut = (part: { title: string; text: string }): AsyncIterable<Passage> => splitPassages(part, rules);
    return recutPassages(document, before, { cut, fewest: rules.window });
  }
}

/** Words that the tokenizer of tests knows, so that sentences differ. */
const WORDS = ['hello', 'world', 'star', 'astronomer', 'query'];
const TEXT = Array.from({ length: 54 }, (_, at) => {
  const words = [at % 5, Math.floor(at / 5) % 5, Math.floor(at / 25) % 5, at % 3].map((each) => WORDS[each]!);
  return `${at < 10 ? 'Hello' : 'World'} ${words.join(' ')}.`;
}).join(' ');

const startAny = harnesses();
const start = (): Promise<Harness> => startAny({ tower: new CuttingTower() });

async function read({ store }: Harness, id: string): Promise<FullDocument> {
  const [document] = await store.readDocuments('docs', [{ tenant: '', documentId: id }], {
    withVectors: true,
  });
  return document!;
}

/** Sends a document of 18 passages, then a change of it; says what the change cost. */
async function change(
  text: string,
  rest: { title?: string } = {},
): Promise<{ total: number; encoded: number }> {
  const harness = await start();
  const { ingest, tower } = harness;
  const first = await ingest().document(1, 'a', TEXT, { title: 'star' }).finish();
  assert.equal(first.outcomes[0]?.passages, 18);
  assert.equal(first.outcomes[0].encodedPassages, 18);
  const { encoded } = tower;
  const { outcomes } = await ingest()
    .document(1, 'a', text, { title: 'star', ...rest })
    .finish();
  const [outcome] = outcomes;
  assert.equal(outcome?.kind, 'OUTCOME_KIND_INDEXED');
  assert.equal(outcome.encodedPassages, tower.encoded - encoded, 'the outcome tells what was encoded');

  // Whatever was kept: what is stored is what a service would have that never saw the first version.
  const stored = await read(harness, 'a');
  assert.equal(stored.text, text);
  const fresh = new CuttingTower();
  for (const [index, { text: passage, span, vector }] of stored.passages.entries()) {
    assert.equal(text.slice(span?.start, span?.end), passage);
    const own = index === 0 ? `${rest.title ?? 'star'} ${passage}` : passage!;
    const { vector: expected } = await fresh.encode(await rules.encode(own));
    const length = Math.hypot(...expected);
    vector!.forEach((component, at) => assert.ok(Math.abs(component - expected[at]! / length) < 1e-6));
  }
  return { total: outcome.passages, encoded: outcome.encodedPassages };
}

test('one word appended to a document of 18 passages encodes at most 2', async () => {
  const { encoded } = await change(`${TEXT} Hello`);
  assert.ok(encoded >= 1 && encoded <= 2, `${encoded}`);
});

test('one word inserted in its first passage encodes at most 4', async () => {
  const { encoded } = await change(TEXT.replace('hello', 'hello star'));
  assert.ok(encoded >= 1 && encoded <= 4, `${encoded}`);
});

test('one word inserted in the middle encodes at most 4', async () => {
  const middle = TEXT.indexOf(' ', TEXT.length / 2);
  const { encoded } = await change(`${TEXT.slice(0, middle)} query${TEXT.slice(middle)}`);
  assert.ok(encoded >= 1 && encoded <= 4, `${encoded}`);
});

test('another title encodes the first passage', async () => {
  assert.deepEqual(await change(TEXT, { title: 'world' }), { total: 18, encoded: 1 });
});

test('another text encodes all of it', async () => {
  const { total, encoded } = await change('Query query star. '.repeat(40).trim());
  assert.equal(encoded, total);
});

test('where texts are kept out of the store, all is encoded again', async () => {
  const { ingest } = await start();
  const begin = { collection: 'docs', omitText: true };
  await ingest(begin).document(1, 'a', TEXT).finish();
  const { outcomes } = await ingest(begin).document(1, 'a', `${TEXT} Hello`).finish();
  assert.equal(outcomes[0]?.encodedPassages, outcomes[0]?.passages);
});

test('where texts are to be kept out from now on, nothing is encoded', async () => {
  const harness = await start();
  await harness.ingest().document(1, 'a', TEXT).finish();
  const { outcomes } = await harness
    .ingest({ collection: 'docs', omitText: true })
    .document(1, 'a', TEXT)
    .finish();
  assert.equal(outcomes[0]?.encodedPassages, 0);
  assert.equal((await read(harness, 'a')).text, undefined);
});

test('a stored document that can not be read costs its encoding, and no more', async () => {
  const { ingest, store } = await start();
  await ingest().document(1, 'a', TEXT).finish();
  store.before = (call) => {
    if (call === 'read') throw new StoreError('STORE_INTERNAL', 'no');
  };
  const { outcomes } = await ingest().document(1, 'a', `${TEXT} Hello`).finish();
  assert.equal(outcomes[0]?.kind, 'OUTCOME_KIND_INDEXED');
  assert.equal(outcomes[0].encodedPassages, outcomes[0].passages);
});

test('a store that is full, or lost, at the read ends the stream', async () => {
  const { ingest, store } = await start();
  await ingest().document(1, 'a', TEXT).finish();
  store.before = (call) => {
    if (call === 'read') throw new StoreError('STORE_LOST', 'gone');
  };
  const ended = await ingest().document(1, 'a', `${TEXT} Hello`).ended;
  assert.equal(ended.status.reason, 'STORE_LOST');
});

test('a long document is not read to be replaced by a short one', async () => {
  const { ingest, store } = await startAny();
  const text = Array.from({ length: 500 }, (_, at) => `a passage of some length ${at}`).join('|');
  await ingest().document(1, 'a', text).finish();
  const { outcomes } = await ingest().document(1, 'a', 'a passage of some length 7').finish();
  assert.deepEqual([outcomes[0]?.encodedPassages, store.reads.length], [1, 0]);
});
