import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { splitPassages } from './passages.ts';
import { recutPassages } from './recut.ts';
import { allOf, rulesOf } from './testing/passage-rules.ts';
import type { KeptPassage, Passage } from './tower.ts';

const WINDOW = 24;
const rules = await rulesOf({ window: WINDOW, overlap: 6, maxTokens: 96 });

interface Document {
  title: string;
  text: string;
}

function split(document: Document): Promise<Passage[]> {
  return allOf(splitPassages(document, rules));
}

async function recut(
  document: Document,
  before: Document,
  passages?: readonly { text: string }[],
): Promise<(Passage | KeptPassage)[]> {
  const cutBefore = passages ?? (await split(before));
  const known = { title: before.title, passages: cutBefore.map(({ text }) => text) };
  const cut = (part: Document): AsyncIterable<Passage> => splitPassages(part, rules);
  const all = await allOf(recutPassages(document, known, { cut, fewest: WINDOW }));
  return all.filter((each) => each !== undefined);
}

function encoded(passages: readonly (Passage | KeptPassage)[]): number {
  return passages.filter((passage) => !('keeps' in passage)).length;
}

/** Sentences of words that no other sentence has. */
function sentences(count: number, from = 0): string {
  return Array.from({ length: count }, (_, index) => {
    const at = from + index;
    return `W${at}a w${at}b w${at}c w${at}d.`;
  }).join(' ');
}

const before = { title: 'hello', text: sentences(60) };
const first = await split(before);

test('a document that has not changed keeps all passages', async () => {
  assert.ok(first.length >= 18);
  const again = await recut(before, before);
  assert.equal(encoded(again), 0);
  assert.deepEqual(
    again.map(({ text, span }) => ({ text, span })),
    first.map(({ text, span }) => ({ text, span })),
  );
});

test('a word at the end costs at most two passages', async () => {
  const passages = await recut({ ...before, text: `${before.text} more` }, before);
  assert.ok(encoded(passages) >= 1 && encoded(passages) <= 2, `${encoded(passages)}`);
  assert.ok(passages.length <= first.length + 1);
});

test('a word in the first passage costs at most four', async () => {
  const text = before.text.replace('w1b', 'w1b more');
  const passages = await recut({ ...before, text }, before);
  assert.ok(encoded(passages) >= 1 && encoded(passages) <= 4, `${encoded(passages)}`);
  assert.ok(!('keeps' in passages[0]!));
});

test('a sentence in the middle, put in, taken out or changed, costs at most four', async () => {
  for (const [from, to] of [
    ['w20b', 'w20b more'],
    ['W20a w20b w20c w20d. ', ''],
    ['W20a', 'One more sentence. W20a'],
  ] as const) {
    const passages = await recut({ ...before, text: before.text.replace(from, to) }, before);
    assert.ok(encoded(passages) <= 4, `${encoded(passages)} for ${from}`);
  }
});

test('another title costs the first passage alone', async () => {
  const passages = await recut({ ...before, title: 'star' }, before);
  assert.equal(encoded(passages), 1);
  assert.ok(!('keeps' in passages[0]!));
  const one = { title: 'hello', text: 'hello world star hello.' };
  assert.equal(encoded(await recut({ ...one, title: 'star' }, one)), 1);
});

test('paragraphs that change places are kept', async () => {
  const [left, right] = [sentences(20), sentences(20, 20)];
  const passages = await recut(
    { title: '', text: `${right}\n\n${left}` },
    { title: '', text: `${left}\n\n${right}` },
  );
  assert.ok(encoded(passages) <= 4, `${encoded(passages)}`);
});

test('what follows the first passage comes first only with its title', async () => {
  const second = (await split(before))[1]!.text;
  const passages = await recut({ title: 'hello', text: second }, before);
  assert.equal(encoded(passages), passages.length);
  const untitled = await recut(
    { title: '', text: sentences(60).slice(first[1]!.span.start) },
    { ...before, title: '' },
  );
  assert.ok('keeps' in untitled[1]!);
});

test('a text that grows line by line is no passage for each line', async () => {
  let document = { title: '', text: 'W0a w0b w0c w0d.' };
  let passages: (Passage | KeptPassage)[] = await split(document);
  let most = 0;
  for (let line = 1; line < 60; line++) {
    const next = { title: '', text: `${document.text}\nW${line}a w${line}b w${line}c w${line}d.` };
    passages = await recut(next, document, passages);
    most = Math.max(most, encoded(passages));
    document = next;
  }
  assert.ok(most <= 2, `${most} encoded for a line`);
  const fresh = (await split(document)).length;
  assert.ok(passages.length <= 1.5 * fresh, `${passages.length} passages, where a new document has ${fresh}`);
});

test('a passage is found between words only', async () => {
  const text = before.text.replaceAll(' W', ' xW');
  const passages = await recut({ title: '', text }, { title: '', text: before.text });
  for (const { span } of passages) assert.doesNotMatch(text.slice(span.start - 1, span.start + 1), /\w\w/);
});

