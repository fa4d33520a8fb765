import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { TowerError } from '../errors.ts';
import type { TowerManifest } from '../manifest.ts';
import { openTower } from '../open.ts';
import { type HubOptions, pullTower } from '../pull.ts';
import { type Constant, onnxModel, type Operator, rawBytes } from '../testing/onnx.ts';
import {
  idPort,
  temporaryFolder,
  TINY_TOKENIZER,
  TINY_WIDTH,
  tinyModel,
  tinyVector,
  VOCABULARY,
  writeFiles,
} from '../testing/tiny-tower.ts';
import type { HubReport } from './import.ts';

type Files = Record<string, string | Uint8Array | object>;

const FILES: Files = {
  'model.onnx': tinyModel(),
  'tokenizer.json': TINY_TOKENIZER,
  'config.json': { hidden_size: TINY_WIDTH, max_position_embeddings: 32 },
};

/** A table of vectors, and what is done with those of a text. */
function graph(
  operators: Operator[],
  {
    constants = [],
    outputs,
    vector = tinyVector,
    external,
  }: {
    constants?: Constant[];
    outputs?: Parameters<typeof onnxModel>[0]['outputs'];
    vector?: (id: number) => number[];
    external?: string;
  } = {},
): Uint8Array {
  const table: Constant = {
    name: 'table',
    dims: [Object.keys(VOCABULARY).length, TINY_WIDTH],
    values: Float32Array.from(Object.values(VOCABULARY).flatMap(vector)),
    ...(external !== undefined && { external }),
  };
  return onnxModel({
    inputs: [idPort('input_ids')],
    outputs: outputs ?? [
      { name: 'last_hidden_state', type: 'float32', dims: ['batch', 'length', TINY_WIDTH] },
    ],
    constants: [table, ...constants],
    operators: [{ op: 'Gather', inputs: ['table', 'input_ids'], outputs: ['tokens'] }, ...operators],
  });
}

const SAME: Operator = { op: 'Identity', inputs: ['tokens'], outputs: ['last_hidden_state'] };

interface Imported {
  folder: string;
  directory: string;
  manifest: TowerManifest;
  report: HubReport;
  cacheDir: string;
}

async function importFolder(context: TestContext, files: Files, hub: HubOptions = {}): Promise<Imported> {
  const folder = join(temporaryFolder(context), 'model');
  writeFiles(folder, { ...FILES, ...files });
  const cacheDir = temporaryFolder(context);
  let report: HubReport | undefined;
  const onReport = (found: HubReport): void => void (report = found);
  const tower = await pullTower(`file:${folder}`, { cacheDir, hub: { ...hub, onReport } });
  return { folder, ...tower, report: report!, cacheDir };
}

async function refuses(context: TestContext, files: Files, message: RegExp, hub?: HubOptions): Promise<void> {
  await assert.rejects(importFolder(context, files, hub), (error: unknown) => {
    assert.ok(error instanceof TowerError, String(error));
    assert.match(error.message, message);
    return true;
  });
}

async function vectorOf(context: TestContext, { directory, cacheDir }: Imported): Promise<number[]> {
  const tower = await openTower(directory, { cacheDir, inline: true });
  context.after(() => tower.close());
  return [...(await tower.encode(await tower.tokenize('hello star'))).vector];
}

test('what is no model is refused by name', async (context) => {
  await refuses(context, { 'model.onnx': 'hello\n' }, /model\.onnx is no ONNX model: .*"hello\\n"/);
  await refuses(context, { 'model.onnx': '' }, /model\.onnx is no ONNX model: .*no graph/);
  const cut = FILES['model.onnx'] as Uint8Array;
  await refuses(context, { 'model.onnx': cut.subarray(0, cut.length / 2) }, /model\.onnx is no ONNX model/);
});

