import assert from 'node:assert/strict';
import { cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { readManifest } from '../../towers/directory.ts';
import { openTower } from '../../towers/open.ts';
import { temporaryFolder, TINY_TOKENIZER, writeFiles } from '../../towers/testing/tiny-tower.ts';
import { TrainingError } from '../errors.ts';
import { findLayers } from '../gradient/layers.ts';
import { withParameters } from '../onnx/parameters.ts';
import { toPlain } from '../onnx/rewrite/plain.ts';
import { writeSafetensors } from '../onnx/safetensors.ts';
import { float32, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { noise } from '../testing/noise.ts';
import { TINY, tinyBert } from '../testing/tiny-models.ts';
import { encodeModel } from '../onnx/write.ts';
import { tinyBase } from '../testing/tiny-base.ts';
import { importTower } from './import.ts';
import { canonicalName } from './names.ts';

/** What a cluster would leave: new weights as PyTorch has them, tokenizer and configuration. */
async function cluster(context: TestContext, change: (tensors: Map<string, Tensor>) => void = () => {}) {
  const folder = temporaryFolder(context);
  const plain = await toPlain(tinyBert());
  const { weights, tables } = await findLayers(plain, 'last_hidden_state');
  const values = new Map<string, Tensor>();
  const tensors = new Map<string, Tensor>([
    ['bert.pooler.dense.weight', float32([2, 2], [1, 2, 3, 4])],
    ['bert.embeddings.position_ids', float32([1, 2], [0, 1])],
  ]);
  for (const [seed, name] of [...weights, ...tables].entries()) {
    const { dims } = plain.graph.initializers.get(name)!;
    const value = noise(dims, seed + 50);
    values.set(name, value);
    const isProduct = /^layer\.\d+\.(?:q|k|v|o|up|down)\.weight$/.test(name);
    const hub = name.startsWith('layer.') ? `bert.encoder.${name}` : `bert.${name}`;
    tensors.set(hub, isProduct ? transposed(value) : value);
  }
  change(tensors);
  await writeSafetensors(join(folder, 'model.safetensors'), { tensors, metadata: { format: 'pt' } });
  writeFiles(folder, {
    'tokenizer.json': TINY_TOKENIZER,
    'config.json': { hidden_size: TINY.width, max_position_embeddings: 16 },
    '1_Pooling/config.json': { word_embedding_dimension: TINY.width, pooling_mode_cls_token: true },
    'config_sentence_transformers.json': { prompts: { query: 'query : ', document: '' } },
  });
  return { folder, model: withParameters(plain, values), cacheDir: temporaryFolder(context) };
}

function transposed(value: Tensor): Tensor {
  const [rows, columns] = value.dims as [number, number];
  const numbers = toNumbers(value);
  return float32(
    [columns, rows],
    Float32Array.from(numbers, (_, i) => numbers[(i % rows) * columns + Math.floor(i / rows)]!),
  );
}

async function vectorOf(context: TestContext, folder: string, cacheDir: string): Promise<Float32Array> {
  const tower = await openTower(folder, { cacheDir, inline: true });
  context.after(() => tower.close());
  return (await tower.encode(await tower.tokenize('hello star'))).vector;
}

const refuses = (promise: Promise<unknown>, message: RegExp): Promise<void> =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof TrainingError && error.reason === 'REQUEST_INVALID', String(error));
    assert.match(error.message, message);
    return true;
  });

test('weights from elsewhere go into a graph, and come out as an export of the same model would', async (context) => {
  const { folder, model, cacheDir } = await cluster(context);
  const out = join(temporaryFolder(context), 'mine');
  const graph = tinyBase(context);
  const report = await importTower({ source: folder, graph, out, facts: { license: 'MIT' }, cacheDir });
  assert.deepEqual([report.name, report.pooling, report.dimensions], ['mine', 'cls', TINY.width]);
  const manifest = await readManifest(out);
  assert.equal(manifest.license, 'MIT');
  assert.equal(manifest.queryPrompt, 'query : ');
  assert.notEqual(manifest.space.fingerprint, (await readManifest(graph)).space.fingerprint);

  const exported = temporaryFolder(context);
  cpSync(folder, exported, { recursive: true });
  rmSync(join(exported, 'model.safetensors'));
  writeFiles(exported, { 'onnx/model.onnx': encodeModel(model) });
  const other = await importTower({ source: exported, out: `${out}-onnx`, cacheDir });
  assert.deepEqual(await vectorOf(context, out, cacheDir), await vectorOf(context, other.out, cacheDir));
});

test('weights of another architecture are refused, and what differs is named', async (context) => {
  const { folder, cacheDir } = await cluster(context, (tensors) => {
    tensors.delete('bert.encoder.layer.1.q.weight');
    tensors.set('bert.encoder.layer.2.q.weight', float32([2], [1, 2]));
    tensors.set('bert.encoder.layer.0.up.bias', float32([3], [1, 2, 3]));
  });
  const out = join(temporaryFolder(context), 'mine');
  await refuses(
    importTower({ source: folder, graph: tinyBase(context), out, cacheDir }),
    /lacks layer\.1\.q\.weight; of another shape: bert\.encoder\.layer\.0\.up\.bias is \[3\], not \[16\]; the graph has no place for bert\.encoder\.layer\.2\.q\.weight/,
  );
  await refuses(importTower({ source: folder, out, cacheDir }), /has weights and no ONNX file: .* --graph/);
  await refuses(importTower({ source: `${folder}-nowhere`, out, cacheDir }), /there is no folder/);
  rmSync(join(folder, 'model.safetensors'));
  const empty = importTower({ source: folder, graph: tinyBase(context), out, cacheDir });
  await refuses(empty, /has no \.safetensors file/);
  assert.ok(!existsSync(out));
});

test('exporters and trainers call the same weight by one name', () => {
  for (const [exported, trained] of [
    ['.model.embeddings.word_embeddings.weight', 'bert.embeddings.word_embeddings.weight'],
    ['model.layers.-1.embeddings_norm_layernorm.bias', '0.auto_model.embeddings.LayerNorm.bias'],
    [
      'model.layers.0.attn.q_proj.MatMul.weight_Q4_dequantized_12',
      'encoder.layer.0.attention.self.query.weight',
    ],
    ['model.layers.5.attn.o_proj.Add.bias', 'bert.encoder.layer.5.attention.output.dense.bias'],
    ['model.layers.5.mlp.fc1.MatMul.weight_Q4_dequantized_3', 'encoder.layer.5.intermediate.dense.weight'],
    ['model.layers.5.mlp_output_norm_layernorm.weight', 'encoder.layer.5.output.LayerNorm.gamma'],
    [
      'model.layers.2.attention_output_norm_layernorm.weight',
      'encoder.layer.2.attention.output.LayerNorm.weight',
    ],
    ['model.layers.7.attn.k_proj.MatMul.weight', 'model.layers.7.self_attn.k_proj.weight'],
    ['model.layers.28.final_norm_layernorm.weight', 'model.norm.weight'],
    ['encoder.layer.0.attention.self.value.weight', 'encoder.layer.0.attention.self.value.weight'],
  ] as const) {
    assert.equal(canonicalName(exported), canonicalName(trained));
  }
});
