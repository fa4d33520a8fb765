import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { recordingLog } from '../../runtime/testing/harness.ts';
import { FakeTower } from '../testing/fake-tower.ts';
import { eventually, gate, harnesses, type Harness } from '../testing/harness.ts';
import { openTestStore } from '../testing/test-store.ts';

const start = harnesses();

const kinds = (outcomes: { kind: string }[]): string[] =>
  outcomes.map(({ kind }) => kind.replace('OUTCOME_KIND_', ''));

test('a stream sends ready, the outcomes in order and a watermark, and ends well', async () => {
  const { ingest, store, tower } = await start();
  const ended = await ingest({ collection: 'docs', tenant: 'acme' })
    .document(1, 'a', 'one|two|three', {
      title: 'A',
      metadata: { fields: { n: { numberValue: 1 } } },
      version: 4,
    })
    .document(5, 'b', 'alone')
    .delete(6, 'nobody')
    .finish();

  assert.equal(ended.status.code, status.OK);
  assert.equal(ended.events[0]?.event, 'ready');
  const { identity, analysis, ...collection } = ended.events[0].ready!.collection!;
  assert.match(analysis?.fingerprint ?? '', /^lx1_[0-9a-f]{32}$/);
  assert.deepEqual(
    [analysis?.language, analysis?.keepDiacritics, analysis?.unfinished],
    ['auto', false, false],
  );
  assert.match(identity, /^col_[0-9a-f]{32}$/);
  assert.deepEqual(collection, {
    name: 'docs',
    physicalName: `docs--${tower.manifest.space.fingerprint.slice(0, 12)}`,
    space: { fingerprint: tower.manifest.space.fingerprint, dimensions: 8 },
    documents: '0',
    passages: '0',
    readOnly: false,
    admittedSpaces: [],
  });
  assert.deepEqual(
    ended.outcomes.map(({ sequence, documentId, passages }) => [Number(sequence), documentId, passages]),
    [
      [1, 'a', 3],
      [5, 'b', 1],
      [6, 'nobody', 0],
    ],
  );
  assert.deepEqual(kinds(ended.outcomes), ['INDEXED', 'INDEXED', 'DELETED']);
  assert.equal(ended.watermark, 6);
  assert.equal(ended.events.at(-1)?.event, 'watermark');

  const { a } = await store.contents('docs', 'acme');
  assert.equal(a?.version, 4);
  assert.equal(a.title, 'A');
  assert.deepEqual(a.metadata, { n: 1 });
  assert.deepEqual(
    a.passages.map(({ text }) => text),
    ['one', 'two', 'three'],
  );
});

test('a collection is made with the analysis that the stream wants, and refuses a stream that wants another', async () => {
  const { ingest, store } = await start();
  const wanted = { language: 'de', keepDiacritics: true };
  const made = await ingest({ collection: 'docs', analysis: wanted }).document(1, 'a', 'Häuser').finish();
  assert.equal(made.status.code, status.OK, made.status.message);
  const { analysis } = made.events[0]!.ready!.collection!;
  assert.deepEqual([analysis?.language, analysis?.keepDiacritics], ['de', true]);
  assert.deepEqual(await store.wordsOf('docs'), ['\u0002de', 'häuser']);
  for (const begin of [{}, { analysis: wanted }]) {
    const { status: end } = await ingest({ collection: 'docs', ...begin })
      .document(1, 'b', 'x')
      .finish();
    assert.equal(end.code, status.OK, end.message);
  }
  for (const [other, message] of [
    [{ language: 'en' }, /language "de", diacritics kept.*language "en", diacritics folded.*reanalyse docs/],
    [{ language: 'de' }, /diacritics/],
  ] as const) {
    const { status: end } = await ingest({ collection: 'docs', analysis: other }).finish();
    assert.deepEqual([end.code, end.reason], [status.FAILED_PRECONDITION, 'ANALYSIS_MISMATCH']);
    assert.match(end.message, message);
  }
  for (const [bad, field] of [
    [{ language: 'german' }, 'begin.analysis.language'],
    [{ fingerprint: 'lx1_' }, 'begin.analysis'],
  ] as const) {
    const { status: end } = await ingest({ collection: 'docs', analysis: bad }).finish();
    assert.deepEqual([end.code, end.reason], [status.INVALID_ARGUMENT, 'INVALID_ARGUMENT']);
    assert.match(end.message, new RegExp(`^${field}`));
  }
});