test('a pointer of Git LFS is named, whichever file it stands for', async (context) => {
  const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n';
  for (const file of ['model.onnx', 'tokenizer.json', 'config.json', 'model.onnx_data']) {
    await refuses(context, { [file]: pointer }, new RegExp(`${file} is a pointer of Git LFS.*git lfs pull`));
  }
});

test('external data may have any name; a part that is missing is named', async (context) => {
  const model = graph([SAME], { external: 'parts/weights.bin' });
  await refuses(context, { 'model.onnx': model }, /weights in files that are not there: parts\/weights\.bin/);
  const away = graph([SAME], { external: '../weights.bin' });
  await refuses(context, { 'model.onnx': away }, /external data in "\.\.\/weights\.bin", outside/);
  const values = Float32Array.from(Object.values(VOCABULARY).flatMap(tinyVector));
  const data = rawBytes({ values });
  const imported = await importFolder(context, { 'model.onnx': model, 'parts/weights.bin': data });
  assert.ok('parts/weights.bin' in imported.manifest.space.weights);
  assert.deepEqual(
    await vectorOf(context, imported),
    await vectorOf(context, await importFolder(context, {})),
  );
});

test('a width that the graph does not have is refused, and so are more dimensions than it has', async (context) => {
  await refuses(context, { 'config.json': { hidden_size: 8 } }, /config\.json, hidden_size: is 8, .* have 4/);
  await refuses(context, {}, /--dimensions is 5, .* have 4/, { facts: { dimensions: 5 } });
  const { manifest } = await importFolder(context, {}, { facts: { dimensions: 2 } });
  assert.deepEqual([manifest.dimensions, manifest.space.dimensions], [2, 2]);
});

test('a tokenizer of another model is refused: by the table, and by a run where there is none to see', async (context) => {
  const vocab = { ...VOCABULARY, strange: 500 };
  const tokenizer = { ...TINY_TOKENIZER, model: { ...TINY_TOKENIZER.model, vocab } };
  const message = /of another model: its token "strange" has the id 500/;
  await refuses(context, { 'tokenizer.json': tokenizer }, message);
  const hidden = onnxModel({
    inputs: [idPort('input_ids')],
    outputs: [{ name: 'last_hidden_state', type: 'float32', dims: ['batch', 'length', TINY_WIDTH] }],
    constants: [
      {
        name: 'table',
        dims: [Object.keys(VOCABULARY).length, TINY_WIDTH],
        values: Float32Array.from(Object.values(VOCABULARY).flatMap(tinyVector)),
      },
    ],
    operators: [
      { op: 'Identity', inputs: ['input_ids'], outputs: ['ids'] },
      { op: 'Gather', inputs: ['table', 'ids'], outputs: ['last_hidden_state'] },
    ],
  });
  await refuses(context, { 'tokenizer.json': tokenizer, 'model.onnx': hidden }, message);
});

test('vectors that are no numbers, or always the same, are refused', async (context) => {
  const nan = graph([SAME], { vector: (id) => [id, Number.NaN, 1, 1] });
  await refuses(context, { 'model.onnx': nan }, /component 1 of a vector is NaN/);
  const constant = graph([SAME], { vector: () => [1, 2, 3, 4] });
  await refuses(context, { 'model.onnx': constant }, /the same vector for different texts/);
});

test('a prompt that leaves no room is refused', async (context) => {
  const long = 'star '.repeat(40);
  await refuses(context, {}, /the query prompt has 40 tokens, and the model reads 32.*--query-prompt/, {
    facts: { queryPrompt: long },
  });
  await refuses(context, {}, /the document prompt has 40 tokens/, { facts: { documentPrompt: long } });
});

