import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TowerError } from './errors.ts';
import { hubManifest, planHub, type HubContents } from './hub.ts';
import { TowerManifest } from './manifest.ts';
import { sha256, TINY_TOKENIZER } from './testing/tiny-tower.ts';

const COMMON = ['README.md', 'config.json', 'tokenizer.json', 'tokenizer_config.json', 'vocab.txt'];

function reason(expected: string, pattern: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof TowerError && error.reason === expected && pattern.test(error.message);
}

/** The manifest of a repository with these small files. */
function manifestOf(files: Record<string, object>, changes: Partial<HubContents> = {}): TowerManifest {
  const all: Record<string, object> = {
    'config.json': { hidden_size: 8 },
    'tokenizer.json': TINY_TOKENIZER,
    ...files,
  };
  const texts = new Map(Object.entries(all).map(([path, value]) => [path, JSON.stringify(value)]));
  const plan = planHub(
    [...texts.keys(), 'onnx/model_q4.onnx', 'onnx/model_q4.onnx_data'],
    undefined,
    'hf:org/name',
  );
  const paths = [...plan.small, plan.model, ...plan.data];
  const manifest = hubManifest({
    name: 'name',
    source: 'hf:org/name@main',
    plan,
    texts,
    hashes: new Map(paths.map((path) => [path, sha256(path)])),
    facts: {},
    pooledOutput: false,
    ...changes,
  });
  return TowerManifest.parse(manifest);
}

test('the exported model is preferred to smaller ones, and an only one is taken', () => {
  const choose = (...onnx: string[]): string => planHub([...COMMON, ...onnx], undefined, 'x').model;
  assert.equal(choose('onnx/model_q4.onnx', 'onnx/model.onnx'), 'onnx/model.onnx');
  assert.equal(choose('model.onnx', 'onnx/model_fp16.onnx'), 'model.onnx');
  assert.equal(choose('onnx/model_q4.onnx', 'onnx/model_quantized.onnx'), 'onnx/model_quantized.onnx');
  assert.equal(choose('onnx/strange.onnx'), 'onnx/strange.onnx');
});

test('the named model comes with its external data, and with no other', () => {
  const files = [
    ...COMMON,
    ...['model', 'model_q4', 'model_q4f16'].flatMap((name) => [
      `onnx/${name}.onnx`,
      `onnx/${name}.onnx_data`,
    ]),
    'onnx/model_q4.onnx_data_1',
  ];
  assert.deepEqual(planHub(files, 'onnx/model_q4.onnx', 'x'), {
    model: 'onnx/model_q4.onnx',
    data: ['onnx/model_q4.onnx_data', 'onnx/model_q4.onnx_data_1'],
    small: ['tokenizer.json', 'tokenizer_config.json', 'config.json'],
  });
});

test('what is missing is named', () => {
  assert.throws(
    () => planHub(COMMON, undefined, 'hf:a/b'),
    reason('TOWER_NOT_FOUND', /hf:a\/b: .*no ONNX file/),
  );
  assert.throws(
    () => planHub([...COMMON, 'a.onnx', 'b.onnx'], undefined, 'x'),
    reason('TOWER_NOT_FOUND', /it has a.onnx, b.onnx: name one after "#"/),
  );
  assert.throws(
    () => planHub([...COMMON, 'a.onnx'], 'c.onnx', 'x'),
    reason('TOWER_NOT_FOUND', /no "c.onnx"; it has a.onnx/),
  );
  assert.throws(() => planHub(['model.onnx'], undefined, 'x'), reason('TOWER_NOT_FOUND', /tokenizer.json/));
});

test('the files land under the names of a tower, external data under its own', () => {
  const manifest = manifestOf({ 'tokenizer_config.json': {} });
  assert.deepEqual(manifest.files, {
    'model.onnx': sha256('onnx/model_q4.onnx'),
    'model_q4.onnx_data': sha256('onnx/model_q4.onnx_data'),
    'tokenizer.json': sha256('tokenizer.json'),
    'tokenizer_config.json': sha256('tokenizer_config.json'),
  });
  assert.deepEqual(Object.keys(manifest.space.weights), ['model.onnx', 'model_q4.onnx_data']);
  assert.deepEqual(Object.keys(manifest.space.tokenizer), ['tokenizer.json', 'tokenizer_config.json']);
});

test('a bare model is read as sentence-transformers would', () => {
  const { role, pooling, normalize, prompt, queryPrompt, maxTokens, dimensions, license, space } = manifestOf(
    {},
  );
  assert.deepEqual(
    { role, pooling, normalize, prompt, queryPrompt, maxTokens, dimensions, license },
    {
      role: 'document',
      pooling: 'mean',
      normalize: true,
      prompt: '',
      queryPrompt: undefined,
      maxTokens: 512,
      dimensions: 8,
      license: 'NOASSERTION',
    },
  );
  assert.deepEqual(space.passageWindow, { tokens: 510, overlap: 64 });
});