test('words of a language that nobody stems stay as they are written, and the log says so once', async () => {
  const { log, lines } = recordingLog();
  const { ingest, store } = await start({ log });
  for (const sequence of [1, 2]) {
    const { status: end } = await ingest({ collection: 'docs', analysis: { language: 'cs' } })
      .document(sequence, `d${sequence}`, 'Psi a kočky')
      .finish();
    assert.equal(end.code, status.OK, end.message);
  }
  assert.deepEqual(await store.wordsOf('docs'), ['\u0002cs', 'a', 'kocky', 'psi']);
  const notes = lines.filter(({ msg }) => /no stemmer for the language "cs"/.test(String(msg)));
  assert.deepEqual(
    notes.map(({ collection }) => collection),
    ['docs'],
  );
});

test('a stream to a collection of another analyser is refused, with the command that helps', async () => {
  const { ingest, store } = await start();
  await ingest().document(1, 'a', 'one').finish();
  for (const record of [
    '{"language":"auto","keepDiacritics":false,"analyser":99,"icu":1}',
    'what a later version may say',
  ]) {
    await store.setAnalysis('docs', record);
    const { status: end } = await ingest().document(1, 'b', 'two').finish();
    assert.deepEqual([end.code, end.reason], [status.FAILED_PRECONDITION, 'ANALYSIS_MISMATCH']);
    assert.match(end.message, /scalingnote collections reanalyse docs/);
  }
});

test('texts stay out of the store where the stream says so', async () => {
  const { ingest, store } = await start();
  await ingest({ collection: 'docs', omitText: true }).document(1, 'a', 'secret').finish();
  assert.deepEqual(
    (await store.contents('docs')).a?.passages.map(({ text }) => text),
    [''],
  );
});

test('outcomes and watermarks wait for the store, and watermarks only grow', async () => {
  const { ingest, store } = await start();
  const gates: (() => void)[] = [];
  store.before = (call) => {
    if (call === 'write') return new Promise<void>((open) => gates.push(open));
    return undefined;
  };
  const stream = ingest();
  for (let sequence = 1; sequence <= 5; sequence++) stream.document(sequence, `d${sequence}`, 'text');
  await eventually(() => gates.length === 1);
  assert.deepEqual(
    stream.events.map(({ event }) => event),
    ['ready'],
    'nothing is acknowledged before it is durable',
  );
  const opening = setInterval(() => gates.splice(0).forEach((open) => open()), 1);
  const ended = await stream.finish();
  clearInterval(opening);
  const watermarks = ended.events.flatMap(({ watermark }) => (watermark ? Number(watermark.sequence) : []));
  assert.deepEqual(
    watermarks,
    [...new Set(watermarks)].sort((a, b) => a - b),
  );
  assert.equal(watermarks.at(-1), 5);
});

test('a watermark never covers an operation without an outcome', async () => {
  const { ingest, tower } = await start();
  const held = gate();
  tower.before = (text) => (text.includes('slow') ? held.opened : undefined);
  const stream = ingest()
    .document(1, 'first', 'quick')
    .document(2, 'second', 'slow')
    .document(3, 'third', 'quick')
    .document(4, '', 'refused');
  await stream.durable(1);
  await eventually(() => tower.encoded === 2);
  assert.equal(stream.watermark, 1);
  assert.deepEqual(
    stream.outcomes.map(({ sequence }) => sequence),
    ['1'],
  );
  held.open();
  const ended = await stream.finish();
  assert.deepEqual(kinds(ended.outcomes), ['INDEXED', 'INDEXED', 'INDEXED', 'REJECTED']);
  assert.equal(ended.watermark, 4);
});

test('content that is stored already is not encoded again', async () => {
  const { ingest, store, tower } = await start();
  const metadata = { fields: { b: { numberValue: 1 }, a: { stringValue: 'x' } } };
  const reordered = { fields: { a: { stringValue: 'x' }, b: { numberValue: 1 } } };
  await ingest().document(1, 'a', 'text|more', { title: 'T', metadata }).finish();
  assert.equal(tower.encoded, 2);
  const writes = store.writes.length;

  const same = await ingest().document(1, 'a', 'text|more', { title: 'T', metadata: reordered }).finish();
  assert.deepEqual(kinds(same.outcomes), ['UNCHANGED']);
  assert.equal(store.writes.length, writes, 'nothing to write either');

  const newer = await ingest().document(1, 'a', 'text|more', { title: 'T', metadata, version: 7 }).finish();
  assert.deepEqual(kinds(newer.outcomes), ['UNCHANGED']);
  assert.equal(tower.encoded, 2);
  assert.equal((await store.contents('docs')).a?.version, 7, 'its version is raised');
});