test('more tokens than the model reads are refused', async (context) => {
  const positions: Constant = {
    name: 'positions',
    dims: [40, TINY_WIDTH],
    values: Float32Array.from({ length: 40 * TINY_WIDTH }, (_, i) => i),
  };
  // Fails on a text that is longer than the table.
  const model = graph(
    [
      { op: 'Shape', inputs: ['input_ids'], outputs: ['shape'], attributes: { start: 1 } },
      { op: 'Squeeze', inputs: ['shape'], outputs: ['length'] },
      { op: 'Range', inputs: ['zero', 'length', 'one'], outputs: ['places'] },
      { op: 'Gather', inputs: ['positions', 'places'], outputs: ['placed'] },
      { op: 'Add', inputs: ['tokens', 'placed'], outputs: ['last_hidden_state'] },
    ],
    {
      constants: [
        positions,
        { name: 'zero', dims: [], values: BigInt64Array.of(0n) },
        { name: 'one', dims: [], values: BigInt64Array.of(1n) },
      ],
    },
  );
  const config = { 'config.json': { max_position_embeddings: 64 } };
  await refuses(
    context,
    { ...config, 'model.onnx': model },
    /fails on 64 tokens, and is said to read 64: give --max-tokens/,
  );
});

test('a vector that depends on its neighbours: the manifest says so, and texts run one by one', async (context) => {
  // Sums up what comes after each token, padding included.
  const mixing = graph(
    [
      {
        op: 'CumSum',
        inputs: ['tokens', 'axis'],
        outputs: ['last_hidden_state'],
        attributes: { reverse: 1 },
      },
    ],
    { constants: [{ name: 'axis', dims: [], values: BigInt64Array.of(1n) }] },
  );
  const quantised = graph([
    { op: 'DynamicQuantizeLinear', inputs: ['tokens'], outputs: ['q', 'scale', 'zero'] },
    { op: 'DequantizeLinear', inputs: ['q', 'scale', 'zero'], outputs: ['last_hidden_state'] },
  ]);
  for (const [model, why] of [
    [mixing, /no attention_mask/],
    [quantised, /DynamicQuantizeLinear/],
  ] as const) {
    const { directory, cacheDir, manifest, report } = await importFolder(context, { 'model.onnx': model });
    assert.equal(manifest.batchInvariant, false);
    assert.equal(report.batchInvariant, false);
    assert.ok(report.notes.some((line) => why.test(line)));
    const tower = await openTower(directory, { cacheDir, inline: true, batching: { maxBatchTokens: 4_096 } });
    context.after(() => tower.close());
    const sizes: number[] = [];
    tower.onBatch(({ size }) => sizes.push(size));
    const texts = await tower.tokenizeAll(['hello star', 'a star', 'hello world . hello stars . a world']);
    const rows = await tower.encodeAll(texts);
    const together = await Promise.all(texts.map((each) => tower.encode(each)));
    assert.deepEqual(sizes, [1, 1, 1, 1, 1, 1]);
    assert.deepEqual(
      together.flatMap(({ vector }) => [...vector]),
      [...rows],
    );
  }
  const { manifest } = await importFolder(context, {});
  assert.ok(!('batchInvariant' in manifest));
});

test('half-precision outputs are read', async (context) => {
  // TensorProto.DataType.FLOAT16 is 10.
  const cast: Operator = {
    op: 'Cast',
    inputs: ['tokens'],
    outputs: ['last_hidden_state'],
    attributes: { to: 10 },
  };
  const model = graph([cast], {
    outputs: [{ name: 'last_hidden_state', type: 'float16', dims: ['batch', 'length', TINY_WIDTH] }],
  });
  const found = await vectorOf(context, await importFolder(context, { 'model.onnx': model }));
  const expected = await vectorOf(context, await importFolder(context, {}));
  for (const [i, value] of found.entries()) assert.ok(Math.abs(value - expected[i]!) < 1e-6);
});

