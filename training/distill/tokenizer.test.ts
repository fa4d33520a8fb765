import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { openTower } from '../../towers/open.ts';
import {
  temporaryFolder,
  TINY_UNIGRAM,
  writeFiles,
  writeTinyTower,
} from '../../towers/testing/tiny-tower.ts';
import type { Tower } from '../../towers/tower.ts';
import { seededRandom } from '../random.ts';
import { singleTokenVectors, vocabularySize } from '../lookup/single-tokens.ts';
import { distill } from './distill.ts';
import type { DistillRequest } from './request.ts';
import { openStudentTokenizer, tokenTexts } from './tokenizer.ts';

async function openTiny(context: TestContext): Promise<Tower> {
  const folder = temporaryFolder(context);
  writeTinyTower(folder, { space: { normalize: true }, queryPrompt: 'query: ' });
  const tower = await openTower(folder, {
    cacheDir: temporaryFolder(context),
    inline: true,
    normalize: false,
  });
  context.after(() => tower.close());
  return tower;
}

/** A teacher of whom nothing can be had but tokens of texts and vectors of them: as one that runs elsewhere. */
async function remote(context: TestContext): Promise<{ teacher: Tower; asked: Set<string> }> {
  const tower = await openTiny(context);
  const asked = new Set<string>();
  const allowed: Partial<Tower> = {
    manifest: { ...tower.manifest, files: {} },
    tokenizeAll: (texts, options) => tower.tokenizeAll(texts, options),
    encodeAll: (inputs, options) => tower.encodeAll(inputs, options),
  };
  const teacher = new Proxy({} as Tower, {
    get(_, name) {
      asked.add(String(name));
      const found = allowed[name as keyof Tower];
      assert.ok(found !== undefined, `${String(name)} was asked of a teacher that runs elsewhere`);
      return found;
    },
  });
  return { teacher, asked };
}

function requestFor(
  context: TestContext,
  changes: Pick<DistillRequest, 'teacher'> & Partial<DistillRequest>,
): DistillRequest {
  const folder = temporaryFolder(context);
  const random = seededRandom(11);
  const words = (count: number): string =>
    Array.from({ length: count }, () => String.fromCodePoint(97 + Math.floor(random() * 26))).join(' ');
  const texts = new Set(Array.from({ length: 300 }, () => words(3 + Math.floor(random() * 6))));
  writeFileSync(join(folder, 'queries.txt'), [...texts].join('\n'));
  return {
    student: { kind: 'lookup' },
    source: { texts: join(folder, 'queries.txt') },
    out: join(folder, 'student'),
    cacheDir: folder,
    threads: 1,
    steps: 60,
    batch: 32,
    rate: 0.01,
    ...changes,
  };
}

const rejects = (promise: Promise<unknown>, message: RegExp): Promise<void> =>
  assert.rejects(promise, (error: Error & { reason?: string }) => {
    assert.equal(error.reason, 'REQUEST_INVALID');
    assert.match(error.message, message);
    return true;
  });

describe('a lookup student with a tokenizer of its own', () => {
  for (const kind of ['folder', 'file', 'tower'] as const) {
    test(`named by ${kind}: the teacher gives vectors of texts, and nothing else`, async (context) => {
      const { teacher, asked } = await remote(context);
      const folder = temporaryFolder(context);
      const contents = JSON.stringify(TINY_UNIGRAM);
      if (kind === 'tower') writeTinyTower(folder);
      else writeFiles(folder, { 'tokenizer.json': contents });
      const tokenizer = kind === 'file' ? join(folder, 'tokenizer.json') : folder;
      const report = await distill(requestFor(context, { teacher, tokenizer }));
      assert.deepEqual([...asked].sort(), ['encodeAll', 'manifest', 'tokenizeAll']);
      assert.ok(report.heldOutCosine > 0.97, `held-out cosine ${report.heldOutCosine}`);

      const student = await openTower(report.out, { cacheDir: temporaryFolder(context) });
      context.after(() => student.close());
      const bytes = readFileSync(join(folder, 'tokenizer.json'));
      assert.deepEqual(readFileSync(join(report.out, 'tokenizer.json')), bytes);
      assert.equal(
        student.manifest.files['tokenizer.json'],
        createHash('sha256').update(bytes).digest('hex'),
      );
      assert.equal(student.manifest.space.fingerprint, teacher.manifest.space.fingerprint);
      const { ids } = await student.tokenize('a b');
      if (kind !== 'tower') assert.ok(!ids.includes(2), 'a token [CLS], which the student does not have');
    });
  }

  test('is refused where there is none, and for a teacher that has none to lend', async (context) => {
    const { teacher } = await remote(context);
    await rejects(distill(requestFor(context, { teacher })), /no tokenizer here.*--tokenizer/);
    const empty = temporaryFolder(context);
    await assert.rejects(distill(requestFor(context, { teacher, tokenizer: empty })), /tokenizer\.json|ONNX/);
    const student = { kind: 'transformer', layers: 1 } as const;
    await rejects(
      distill(requestFor(context, { teacher, student, tokenizer: empty, width: 2, pairs: 3 })),
      /a transformer student has no pairs, width, tokenizer/,
    );
    await rejects(
      distill(requestFor(context, { teacher, trainTables: false })),
      /a lookup student has no trainTables/,
    );
  });

  test('reads what the teacher reads where none is named', async (context) => {
    const teacher = await openTiny(context);
    const tokenizer = await openStudentTokenizer(teacher, undefined);
    assert.deepEqual(await tokenizer.read(['hello']), [
      (await teacher.tokenize('hello', { prompt: '' })).ids,
    ]);
  });
});