test('passages of scripts without spaces are found too', async () => {
  const text = Array.from({ length: 60 }, (_, at) => `これは第${at}番目の文章です。`).join('');
  const known = { title: '', text };
  const passages = await recut({ title: '', text: text.replace('第30番目', '第三十番目の新しい') }, known);
  assert.ok(encoded(passages) <= 4, `${encoded(passages)} of ${passages.length}`);
});

test('passages that begin alike are found, whatever the pattern', async () => {
  for (const period of [30, 32, 64, 65, 66, 100]) {
    const line = (at: number): string => `Line ${at} `.padEnd(period - 2, 'of the same words ').trim() + '. ';
    const text = Array.from({ length: 3000 }, (_, at) => line(at)).join('');
    const passages = Array.from({ length: 200 }, (_, at) =>
      Array.from({ length: 15 }, (__, own) => line(15 * at + own))
        .join('')
        .trim(),
    );
    const place = text.indexOf(' ', text.length / 2);
    const cut = (part: Document): AsyncIterable<Passage> => splitPassages(part, rules);
    const known = { title: '', passages };
    const edited = { title: '', text: `${text.slice(0, place)} word${text.slice(place)}` };
    const kept = (await allOf(recutPassages(edited, known, { cut, fewest: 10 }))).filter(
      (each) => each && 'keeps' in each,
    );
    assert.ok(kept.length >= 198, `${kept.length} of 200 where the pattern has ${period} characters`);
  }
});

test('a text that repeats itself for megabytes is cut in time, kept or not', async () => {
  const text = 'a '.repeat(2_000_000);
  const known = ['a '.repeat(1000).trim() + 'b', 'a '.repeat(500).trim()];
  let passages = 0;
  for await (const each of recutPassages(
    { title: '', text },
    { title: '', passages: known },
    {
      cut: async function* (part) {
        const { text: whole } = part;
        yield { text: whole, span: { start: 0, end: whole.length }, tokens: { ids: [], truncated: false } };
      },
      fewest: 1,
    },
  )) {
    if (each) passages++;
  }
  assert.ok(passages > 1);
});

/** An edit of a text: some characters at a place become others. */
const edit = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  remove: fc.oneof(fc.nat(5), fc.nat(400)),
  add: fc.oneof(
    fc.constantFrom('', ' ', 'x', '. ', '\n\n', 'W3a w3b w3c w3d. ', '😀'),
    fc.nat(60).map((from) => sentences(8, from)),
    fc.string({ unit: 'grapheme', maxLength: 30 }),
  ),
});

const texts = fc.oneof(
  fc.integer({ min: 1, max: 40 }).map((count) => sentences(count)),
  fc
    .array(fc.integer({ min: 0, max: 3 }), { maxLength: 60 })
    .map((all) => all.map((n) => sentences(1, n)).join(' ')),
  fc.string({ unit: 'grapheme', maxLength: 600 }),
);

test('whatever is edited: passages cover the text in order, fit the window, and keep what they were encoded from', async () => {
  const title = fc.constantFrom('', 'hello', 'hello world');
  await fc.assert(
    fc.asyncProperty(
      texts,
      fc.array(edit, { maxLength: 5 }),
      title,
      title,
      async (text, edits, oldTitle, newTitle) => {
        let old: Document = { title: oldTitle, text };
        let known: { text: string }[] = await split(old);
        for (const { at, remove, add } of edits) {
          const place = Math.floor(at * old.text.length);
          const next = {
            title: newTitle,
            text: (old.text.slice(0, place) + add + old.text.slice(place + remove)).toWellFormed(),
          };
          const passages = await recut(next, old, known);
          let end = 0;
          let start = -1;
          for (const [index, passage] of passages.entries()) {
            const { span } = passage;
            assert.equal(passage.text, next.text.slice(span.start, span.end));
            const isBlank = next.text.trim() === '';
            if (!isBlank) assert.ok(span.start > start && span.end > end, 'in order, with something new');
            assert.equal(next.text.slice(end, Math.max(end, span.start)).trim(), '', 'nothing left out');
            start = span.start;
            end = span.end;
            const own = index === 0 ? next.title : '';
            if ('keeps' in passage) {
              assert.equal(known[passage.keeps]!.text, passage.text);
              assert.equal(passage.keeps === 0 ? old.title : '', own, 'encoded with the same title');
            } else {
              const input = [own, passage.text].filter(Boolean).join(' ');
              assert.deepEqual(passage.tokens.ids, (await rules.encode(input)).ids);
              assert.ok(passage.tokens.ids.length <= rules.limit);
            }
          }
          assert.equal(next.text.slice(end).trim(), '');
          old = next;
          known = passages;
        }
      },
    ),
    { numRuns: 300 },
  );
});
