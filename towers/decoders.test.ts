import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { openTower } from './open.ts';
import {
  DECODER_FAMILIES,
  DECODER_WIDTH,
  type DecoderFamily,
  type DecoderForm,
  INSTRUCT,
  readDecoder,
  readDecoderGraph,
  readDecoderTokenizer,
  writeDecoderTower,
} from './testing/decoders.ts';
import { temporaryFolder, writeFiles } from './testing/tiny-tower.ts';
import type { Tower } from './tower.ts';

async function open(context: TestContext, folder: string): Promise<Tower> {
  const tower = await openTower(folder, { cacheDir: temporaryFolder(context), inline: true, threads: 1 });
  context.after(() => tower.close());
  return tower;
}

/** Tokens of a decoder's inputs as the tower reads them, which must be those of the reference. */
async function tokensOf(
  tower: Tower,
  family: DecoderFamily,
): Promise<{ ids: readonly number[]; truncated: boolean }[]> {
  const { inputs } = readDecoder(family);
  const read = await Promise.all(inputs.map(({ text, prompt }) => tower.tokenize(text, { prompt })));
  assert.deepEqual(
    read.map(({ ids }) => [...ids]),
    inputs.map(({ ids }) => ids),
  );
  return read;
}

function furthest(a: Float32Array, b: Float32Array): number {
  assert.equal(a.length, b.length);
  return a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);
}

/** The least cosine of rows that belong together. */
function leastCosine(a: Float32Array, b: Float32Array): number {
  let least = 1;
  for (let start = 0; start < a.length; start += DECODER_WIDTH) {
    let [ab, aa, bb] = [0, 0, 0];
    for (let i = start; i < start + DECODER_WIDTH; i++) {
      ab += a[i]! * b[i]!;
      aa += a[i]! * a[i]!;
      bb += b[i]! * b[i]!;
    }
    least = Math.min(least, ab / Math.sqrt(aa * bb));
  }
  return least;
}

/** Exports in single precision: what they give differs from the reference by rounding alone. */
const EXACT: readonly (readonly [DecoderFamily, DecoderForm])[] = [
  ...DECODER_FAMILIES.map((family) => [family, 'fp32'] as const),
  ['qwen3', 'traced'],
  ['gemma2', 'traced'],
  ['qwen3', 'fused'],
  ['llama', 'fused'],
];

for (const [family, form] of EXACT) {
  test(`${family}, ${form}: tokens and vectors are those of transformers, padded left and right, alone and together`, async (context) => {
    const folder = temporaryFolder(context);
    writeDecoderTower(folder, family, form);
    const tower = await open(context, folder);
    const tokens = await tokensOf(tower, family);
    const { left, right } = readDecoder(family);
    const together = await tower.encodeAll(tokens);
    assert.ok(
      furthest(together, right) < 1e-4,
      `${furthest(together, right)} from those padded on the right`,
    );
    assert.ok(furthest(together, left) < 1e-4, `${furthest(together, left)} from those padded on the left`);
    for (const [row, each] of tokens.entries()) {
      const alone = await tower.encodeAll([each]);
      const vector = together.subarray(row * DECODER_WIDTH, (row + 1) * DECODER_WIDTH);
      assert.ok(furthest(alone, vector) < 1e-4, `input ${row} alone: ${furthest(alone, vector)}`);
    }
  });
}

/**
 * Least cosine to the reference. In half precision and in eight bits it is to the vectors in single precision; random weights
 * suffer more than trained ones. In four bits it is to what transformers gives with the weights that the four bits stand for.
 */
const COMPRESSED = { fp16: 0.9998, int8: 0.98, int4: 0.99999 } as const;

describe('compressed weights come near to the reference:', () => {
  for (const family of DECODER_FAMILIES) {
    for (const form of ['fp16', 'int8', 'int4'] as const) {
      test(`${family}, ${form}`, async (context) => {
        const folder = temporaryFolder(context);
        writeDecoderTower(folder, family, form);
        const tower = await open(context, folder);
        const tokens = await tokensOf(tower, family);
        // Dynamic quantisation looks at a whole batch: each text alone.
        const found = new Float32Array(tokens.length * DECODER_WIDTH);
        for (const [row, each] of tokens.entries())
          found.set(await tower.encodeAll([each]), row * DECODER_WIDTH);
        const { right, int4 } = readDecoder(family);
        const cosine = leastCosine(found, form === 'int4' ? int4 : right);
        context.diagnostic(`least cosine ${cosine.toFixed(6)}`);
        assert.ok(cosine > COMPRESSED[form], `least cosine ${cosine}`);
      });
    }
  }
});

test('the last token is the one that the tokenizer appends, where it appends one', async (context) => {
  for (const [family, appended] of [
    ['qwen3', 2],
    ['gemma3', 2],
    ['llama', undefined],
  ] as const) {
    const folder = temporaryFolder(context);
    writeDecoderTower(folder, family, 'fp32', { maxTokens: 6, passageWindow: { tokens: 3, overlap: 1 } });
    const tower = await open(context, folder);
    const [short, long] = [await tower.tokenize('a'), await tower.tokenize('a b c d e f g h')];
    assert.equal(long.truncated, true);
    assert.equal(long.ids.length, 6);
    for (const { ids } of [short, long]) {
      if (appended === undefined) assert.ok(ids.at(-1)! > 2, `${family} ends in ${ids.at(-1)}`);
      else assert.equal(ids.at(-1), appended, family);
    }
  }
});

test('a folder as the hub has it becomes a tower that pools the last token, with an instruction before queries', async (context) => {
  const folder = temporaryFolder(context);
  writeFiles(folder, {
    'onnx/model.onnx': readDecoderGraph('qwen3', 'fp32'),
    'tokenizer.json': readDecoderTokenizer('qwen3'),
    'config.json': readDecoder('qwen3').config,
    'modules.json': [
      { idx: 0, name: '0', path: '', type: 'sentence_transformers.models.Transformer' },
      { idx: 1, name: '1', path: '1_Pooling', type: 'sentence_transformers.models.Pooling' },
      { idx: 2, name: '2', path: '2_Normalize', type: 'sentence_transformers.models.Normalize' },
    ],
    '1_Pooling/config.json': {
      word_embedding_dimension: DECODER_WIDTH,
      pooling_mode_cls_token: false,
      pooling_mode_mean_tokens: false,
      pooling_mode_max_tokens: false,
      pooling_mode_mean_sqrt_len_tokens: false,
      pooling_mode_weightedmean_tokens: false,
      pooling_mode_lasttoken: true,
      include_prompt: true,
    },
    'config_sentence_transformers.json': {
      prompts: { query: INSTRUCT, document: '' },
      default_prompt_name: null,
      similarity_fn_name: 'cosine',
    },
  });
  const tower = await open(context, `file:${folder}`);
  const { pooling, normalize, prompt, queryPrompt } = tower.manifest;
  assert.deepEqual(
    { pooling, normalize, prompt, queryPrompt },
    { pooling: 'last', normalize: true, prompt: '', queryPrompt: INSTRUCT },
  );
  const { inputs, right } = readDecoder('qwen3');
  const found = await tower.encodeAll(await tokensOf(tower, 'qwen3'));
  assert.ok(inputs.length > 0 && leastCosine(found, right) > 0.999999);
});