test('a graph that pools by itself is compared with what the files describe', async (context) => {
  // "tokens" of the second position, which is no pooling that a file describes.
  const outputs = ['token_embeddings', 'sentence_embedding'].map((name) => ({
    name,
    type: 'float32' as const,
    dims: name === 'token_embeddings' ? ['batch', 'length', TINY_WIDTH] : ['batch', TINY_WIDTH],
  }));
  const model = (index: bigint): Uint8Array =>
    graph(
      [
        { op: 'Identity', inputs: ['tokens'], outputs: ['token_embeddings'] },
        {
          op: 'Gather',
          inputs: ['tokens', 'index'],
          outputs: ['sentence_embedding'],
          attributes: { axis: 1 },
        },
      ],
      { outputs, constants: [{ name: 'index', dims: [], values: BigInt64Array.of(index) }] },
    );
  const cls = { '1_Pooling/config.json': { pooling_mode: 'cls', word_embedding_dimension: TINY_WIDTH } };
  // The first token is the same for all texts: it takes a graph that looks at more to tell texts apart.
  await refuses(context, { ...cls, 'model.onnx': model(1n) }, /sentence_embedding is not what modules\.json/);
  await refuses(context, { 'model.onnx': model(1n) }, /pools by itself.*--pooling/, {
    facts: { pooling: 'cls' },
  });
});

test('reference vectors: those of the folder and of a file are compared, and what differs is refused', async (context) => {
  const plain = await importFolder(context, {});
  const vector = await vectorOf(context, plain);
  const line = (changes: object = {}): string => JSON.stringify({ text: 'hello star', vector, ...changes });
  const shipped = await importFolder(context, { 'reference.jsonl': `${line()}\n\n${line()}\n` });
  assert.equal(shipped.report.reference?.texts, 2);
  assert.ok(shipped.report.reference.least > 0.999_999);
  const file = join(temporaryFolder(context), 'mine.jsonl');
  const refusesLine = async (text: string, message: RegExp, more: HubOptions = {}): Promise<void> => {
    writeFiles(join(file, '..'), { 'mine.jsonl': text });
    await refuses(context, {}, message, { reference: file, ...more });
  };
  const other = vector.map((value, i) => value + i / 4);
  await refusesLine(line({ vector: other }), /1 of 1 vectors have a cosine below 0\.999 .*least 0\.\d+/);
  await refusesLine(line({ prompt: 'query : ' }), /cosine below/);
  await refusesLine(line({ vector: [1, 2] }), /reference vectors have 2 components, and those here 4/);
  await refusesLine(`${line()}\n{"text": 1}`, /mine\.jsonl, line 2, is not/);
  await refusesLine(line({ vektor: 1 }), /line 1, is not[^]*vektor/);
  await refusesLine('', /has no line/);
  rmSync(file);
  await refuses(context, {}, /mine\.jsonl can't be read/, { reference: file });
  writeFiles(join(file, '..'), { 'mine.jsonl': line({ vector: other }) });
  const taken = await importFolder(context, {}, { reference: file, referenceCosine: 0 });
  assert.ok(taken.report.reference!.least < 0.999);
});

test('do_lower_case becomes a step of the tokenizer: another file, another space', async (context) => {
  const tokenizer = {
    ...TINY_TOKENIZER,
    normalizer: { ...TINY_TOKENIZER.normalizer, lowercase: false },
  };
  const sentence = { 'sentence_bert_config.json': { do_lower_case: true } };
  const cased = await importFolder(context, { 'tokenizer.json': tokenizer });
  const lower = await importFolder(context, { 'tokenizer.json': tokenizer, ...sentence });
  assert.notEqual(lower.manifest.space.fingerprint, cased.manifest.space.fingerprint);
  const written = JSON.parse(readFileSync(join(lower.directory, 'tokenizer.json'), 'utf8')) as {
    normalizer: { normalizers: { type: string }[] };
  };
  assert.deepEqual(
    written.normalizer.normalizers.map(({ type }) => type),
    ['Lowercase', 'BertNormalizer'],
  );
  assert.ok(existsSync(join(lower.folder, 'tokenizer.json')));
});