test('of a large vocabulary the teacher reads the tokens that are most frequent in the texts', async (context) => {
  const teacher = await openTiny(context);
  const cacheDir = temporaryFolder(context);
  const { directory } = teacher;
  const counts = new Uint32Array(20);
  counts[17] = 3;
  counts[12] = 5;
  for (const reference of [undefined, directory]) {
    const tokenizer = await openStudentTokenizer(teacher, reference);
    context.after(() => tokenizer.close());
    const vectors = await singleTokenVectors(teacher, tokenizer, counts, { cacheDir }, 3);
    const read: number[] = [];
    for (let id = 0; id < vectors.length / 4; id++)
      if (vectors.subarray(4 * id, 4 * id + 4).some((x) => x !== 0)) read.push(id);
    // Of those that are in no text, the first: a special token, which stands for no text. A letter within a word is the same text.
    const names = await tokenTexts(directory);
    const same = read.filter((id) => id === 12 || id === 17 || [names[12], names[17]].includes(names[id]));
    assert.deepEqual(read, reference === undefined ? [0, 12, 17] : same);
    assert.equal(vectors.length, 4 * (await vocabularySize(directory)));
  }
});

describe('a lookup student narrower than its space', () => {
  test('is as near to a teacher whose vectors need no more components', async (context) => {
    const teacher = await openTiny(context);
    const report = await distill(requestFor(context, { teacher, width: 3, steps: 300 }));
    // Vectors of the tiny tower are [id, 1, -id, id % 3]: three directions.
    assert.ok(report.heldOutCosine > 0.98, `held-out cosine ${report.heldOutCosine}`);
    const student = await openTower(report.out, { cacheDir: temporaryFolder(context) });
    context.after(() => student.close());
    assert.equal(student.manifest.distillation?.width, 3);
    assert.equal(student.manifest.dimensions, 4);
    const { vector } = await student.encode(await student.tokenize('a b c'));
    assert.equal(vector.length, 4);
  });

  test('states no width where it has the dimensions, and is refused above them', async (context) => {
    const teacher = await openTiny(context);
    const { out } = await distill(requestFor(context, { teacher, width: 4, steps: 2 }));
    const manifest = JSON.parse(readFileSync(join(out, 'tower.json'), 'utf8')) as { distillation: object };
    assert.ok(!('width' in manifest.distillation));
    for (const width of [5, 0, 1.5]) {
      await rejects(
        distill(requestFor(context, { teacher, width })),
        new RegExp(`width of ${width} is not between 1 and 4`),
      );
    }
  });
});

test('tokens stand for texts, whatever the tokenizer is made of', async (context) => {
  const folder = temporaryFolder(context);
  const textsOf = (tokenizer: object): Promise<string[]> => {
    writeFiles(folder, { 'tokenizer.json': tokenizer });
    return tokenTexts(folder);
  };
  const added = [
    { id: 0, content: '[CLS]', special: true },
    { id: 4, content: '<think>', special: false },
  ];
  assert.deepEqual(
    await textsOf({
      added_tokens: added,
      model: { type: 'WordPiece', vocab: { '[CLS]': 0, star: 1, '##s': 2 } },
    }),
    ['', 'star', 's', '', '<think>'],
  );
  const byteLevel = { type: 'Sequence', pretokenizers: [{ type: 'Split' }, { type: 'ByteLevel' }] };
  assert.deepEqual(
    // "é" in two bytes, the first of them alone, and a space before a word.
    await textsOf({
      pre_tokenizer: byteLevel,
      model: { type: 'BPE', vocab: { 'Ã©': 0, Ã: 1, Ġstar: 2, '!': 3 } },
    }),
    ['é', '', 'star', '!'],
  );
  assert.deepEqual(
    await textsOf({
      model: {
        type: 'Unigram',
        vocab: [
          ['▁star', -1],
          ['<0x41>', -2],
          ['<0xC3>', -2],
          ['▁', -3],
        ],
      },
    }),
    ['star', 'A', '', ''],
  );
});