test('a change of title, metadata or omit_text alone is a change', async () => {
  const { ingest, store } = await start();
  await ingest().document(1, 'a', 'text', { title: 'T' }).finish();
  const metadata = { fields: { colour: { stringValue: 'red' } } };
  const changed = await ingest()
    .document(1, 'a', 'text', { title: 'U' })
    .document(2, 'a', 'text', { title: 'U', metadata })
    .finish();
  assert.deepEqual(kinds(changed.outcomes), ['INDEXED', 'INDEXED']);
  assert.deepEqual((await store.contents('docs')).a?.metadata, { colour: 'red' });
  const without = await ingest({ collection: 'docs', omitText: true })
    .document(1, 'a', 'text', { title: 'U', metadata })
    .finish();
  assert.deepEqual(kinds(without.outcomes), ['INDEXED']);
});

test('a document that shrinks loses its last passages; one that is deleted, all', async () => {
  const { ingest, store } = await start();
  await ingest().document(1, 'a', '1|2|3|4|5').document(2, 'b', 'stays').finish();
  const ended = await ingest().document(1, 'a', '1|2|3').finish();
  assert.equal(ended.outcomes[0]?.passages, 3);
  assert.equal((await store.contents('docs')).a?.passages.length, 3);
  const deleted = await ingest().delete(1, 'a').delete(2, 'a').finish();
  assert.deepEqual(kinds(deleted.outcomes), ['DELETED', 'DELETED']);
  assert.deepEqual(Object.keys(await store.contents('docs')), ['b']);
});

test('a versioned delete keeps older documents away and yields to newer ones', async () => {
  const { ingest, store } = await start();
  const ended = await ingest()
    .document(1, 'a', 'text', { version: 3 })
    .delete(2, 'a', 2)
    .delete(3, 'a', 5)
    .document(4, 'a', 'late', { version: 4 })
    .document(5, 'a', 'new', { version: 6 })
    .finish();
  assert.deepEqual(kinds(ended.outcomes), ['INDEXED', 'REJECTED', 'DELETED', 'REJECTED', 'INDEXED']);
  assert.equal((await store.contents('docs')).a?.version, 6);
});

test('one document many times over: all at full speed, bounded, and the last one wins', async () => {
  const { ingest, store, tower, pipeline } = await start({ settings: { budgetTokens: 8192 } });
  const count = 3000;
  store.before = (call) => (call === 'write' ? new Promise((resolve) => setTimeout(resolve, 5)) : undefined);
  const stream = ingest();
  let most = 0;
  const watch = setInterval(() => (most = Math.max(most, pipeline.tokensInFlight)), 1);
  for (let sequence = 1; sequence <= count; sequence++) {
    stream.document(sequence, 'same', `text ${Math.floor(sequence / 3)}`);
  }
  const ended = await stream.finish();
  clearInterval(watch);
  assert.equal(ended.outcomes.length, count);
  assert.equal(ended.watermark, count);
  assert.equal((await store.contents('docs')).same?.passages[0]?.text, `text ${count / 3}`);
  assert.ok(tower.encoded <= count / 3 + 1, `each content once, not ${tower.encoded} times`);
  assert.ok(store.writes.length < count / 4, `many in a write, not ${store.writes.length} writes`);
  assert.ok(most <= 8192 + 100, `${most} tokens in flight`);
});

test('an operation is compared with the one before it on the same document, even in flight', async () => {
  const { ingest, store, tower } = await start();
  const ended = await ingest()
    .document(1, 'a', 'first')
    .document(2, 'a', 'first')
    .document(3, 'a', 'second')
    .delete(4, 'a')
    .document(5, 'a', 'second')
    .document(6, 'a', 'first')
    .document(7, 'a', 'second')
    .finish();
  assert.deepEqual(kinds(ended.outcomes), [
    'INDEXED',
    'UNCHANGED',
    'INDEXED',
    'DELETED',
    'INDEXED',
    'INDEXED',
    'INDEXED',
  ]);
  assert.equal((await store.contents('docs')).a?.passages[0]?.text, 'second');
  assert.equal(tower.encoded, 5);
});

test('content that is gone by the time of the write is encoded after all, and order on the document holds', async () => {
  const { ingest, store } = await start();
  await ingest().document(1, 'a', 'text').finish();
  let deleted = false;
  store.before = async (call) => {
    if (call !== 'write' || deleted) return;
    deleted = true;
    await store.deleteByFilter('docs', '', { must: [{ field: 'document_id', anyOf: ['a'] }] });
  };
  const ended = await ingest()
    .document(1, 'a', 'text', { version: 1 })
    .document(2, 'a', 'text', { version: 1 })
    .document(3, 'a', 'last', { version: 1 })
    .document(4, 'b', 'other')
    .finish();
  assert.deepEqual(kinds(ended.outcomes), ['INDEXED', 'UNCHANGED', 'INDEXED', 'INDEXED']);
  assert.equal((await store.contents('docs')).a?.passages[0]?.text, 'last');
});