test('the smallest of the stated limits holds', () => {
  const limits = {
    'sentence_bert_config.json': { max_seq_length: 256 },
    'tokenizer_config.json': { model_max_length: 1e30, truncation_side: 'left' },
    'config.json': { hidden_size: 8, max_position_embeddings: 514 },
  };
  const manifest = manifestOf(limits);
  assert.equal(manifest.maxTokens, 256);
  assert.equal(manifest.space.truncation, 'left');
  assert.deepEqual(manifest.space.passageWindow, { tokens: 254, overlap: 32 });
  assert.equal(
    manifestOf({ ...limits, 'sentence_bert_config.json': { max_seq_length: null } }).maxTokens,
    514,
  );
  const roberta = {
    'config.json': { hidden_size: 8, max_position_embeddings: 514, model_type: 'xlm-roberta' },
  };
  assert.equal(manifestOf(roberta).maxTokens, 512);
});

test('passages of models that read more are no longer for it', () => {
  const manifest = manifestOf({ 'config.json': { hidden_size: 8, max_position_embeddings: 8192 } });
  assert.equal(manifest.maxTokens, 8192);
  assert.deepEqual(manifest.space.passageWindow, { tokens: 510, overlap: 64 });
});

test('prompts leave their room in the window', () => {
  const manifest = manifestOf({
    'sentence_bert_config.json': { max_seq_length: 32 },
    'config_sentence_transformers.json': { prompts: { query: 'query: ', document: 'star: ' } },
  });
  assert.equal(manifest.prompt, 'star: ');
  assert.equal(manifest.space.documentPrompt, 'star: ');
  assert.equal(manifest.queryPrompt, 'query: ');
  assert.equal(manifest.space.passageWindow.tokens, 32 - 2 - 2);
  const named = manifestOf({
    'config_sentence_transformers.json': {
      prompts: { passage: 'star', other: 'hello' },
      default_prompt_name: 'other',
    },
  });
  assert.equal(named.prompt, 'star');
  assert.equal(named.queryPrompt, 'hello');
});

test('pooling is read from old and new configurations, and what we do not have is refused', () => {
  const pooling = (config: object): string => manifestOf({ '1_Pooling/config.json': config }).pooling;
  assert.equal(pooling({ pooling_mode_cls_token: true, pooling_mode_mean_tokens: false }), 'cls');
  assert.equal(pooling({ pooling_mode_mean_tokens: true }), 'mean');
  assert.equal(pooling({ pooling_mode_lasttoken: true }), 'last');
  assert.equal(pooling({ pooling_mode: 'lasttoken' }), 'last');
  assert.equal(pooling({ pooling_mode: ['cls'] }), 'cls');
  for (const config of [
    { pooling_mode_max_tokens: true },
    { pooling_mode_mean_tokens: true, pooling_mode_cls_token: true },
    { pooling_mode: 'weightedmean' },
  ]) {
    assert.throws(() => pooling(config), reason('TOWER_MODEL_UNSUPPORTED', /1_Pooling/));
  }
});

test('vectors keep their length only where the model is made for the dot product', () => {
  const normalize = (files: Record<string, object>): boolean => manifestOf(files).normalize;
  const dot = { 'config_sentence_transformers.json': { similarity_fn_name: 'dot' } };
  const modules = [{ type: 'sentence_transformers.models.Transformer' }];
  assert.equal(normalize(dot), false);
  assert.equal(normalize({ 'config_sentence_transformers.json': { similarity_fn_name: 'cosine' } }), true);
  assert.equal(normalize({ 'modules.json': modules }), true);
  const ending = [...modules, { type: 'sentence_transformers.models.Normalize' }];
  assert.equal(normalize({ ...dot, 'modules.json': ending }), true);
});

test('a dense layer at the end must be in the graph', () => {
  const files = { 'modules.json': [{ type: 'sentence_transformers.models.Dense' }] };
  assert.throws(() => manifestOf(files), reason('TOWER_MODEL_UNSUPPORTED', /dense layer/));
  assert.equal(manifestOf(files, { pooledOutput: true }).pooling, 'mean');
});

test('dimensions come from whichever file says them', () => {
  assert.equal(
    manifestOf({ '1_Pooling/config.json': { word_embedding_dimension: 5, pooling_mode: 'cls' } }).dimensions,
    5,
  );
  assert.equal(manifestOf({ 'config.json': { d_model: 6 } }).dimensions, 6);
  assert.throws(() => manifestOf({ 'config.json': {} }), reason('TOWER_MANIFEST_INVALID', /hidden_size/));
  assert.throws(
    () => manifestOf({ 'config.json': { hidden_size: 'eight' } }),
    reason('TOWER_MANIFEST_INVALID', /config.json can't be used:[^]*hidden_size/),
  );
});

test('what is known of a tower goes before what its files say', () => {
  const facts = { license: 'Apache-2.0', pooling: 'last', normalize: false, maxTokens: 64 } as const;
  const { license, pooling, normalize, maxTokens } = manifestOf(
    { '1_Pooling/config.json': { pooling_mode: 'cls' } },
    { facts },
  );
  assert.deepEqual({ license, pooling, normalize, maxTokens }, facts);
});
