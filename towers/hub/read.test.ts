import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TowerError } from '../errors.ts';
import { TINY_TOKENIZER } from '../testing/tiny-tower.ts';
import { planHub } from './plan.ts';
import { readHub, type HubFiles, type HubUse } from './read.ts';

const COMMON = ['README.md', 'config.json', 'tokenizer.json', 'tokenizer_config.json', 'vocab.txt'];

function reason(expected: string, pattern: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof TowerError && error.reason === expected && pattern.test(error.message);
}

/** How a model with these files is used. */
function useOf(files: Record<string, object>, changes: Partial<HubFiles> = {}): HubUse {
  const all: Record<string, object> = {
    'config.json': { hidden_size: 8 },
    'tokenizer.json': TINY_TOKENIZER,
    ...files,
  };
  const texts = new Map(Object.entries(all).map(([path, value]) => [path, JSON.stringify(value)]));
  const paths = [...texts.keys(), 'model.onnx', '2_Dense/model.safetensors', '3_Norm/model.safetensors'];
  return readHub({ name: 'name', source: 'hf:org/name@main', paths, texts, facts: {}, ...changes });
}

/** `modules.json` of some classes, each in a folder of its own. */
function modulesOf(...types: string[]): object[] {
  return types.map((type, idx) => ({
    idx,
    name: String(idx),
    path: idx === 0 ? '' : `${idx}_${type}`,
    type: `sentence_transformers.models.${type}`,
  }));
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

test('a bare model is read as sentence-transformers would, at unit length', () => {
  const { pooling, normalize, documentPrompt, queryPrompt, maxTokens, dimensions, license } = useOf({});
  assert.deepEqual(
    { pooling, normalize, documentPrompt, queryPrompt, maxTokens, dimensions, license },
    {
      pooling: 'mean',
      normalize: true,
      documentPrompt: '',
      queryPrompt: '',
      maxTokens: 512,
      dimensions: undefined,
      license: 'NOASSERTION',
    },
  );
});

test('what sentence_bert_config.json says of the length goes before the tokenizer; the network bounds both', () => {
  const limits = {
    'sentence_bert_config.json': { max_seq_length: 256 },
    'tokenizer_config.json': { model_max_length: 128, truncation_side: 'left' },
    'config.json': { hidden_size: 8, max_position_embeddings: 514 },
  };
  const use = useOf(limits);
  assert.deepEqual([use.maxTokens, use.truncation], [256, 'left']);
  const silent = { ...limits, 'sentence_bert_config.json': { max_seq_length: null } };
  assert.equal(useOf(silent).maxTokens, 128);
  const absurd = { ...silent, 'tokenizer_config.json': { model_max_length: 1e30 } };
  assert.equal(useOf(absurd).maxTokens, 514);
  const roberta = {
    'config.json': { hidden_size: 8, max_position_embeddings: 514, model_type: 'xlm-roberta' },
  };
  assert.equal(useOf(roberta).maxTokens, 512);
});

test('prompts: by the names of both sides, else the default one; the rest is listed', () => {
  const prompts = (config: object): [string, string] => {
    const use = useOf({ 'config_sentence_transformers.json': config });
    return [use.documentPrompt, use.queryPrompt];
  };
  assert.deepEqual(prompts({ prompts: { query: 'q: ', document: 'd: ' } }), ['d: ', 'q: ']);
  assert.deepEqual(prompts({ prompts: { query: 'q: ', document: null } }), ['', 'q: ']);
  assert.deepEqual(prompts({ prompts: { corpus: 'c', passage: 'p' } }), ['p', '']);
  assert.deepEqual(prompts({ prompts: { query: 'q', x: 'x: ' }, default_prompt_name: 'x' }), ['x: ', 'q']);
  const { notes } = useOf({ 'config_sentence_transformers.json': { prompts: { query: 'q', sts: 's' } } });
  assert.ok(notes.some((each) => /not used: sts/.test(each)));
  assert.throws(
    () => prompts({ default_prompt_name: 'missing' }),
    reason('TOWER_MODEL_UNSUPPORTED', /config_sentence_transformers\.json, default_prompt_name: .*"missing"/),
  );
});

test('families whose files lack the prompts of their cards are known by name', () => {
  const bge = useOf({}, { name: 'bge-small-en-v1.5' });
  assert.equal(bge.queryPrompt, 'Represent this sentence for searching relevant passages: ');
  assert.deepEqual([bge.documentPrompt, bge.pooling], ['', 'cls']);
  const e5 = useOf({ 'config.json': { _name_or_path: 'intfloat/e5-small-v2' } });
  assert.deepEqual([e5.documentPrompt, e5.queryPrompt, e5.pooling], ['passage: ', 'query: ', 'mean']);
  assert.ok(e5.notes.some((each) => /known of E5.*--query-prompt/.test(each)));
  // What the files or the user say goes first.
  const stated = { 'config_sentence_transformers.json': { prompts: { query: 'mine ' } } };
  assert.equal(useOf(stated, { name: 'e5-base' }).queryPrompt, 'mine ');
  assert.equal(useOf({}, { name: 'e5-base', facts: { queryPrompt: '' } }).queryPrompt, '');
  for (const name of ['e5-mistral-7b-instruct', 'multilingual-e5-large-instruct', 'bge-m3', 'my-e5']) {
    assert.equal(useOf({}, { name }).queryPrompt, '', name);
  }
});

test('pooling is read from old and new configurations, wherever modules.json says they lie', () => {
  const pooling = (config: object): unknown => useOf({ '1_Pooling/config.json': config }).pooling;
  assert.equal(pooling({ pooling_mode_cls_token: true, pooling_mode_mean_tokens: false }), 'cls');
  assert.equal(pooling({ word_embedding_dimension: 8 }), 'mean');
  assert.equal(pooling({ pooling_mode_max_tokens: true }), 'max');
  assert.equal(pooling({ pooling_mode_lasttoken: true }), 'last');
  assert.equal(pooling({ pooling_mode: 'lasttoken', pooling_mode_cls_token: true }), 'last');
  assert.equal(pooling({ pooling_mode: ['cls'] }), 'cls');
  assert.deepEqual(pooling({ pooling_mode: ['mean', 'cls'] }), ['mean', 'cls']);
  assert.deepEqual(pooling({ pooling_mode_mean_tokens: true, pooling_mode_cls_token: true }), [
    'cls',
    'mean',
  ]);
  assert.deepEqual(
    pooling({ pooling_mode_mean_sqrt_len_tokens: true, pooling_mode_weightedmean_tokens: true }),
    ['mean_sqrt_len_tokens', 'weightedmean'],
  );
  assert.throws(
    () => pooling({ pooling_mode: 'median' }),
    reason('TOWER_MODEL_UNSUPPORTED', /1_Pooling\/config\.json, pooling_mode: "median"/),
  );
  const moved = modulesOf('Transformer', 'Pooling').map((module, at) =>
    at === 1 ? { ...module, path: 'pool' } : module,
  );
  const use = useOf({
    'modules.json': moved,
    'pool/config.json': { pooling_mode: 'max', include_prompt: false },
    '1_Pooling/config.json': { pooling_mode: 'cls' },
  });
  assert.deepEqual([use.pooling, use.poolPrompt], ['max', false]);
  assert.throws(
    () => useOf({ 'modules.json': moved }),
    reason('TOWER_MODEL_UNSUPPORTED', /no pool\/config\.json/),
  );
});

test('layers after the pooling come in the order of modules.json, and a scaling at the end is the last', () => {
  const dense = { in_features: 8, out_features: 4, activation_function: 'torch.nn.modules.linear.Identity' };
  const files = {
    '1_Pooling/config.json': { pooling_mode: 'mean' },
    '2_Dense/config.json': dense,
    'modules.json': modulesOf('Transformer', 'Pooling', 'Dense', 'Normalize'),
  };
  const layer = {
    type: 'dense',
    file: '2_Dense/model.safetensors',
    activation: 'identity',
    residual: false,
    bias: true,
    config: '2_Dense/config.json',
  };
  const use = useOf(files);
  assert.deepEqual(use.layers, [{ ...layer, from: 8, into: 4 }]);
  assert.equal(use.normalize, true);
  const without = useOf({ ...files, 'modules.json': modulesOf('Transformer', 'Pooling', 'Dense') });
  assert.equal(without.normalize, false);
  for (const [change, message] of [
    [
      { '2_Dense/config.json': { ...dense, activation_function: 'mine.Swish' } },
      /activation_function: "mine/,
    ],
    [{ '2_Dense/config.json': { ...dense, scale: 2 } }, /2_Dense\/config\.json can't be used:[^]*scale/],
    [
      { 'modules.json': modulesOf('Transformer', 'WeightedLayerPooling', 'Pooling') },
      /\[1\]\.type: Weighted/,
    ],
    [{ 'modules.json': modulesOf('Router') }, /\[0\]\.type: .*Router/],
    [{ 'modules.json': modulesOf('Transformer', 'Pooling', 'CNN') }, /\[2\]\.type: CNN/],
    [{ 'modules.json': [{ path: '', type: 'my_code.Model' }] }, /\[0\]\.type: "my_code\.Model" is code/],
    [
      { 'modules.json': modulesOf('Transformer').map((each) => ({ ...each, kwargs: ['task'] })) },
      /modules\.json can't be used:[^]*kwargs/,
    ],
  ] as const) {
    assert.throws(
      () => useOf({ ...files, ...change }),
      (error: unknown) => {
        assert.ok(error instanceof TowerError);
        assert.match(error.message, message);
        return true;
      },
    );
  }
  const paths = ['tokenizer.json', 'model.onnx', '2_Dense/pytorch_model.bin'];
  assert.throws(
    () => useOf(files, { paths }),
    reason('TOWER_MODEL_UNSUPPORTED', /2_Dense\/pytorch_model\.bin/),
  );
});

test('search goes by cosine: another similarity is refused where it would rank otherwise', () => {
  const normalize = (similarity: string, ...ending: string[]): boolean =>
    useOf({
      'modules.json': modulesOf('Transformer', 'Pooling', ...ending),
      '1_Pooling/config.json': { pooling_mode: 'cls' },
      'config_sentence_transformers.json': { similarity_fn_name: similarity },
    }).normalize;
  assert.equal(normalize('cosine'), false);
  assert.equal(normalize('dot', 'Normalize'), true);
  assert.equal(normalize('euclidean', 'Normalize'), true);
  for (const [similarity, ...ending] of [['dot'], ['euclidean'], ['manhattan', 'Normalize']] as const) {
    assert.throws(
      () => normalize(similarity, ...ending),
      reason('TOWER_MODEL_UNSUPPORTED', /similarity_fn_name.*--normalize/),
    );
  }
  const dot = { 'config_sentence_transformers.json': { similarity_fn_name: 'dot' } };
  assert.equal(useOf(dot, { facts: { normalize: false } }).normalize, false);
});

test('a key that is not known may move a vector, and is named; one that moves none is not', () => {
  const refused = (file: string, content: object, key: string): void =>
    assert.throws(
      () => useOf({ [file]: content }),
      (error: unknown) => {
        assert.ok(error instanceof TowerError && error.reason === 'TOWER_MANIFEST_INVALID');
        assert.match(error.message, new RegExp(`${file} can't be used:[^]*${key}`));
        return true;
      },
    );
  refused('1_Pooling/config.json', { pooling_mode: 'mean', temperature: 2 }, 'temperature');
  refused('sentence_bert_config.json', { max_seq_length: 8, strip: true }, 'strip');
  refused('sentence_bert_config.json', { query_length: 32 }, 'query_length');
  refused('sentence_bert_config.json', { model_args: { add_pooling_layer: true } }, 'model_args');
  refused('config_sentence_transformers.json', { model_type: 'SparseEncoder' }, 'model_type');
  refused('config_sentence_transformers.json', { whitening: 'x' }, 'whitening');
  refused('tokenizer_config.json', { dropout: 0.1 }, 'dropout');
  refused('config.json', { hidden_size: 'eight' }, 'hidden_size');
  useOf({
    'tokenizer_config.json': { padding_side: 'left', chat_template: 'x', tokenizer_class: 'BertTokenizer' },
    'config_sentence_transformers.json': { __version__: { pytorch: '2' }, default_prompt_name: null },
    'sentence_bert_config.json': {
      do_lower_case: false,
      max_seq_length: null,
      transformer_task: 'feature-extraction',
    },
  });
});

test('a tokenizer_config.json that contradicts tokenizer.json is refused', () => {
  for (const [config, field] of [
    [{ do_lower_case: false }, 'do_lower_case'],
    [{ strip_accents: false }, 'strip_accents'],
    [{ tokenize_chinese_chars: false }, 'tokenize_chinese_chars'],
    [{ add_eos_token: false }, 'add_eos_token'],
  ] as const) {
    assert.throws(
      () => useOf({ 'tokenizer_config.json': config }),
      reason('TOWER_MODEL_UNSUPPORTED', new RegExp(`tokenizer_config\\.json, ${field}: is false`)),
    );
  }
  const same = {
    do_lower_case: true,
    strip_accents: null,
    tokenize_chinese_chars: true,
    add_eos_token: true,
  };
  useOf({ 'tokenizer_config.json': same });
});

test('what somebody says goes before what the files say', () => {
  const facts = {
    license: 'Apache-2.0',
    pooling: 'last',
    normalize: false,
    maxTokens: 64,
    documentPrompt: 'd',
    queryPrompt: 'q',
    dimensions: 2,
  } as const;
  const use = useOf({ '1_Pooling/config.json': { pooling_mode: 'cls' } }, { facts });
  const { license, pooling, normalize, maxTokens, documentPrompt, queryPrompt, dimensions } = use;
  assert.deepEqual(
    { license, pooling, normalize, maxTokens, documentPrompt, queryPrompt, dimensions },
    facts,
  );
});