test('a stream that breaks resumes from its watermark, and nothing doubles', async () => {
  const send = (stream: ReturnType<Harness['ingest']>, from: number): void => {
    for (let sequence = from; sequence <= 400; sequence++) {
      if (sequence % 10 === 0) stream.delete(sequence, `d${sequence - 5}`);
      else stream.document(sequence, `d${sequence}`, `text ${sequence}|more`);
    }
  };
  const whole = await start();
  const uninterrupted = whole.ingest();
  send(uninterrupted, 1);
  await uninterrupted.finish();

  const broken = await start();
  let from = 1;
  for (const at of [1, 60, 200]) {
    const stream = broken.ingest();
    send(stream, from);
    await stream.durable(Math.max(at, from));
    stream.call.cancel();
    await stream.ended;
    from = stream.watermark + 1;
  }
  const last = broken.ingest();
  send(last, from);
  const ended = await last.finish();
  assert.equal(ended.status.code, status.OK);
  // The one before may have come to the end before it was broken off.
  assert.equal(Math.max(ended.watermark, from - 1), 400);
  assert.deepEqual(await broken.store.contents('docs'), await whole.store.contents('docs'));

  const again = broken.ingest();
  send(again, 1);
  await again.finish();
  assert.deepEqual(
    await broken.store.contents('docs'),
    await whole.store.contents('docs'),
    'once more changes nothing',
  );
});

test('a cancelled stream gives its budget back at once', async () => {
  const { ingest, tower, pipeline, store } = await start();
  const never = new Promise<void>(() => {});
  tower.before = () => never;
  const stream = ingest();
  for (let sequence = 1; sequence <= 20; sequence++) stream.document(sequence, `d${sequence}`, 'text');
  await eventually(() => tower.busy > 0);
  assert.ok(pipeline.tokensInFlight > 0);
  stream.call.cancel();
  assert.equal((await stream.ended).status.code, status.CANCELLED);
  await eventually(() => pipeline.streams === 0);
  assert.equal(pipeline.tokensInFlight, 0);
  assert.deepEqual(await store.contents('docs'), {});

  tower.before = () => {};
  const next = await ingest().document(1, 'a', 'text').finish();
  assert.deepEqual(kinds(next.outcomes), ['INDEXED'], 'others go on');
});

test('draining finishes what is in flight, tells the watermark, and says to come again', async () => {
  const { ingest, tower, server, store } = await start();
  const held = gate();
  tower.before = () => held.opened;
  const stream = ingest();
  for (let sequence = 1; sequence <= 20; sequence++) stream.document(sequence, `d${sequence}`, 'text');
  const idle = ingest();
  await idle.until(({ events }) => events.length > 0);
  await eventually(() => tower.busy === 20);
  const down = server.shutdown(10_000);
  setImmediate(() => held.open());
  const ended = await stream.ended;
  assert.equal(ended.status.code, status.UNAVAILABLE);
  assert.equal(ended.status.reason, 'SHUTTING_DOWN');
  assert.ok(ended.status.retryDelayMs! > 0, 'with retry info');
  assert.equal(ended.outcomes.length, 20);
  assert.equal(ended.watermark, 20);
  assert.equal(Object.keys(await store.contents('docs')).length, 20);
  assert.equal((await idle.ended).status.code, status.UNAVAILABLE);
  await down;
});

test('streams past the most that are allowed are turned away', async () => {
  const { ingest, pipeline } = await start({ settings: { maxStreams: 1 } });
  const first = ingest();
  await first.until(({ events }) => events.length > 0);
  const second = await ingest().ended;
  assert.equal(second.status.code, status.RESOURCE_EXHAUSTED);
  assert.equal(second.status.reason, 'TOO_MANY_STREAMS');
  assert.ok(second.status.retryDelayMs! > 0);
  assert.equal((await first.finish()).status.code, status.OK);
  await eventually(() => pipeline.streams === 0);
  assert.equal((await ingest().finish()).status.code, status.OK);
});

test('a collection of another space is refused, with both fingerprints', async (t) => {
  const store = await openTestStore();
  t.after(() => store.dispose());
  const first = await start({ store });
  await first.ingest().document(1, 'a', 'text').finish();
  const other = await start({ store, tower: new FakeTower('other') });
  const { status: refused } = await other.ingest().ended;
  assert.equal(refused.code, status.FAILED_PRECONDITION);
  assert.equal(refused.reason, 'SPACE_MISMATCH');
  for (const { tower } of [first, other])
    assert.ok(refused.message.includes(tower.manifest.space.fingerprint));
});
