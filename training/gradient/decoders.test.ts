import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { openTower } from '../../towers/open.ts';
import {
  DECODER_FAMILIES,
  DECODER_WIDTH,
  type DecoderFamily,
  type DecoderForm,
  readDecoder,
  writeDecoderTower,
} from '../../towers/testing/decoders.ts';
import { temporaryFolder } from '../../towers/testing/tiny-tower.ts';
import { distill } from '../distill/distill.ts';
import { GraphBuilder } from '../onnx/builder.ts';
import { int, type Model } from '../onnx/model.ts';
import { prune } from '../onnx/prune.ts';
import { runAsIs } from '../onnx/run.ts';
import { float32, int64, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { seededRandom } from '../random.ts';
import { train } from '../stage1/train.ts';
import { letterPairs, linesFile } from '../testing/tiny-base.ts';
import { readTowerGraph } from '../tower-folder.ts';
import { differentiate } from './differentiate.ts';
import { findLayers } from './layers.ts';
import { pooledVectors, VECTORS } from './transformer.ts';

function graphOf(
  context: TestContext,
  family: DecoderFamily,
  form: DecoderForm,
): ReturnType<typeof readTowerGraph> {
  const folder = temporaryFolder(context);
  writeDecoderTower(folder, family, form);
  return readTowerGraph(folder);
}

/** Texts as a batch, padded on the right: what the graph asks for. */
function batchOf({ graph }: Model, rows: readonly (readonly number[])[]): Record<string, Tensor> {
  const length = Math.max(...rows.map((row) => row.length));
  const fill = (value: (id: number | undefined, place: number) => number): Tensor =>
    int64(
      rows.flatMap((row) => Array.from({ length }, (_, place) => value(row[place], place))),
      [rows.length, length],
    );
  const all: Record<string, Tensor> = {
    input_ids: fill((id) => id ?? 0),
    attention_mask: fill((id) => (id === undefined ? 0 : 1)),
    position_ids: fill((_, place) => place),
  };
  return Object.fromEntries(graph.inputs.flatMap(({ name }) => (all[name] ? [[name, all[name]]] : [])));
}

/** Vectors of a family's inputs by its graph in plain operators, and those of the reference. */
async function vectorsOf(model: Model, output: string, family: DecoderFamily): Promise<Float32Array> {
  const { inputs, pooling } = readDecoder(family);
  const pooled = await pooledVectors({ model, output }, { pooling, dimensions: DECODER_WIDTH });
  const [found] = await runAsIs(pooled, [
    batchOf(
      pooled,
      inputs.map(({ ids }) => ids),
    ),
  ]);
  return toNumbers(found![VECTORS]!) as Float32Array;
}

function leastCosine(a: Float32Array, b: Float32Array): number {
  assert.equal(a.length, b.length);
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

/** In plain operators with float32 weights: how near it comes to what transformers gives: with those that four bits stand for, else with those before they were compressed. */
const FORMS: readonly (readonly [DecoderFamily, DecoderForm, number])[] = [
  ...DECODER_FAMILIES.flatMap((family) => [
    [family, 'fp32', 0.999999] as const,
    [family, 'fp16', 0.999] as const,
    [family, 'int8', 0.98] as const,
    [family, 'int4', 0.99999] as const,
  ]),
  ['qwen3', 'traced', 0.999999],
  ['gemma2', 'traced', 0.999999],
  ['qwen3', 'fused', 0.999999],
  ['llama', 'fused', 0.999999],
];

describe('a language model taken apart into plain operators gives the same vectors:', () => {
  for (const [family, form, least] of FORMS) {
    test(`${family}, ${form}`, async (context) => {
      const { model, output } = await graphOf(context, family, form);
      assert.deepEqual(
        model.graph.nodes.filter(({ op, domain }) => domain !== '' || /Integer|QuantizeLinear/.test(op)),
        [],
      );
      const { right, int4 } = readDecoder(family);
      const cosine = leastCosine(await vectorsOf(model, output, family), form === 'int4' ? int4 : right);
      context.diagnostic(`least cosine ${cosine.toFixed(5)}`);
      assert.ok(cosine > least, `least cosine ${cosine}`);
      const { boundaries, weights, tables } = await findLayers(model, output);
      assert.equal(boundaries.length, 3);
      assert.equal(tables.length, 1);
      assert.ok(weights.length >= 15, `${weights.length} weights`);
    });
  }
});

describe('gradients are those of PyTorch:', () => {
  for (const family of DECODER_FAMILIES) {
    test(family, async (context) => {
      const { inputs, pooling, gradients } = readDecoder(family);
      const { model, output } = await graphOf(context, family, 'fp32');
      const g = new GraphBuilder(
        await pooledVectors({ model, output }, { pooling, dimensions: DECODER_WIDTH }),
      );
      const rows = inputs.slice(0, 4).map(({ ids }) => ids);
      const count = rows.length * DECODER_WIDTH;
      const weigh = g.initializer(
        'weigh',
        float32(
          [rows.length, DECODER_WIDTH],
          Float32Array.from({ length: count }, (_, i) => Math.sin(i)),
        ),
      );
      g.output('loss', g.node('ReduceSum', [g.node('Mul', [VECTORS, weigh])], { keepdims: int(0) }));
      const weights = [...gradients.weights.keys()];
      assert.ok(weights.length >= 3, `${weights.length} weights have a recorded gradient`);
      // With this many rows fixed by the loss, the graph is traced as it is run.
      const fixed = fixBatch(g.build(), rows.length);
      const { g: both, gradients: names } = await differentiate(fixed, 'loss', weights);
      for (const weight of weights) both.output(`d/${weight}`, names.get(weight)!);
      const whole = both.build();
      const [found] = await runAsIs(prune(whole, ['loss', ...weights.map((weight) => `d/${weight}`)]), [
        batchOf(whole, rows),
      ]);
      const [loss] = toNumbers(found!['loss']!);
      assert.ok(
        Math.abs(loss! - gradients.loss) < 1e-3 * Math.max(1, Math.abs(gradients.loss)),
        `loss ${loss}, not ${gradients.loss}`,
      );
      for (const weight of weights) {
        const [ours, theirs] = [toNumbers(found![`d/${weight}`]!), gradients.weights.get(weight)!];
        assert.equal(ours.length, theirs.length);
        const scale = Math.max(...theirs.map(Math.abs));
        assert.ok(scale > 0);
        const error = theirs.reduce((most, x, i) => Math.max(most, Math.abs(x - ours[i]!)), 0) / scale;
        assert.ok(error < 1e-3, `gradient of ${weight} differs by ${error} of its largest`);
      }
    });
  }
});

function fixBatch(model: Model, batch: number): Model {
  const inputs = model.graph.inputs.map((input) => ({ ...input, dims: [batch, 'sequence'] }));
  return { ...model, graph: { ...model.graph, inputs } };
}

test('stage 1 trains a language model, both towers from its eight bits', async (context) => {
  const base = temporaryFolder(context);
  writeDecoderTower(base, 'qwen3', 'int8', { normalize: true });
  const out = join(temporaryFolder(context), 'towers');
  const pairs = linesFile(context, letterPairs(200));
  const report = await train({
    base,
    pairs,
    out,
    steps: 4,
    batch: 16,
    rate: 0.003,
    threads: 1,
    heldOutDocuments: 40,
    cacheDir: out,
  });
  assert.equal(report.steps, 4);
  const document = await openTower(report.towers.document, {
    cacheDir: temporaryFolder(context),
    inline: true,
  });
  context.after(() => document.close());
  assert.equal(document.manifest.pooling, 'last');
  const { ids } = await document.tokenize('a b');
  assert.equal(ids.at(-1), 2, 'the tokenizer still appends the end of text');
});

describe('students are cut from language models:', () => {
  const random = seededRandom(5);
  const texts = Array.from({ length: 120 }, () =>
    Array.from({ length: 2 + Math.floor(random() * 5) }, () =>
      String.fromCodePoint(97 + Math.floor(random() * 26)),
    ).join(' '),
  );
  for (const [family, form, student] of [
    ['qwen3', 'int8', { kind: 'transformer', layers: 1 }],
    ['gemma3', 'fp32', { kind: 'transformer', layers: 1, width: 16 }],
    ['llama', 'fused', { kind: 'transformer', layers: 1 }],
    ['qwen3', 'fp32', { kind: 'lookup' }],
  ] as const) {
    test(`${family}, ${form}, ${JSON.stringify(student)}`, async (context) => {
      const folder = temporaryFolder(context);
      writeDecoderTower(folder, family, form, { normalize: true });
      const cacheDir = temporaryFolder(context);
      const teacher = await openTower(folder, { cacheDir, inline: true, threads: 1, normalize: false });
      context.after(() => teacher.close());
      const out = temporaryFolder(context);
      writeFileSync(join(out, 'texts.txt'), [...new Set(texts)].join('\n'));
      const source = { texts: join(out, 'texts.txt') };
      const made = {
        teacher,
        student,
        source,
        out: join(out, 'student'),
        cacheDir,
        threads: 1,
        batch: 32,
        rate: 0.01,
      };
      const before = await distill({ ...made, steps: 1, rate: 1e-9 });
      const after = await distill({ ...made, steps: 40 });
      context.diagnostic(
        `held-out cosine ${before.heldOutCosine.toFixed(3)} → ${after.heldOutCosine.toFixed(3)}`,
      );
      assert.ok(
        1 - after.heldOutCosine < 0.8 * (1 - before.heldOutCosine),
        `${before.heldOutCosine} → ${after.heldOutCosine}`,
      );
    });
  }
});
