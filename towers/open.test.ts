import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { allOf } from './testing/passage-rules.ts';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { Worker } from 'node:worker_threads';
import { TowerError } from './errors.ts';
import type { TowerManifest } from './manifest.ts';
import { openTower } from './open.ts';
import type { TowerOptions } from './options.ts';
import { temporaryFolder, tinyVector, VOCABULARY, writeFiles, writeTinyTower } from './testing/tiny-tower.ts';
import type { BatchStats, Tower } from './tower.ts';

const {
  hello,
  world,
  star,
  query,
  ':': colon,
  '[CLS]': cls,
  '[SEP]': sep,
} = VOCABULARY as Record<string, number>;

const STUDENT: TowerManifest['distillation'] = {
  teacher: 'teacher',
  student: 'lookup',
  loss: 'mse',
  texts: 1,
  steps: 0,
  seed: 1,
  heldOutCosine: 0.9,
};

async function open(
  context: TestContext,
  manifest: Parameters<typeof writeTinyTower>[1] = {},
  options: TowerOptions = {},
): Promise<Tower> {
  const folder = temporaryFolder(context);
  writeTinyTower(folder, manifest);
  const tower = await openTower(folder, { cacheDir: join(folder, 'cache'), ...options });
  context.after(() => tower.close());
  return tower;
}

/** Threads that are started until the test ends. */
function countThreads(context: TestContext): { started: number } {
  const count = { started: 0 };
  const listener = (_worker: Worker): void => void count.started++;
  process.on('worker', listener);
  context.after(() => process.off('worker', listener));
  return count;
}

function meanOf(...ids: number[]): number[] {
  const vectors = ids.map(tinyVector);
  return vectors[0]!.map((_, index) => vectors.reduce((sum, vector) => sum + vector[index]!, 0) / ids.length);
}

function assertNear(actual: Float32Array, expected: readonly number[]): void {
  assert.equal(actual.length, expected.length);
  for (const [index, value] of expected.entries())
    assert.ok(Math.abs(actual[index]! - value) < 1e-4, `${index}`);
}

test('text becomes a vector', async (context) => {
  const threads = countThreads(context);
  const tower = await open(context);
  assert.equal(tower.device, 'cpu');
  assert.equal(tower.manifest.name, 'tiny');
  assert.equal(threads.started, 1);
  const tokens = await tower.tokenize('Hello world');
  assert.deepEqual(tokens, { ids: [cls, hello, world, sep], truncated: false });
  const { vector, queueMs, encodeMs } = await tower.encode(tokens);
  assertNear(vector, meanOf(cls!, hello!, world!, sep!));
  assert.ok(queueMs >= 0 && encodeMs > 0);
});

test('prompts are put before, and may be named', async (context) => {
  const tower = await open(context, { space: { documentPrompt: 'star ' }, queryPrompt: 'query: ' });
  assert.deepEqual((await tower.tokenize('hello')).ids, [cls, star, hello, sep]);
  assert.deepEqual((await tower.tokenize('hello', { prompt: tower.manifest.queryPrompt! })).ids, [
    cls,
    query,
    colon,
    hello,
    sep,
  ]);
  assert.deepEqual((await tower.tokenize('hello', { prompt: '' })).ids, [cls, hello, sep]);
  assert.deepEqual((await tower.passages({ title: '', text: 'hello' }))[0]!.tokens.ids, [
    cls,
    star,
    hello,
    sep,
  ]);
});

test('passages keep to the window of the space, and to what the model can read', async (context) => {
  const text = 'Hello world. World hello. Hello star. Star world. World star. Star hello.';
  const tower = await open(context, {
    space: { documentPrompt: 'star ', passageWindow: { tokens: 14, overlap: 3 } },
  });
  const passages = await tower.passages({ title: 'hello', text });
  assert.ok(passages.length > 1);
  for (const { text: passage, tokens } of passages) {
    assert.ok(text.includes(passage));
    assert.ok(tokens.ids.length <= 16);
    assert.equal(tokens.truncated, false);
  }
  assert.deepEqual(await allOf(tower.eachPassage({ title: 'hello', text })), passages);
});

test('many inputs come back in order, with progress and statistics', async (context) => {
  const tower = await open(context, {}, { batching: { maxBatchTokens: 32 } });
  const stats: BatchStats[] = [];
  tower.onBatch((each) => stats.push(each));
  const inputs = await tower.tokenizeAll(
    Array.from({ length: 100 }, (_, index) => 'hello '.repeat(index % 7)),
  );
  let last = 0;
  const rows = await tower.encodeAll(inputs, { onProgress: (done) => (last = done) });
  assert.equal(last, 100);
  for (const [index, { ids }] of inputs.entries())
    assertNear(rows.subarray(index * 4, index * 4 + 4), meanOf(...ids));
  assert.equal(
    stats.reduce((sum, { size }) => sum + size, 0),
    100,
  );
  for (const { size, tokens } of stats) assert.ok(size === 1 || tokens <= 32);
});

test('a lookup student runs in the thread of the caller, others where they are told to', async (context) => {
  const threads = countThreads(context);
  const student = await open(context, { role: 'query', distillation: STUDENT });
  assertNear((await student.encode(await student.tokenize('star'))).vector, meanOf(cls!, star!, sep!));
  await open(context, {}, { inline: true });
  assert.equal(threads.started, 0);
  await open(context, { distillation: STUDENT }, { inline: false });
  assert.equal(threads.started, 1);
});

test('a lookup with stages gives the vectors of its graph', async (context) => {
  const stages = { version: 1, stages: [{ type: 'tokens', rows: 'table' }] } as const;
  const manifest = {
    role: 'query',
    distillation: STUDENT,
    normalize: true,
    space: { normalize: true },
  } as const;
  const plain = await open(context, { ...manifest, lookup: stages });
  const graph = await open(context, manifest);
  const texts = ['star', 'hello world', 'hello star '.repeat(200)];
  for (const text of texts) {
    const tokens = await plain.tokenize(text);
    const [{ vector: found }, { vector: expected }] = [
      await plain.encode(tokens),
      await graph.encode(tokens),
    ];
    for (const [i, x] of found.entries()) assert.ok(Math.abs(x - expected[i]!) < 1e-6, text);
  }
  await assert.rejects(
    plain.encode({ ids: [1_000_000], truncated: false }),
    (error) =>
      error instanceof TowerError && error.reason === 'ENCODER_FAILED' && /1000000/.test(error.message),
  );
});

test('a lookup encodes a short query at once: the tokens and the vector that the queue gives', async (context) => {
  const tower = await openTower('all-MiniLM-L6-v2-lookup');
  context.after(() => tower.close());
  const runs: BatchStats[] = [];
  tower.onBatch((stats) => runs.push(stats));
  const texts = [
    'a person who studies stars',
    'İstanbul naïve 東京 ﬁ',
    '',
    '[SEP] don’t',
    'word '.repeat(60),
  ];
  for (const text of texts) {
    const now = tower.encodeNow!(text, { prompt: 'query: ' })!;
    assert.equal(runs.length, 1, 'the run is reported as others are');
    assert.equal(runs.pop(), now.encoding.batch);
    const tokens = await tower.tokenize(text, { prompt: 'query: ' });
    assert.deepEqual(now.tokens, tokens, text);
    assert.deepEqual(now.encoding.vector, (await tower.encode(tokens)).vector, text);
    runs.length = 0;
  }
  assert.equal(tower.encodeNow!('a '.repeat(500)), undefined, 'more than the tower reads');
  assert.equal(tower.encodeNow!(' '.repeat(2000)), undefined, 'too long a text');
});

test('a closed lookup encodes nothing, and one with another tokenizer or its graph alone nothing at once', async (context) => {
  const lookup = { version: 1, stages: [{ type: 'tokens', rows: 'table' }] } as const;
  const log: string[] = [];
  const options = { log: (line: string) => void log.push(line) };
  const tiny = await open(context, { role: 'query', distillation: STUDENT, lookup }, options);
  assert.equal(
    tiny.encodeNow!('hello') === undefined,
    log.some((line) => /takes longer/.test(line)),
  );
  const graph = await open(context, { role: 'query', distillation: STUDENT });
  assert.equal(graph.encodeNow!('hello'), undefined);
  const shipped = await openTower('all-MiniLM-L6-v2-lookup');
  await shipped.close();
  assert.throws(
    () => shipped.encodeNow!('hello'),
    (error) => error instanceof TowerError && error.reason === 'ENCODER_CLOSED',
  );
});

test('a lookup whose stages do not fit its weights runs by its graph, and says why', async (context) => {
  const lines: string[] = [];
  const lookup = { version: 1, stages: [{ type: 'tokens', rows: 'other' }] } as const;
  const options = { log: (line: string) => lines.push(line) };
  const student = await open(context, { role: 'query', distillation: STUDENT, lookup }, options);
  assertNear((await student.encode(await student.tokenize('star'))).vector, meanOf(cls!, star!, sep!));
  assert.match(
    lines.join(),
    /with ONNX Runtime: the manifest names the weights "other"; the model has table/,
  );
});

test('ONNX Runtime is not loaded for the shipped lookup', () => {
  const open = new URL('open.js', import.meta.url).href;
  const program = `const { openTower } = await import(${JSON.stringify(open)});
    const tower = await openTower('all-MiniLM-L6-v2-lookup');
    await tower.encode(await tower.tokenize('a person who studies stars'));
    const loaded = () => process.report.getReport().sharedObjects.some((path) => path.includes('onnxruntime'));
    await tower.encode(await tower.tokenize('stars '.repeat(200)));
    console.log(loaded());
    await tower.close();`;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
  assert.equal(output.trim(), 'false');
});

test('a lookup student has nothing to say about devices', async (context) => {
  const lines: string[] = [];
  const student = await open(
    context,
    { distillation: STUDENT },
    { device: 'auto', log: (line) => lines.push(line) },
  );
  assert.equal(student.device, 'cpu');
  assert.deepEqual(lines, []);
});

test('a closed tower refuses, and may be closed again', async (context) => {
  const tower = await open(context);
  await tower.close();
  await tower.close();
  await assert.rejects(
    tower.encode(await tower.tokenize('hello')),
    (error) => error instanceof TowerError && error.reason === 'ENCODER_CLOSED',
  );
});

test('a directory that is not as its manifest says is not opened', async (context) => {
  const folder = temporaryFolder(context);
  writeTinyTower(folder);
  writeFiles(folder, { 'model.onnx': 'another' });
  await assert.rejects(
    openTower(folder, { cacheDir: join(folder, 'cache') }),
    (error) => error instanceof TowerError && error.reason === 'TOWER_INTEGRITY',
  );
});
