import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readManifest } from '../towers/directory.ts';
import { openTower } from '../towers/open.ts';
import { temporaryFolder, writeTinyTower } from '../towers/testing/tiny-tower.ts';
import { readModel } from './onnx/read.ts';
import { tensor, toNumbers } from './onnx/tensor.ts';
import { halveWeights } from './onnx/halve.ts';
import { GraphBuilder } from './onnx/builder.ts';
import { quantizeTower } from './quantize-tower.ts';
import { tinyBase } from './testing/tiny-base.ts';
import { TINY, tinyBert } from './testing/tiny-models.ts';

/** So that matrices are large enough to be quantised. */
const WIDTH = 32;

const TEXTS = ['hello world', 'star', 'an astronomer says hello . query : star', 'w o r l d s'];

test('a tower with smaller weights has a space of its own, and its manifest says what it keeps', async (context) => {
  const base = tinyBase(context, tinyBert({ ...TINY, width: WIDTH }), WIDTH);
  const cacheDir = temporaryFolder(context);
  const before = await readManifest(base);
  for (const [weights, least] of [
    ['int8', 0.97],
    ['int8-weights', 0.999],
    ['fp16', 0.99999],
  ] as const) {
    const out = join(temporaryFolder(context), weights);
    const report = await quantizeTower({ reference: `file:${base}`, out, weights, texts: TEXTS, cacheDir });
    const manifest = await readManifest(out);
    assert.deepEqual(manifest.quantization, report.quantization);
    const { of, space, cosine } = report.quantization;
    assert.deepEqual([of, space, cosine.texts], [before.name, before.space.fingerprint, TEXTS.length]);
    assert.ok(cosine.lowest >= least && cosine.lowest <= cosine.median, `${weights}: ${cosine.lowest}`);
    assert.notEqual(manifest.space.fingerprint, before.space.fingerprint);
    assert.deepEqual([manifest.name, manifest.role, manifest.license], [weights, 'document', before.license]);
    assert.equal(manifest.batchInvariant, weights === 'int8' ? false : before.batchInvariant);
    assert.ok(statSync(join(out, 'model.onnx')).size < statSync(join(base, 'model.onnx')).size);
    if (weights === 'int8') {
      // Two products with an input of eight bits fit the sixteen that processors without VNNI add them in.
      const { graph } = await readModel(join(out, 'model.onnx'));
      const multiplied = graph.nodes
        .filter(({ op }) => op === 'MatMulInteger')
        .map(({ inputs }) => inputs[1]!);
      assert.ok(multiplied.length > 0);
      for (const name of multiplied) {
        const values = [...toNumbers(graph.initializers.get(name)!)];
        assert.ok(2 * 255 * Math.max(...values.map(Math.abs)) < 2 ** 15);
      }
    }
    // A text has one vector, whatever it shares a run with.
    const tower = await openTower(`file:${out}`, { cacheDir });
    context.after(() => tower.close());
    const tokens = await tower.tokenizeAll(TEXTS);
    const [together, alone] = [await tower.encodeAll(tokens), await tower.encodeAll([tokens[2]!])];
    const { dimensions } = manifest;
    for (const [index, value] of alone.entries()) {
      assert.ok(Math.abs(value - together[2 * dimensions + index]!) < 1e-5);
    }
  }
});

test('what can not be quantised is refused, and leaves no folder', async (context) => {
  const base = tinyBase(context);
  const cacheDir = temporaryFolder(context);
  const out = join(temporaryFolder(context), 'out');
  const request = { reference: `file:${base}`, out, weights: 'fp16', texts: TEXTS, cacheDir } as const;
  await assert.rejects(quantizeTower({ ...request, out: base }), /is there already/);
  await assert.rejects(quantizeTower({ ...request, texts: [] }), /no texts/);
  await assert.rejects(
    quantizeTower({ ...request, weights: 'int8' }),
    /no matrix or table that is large enough/,
  );
  const query = temporaryFolder(context);
  writeTinyTower(query, { role: 'query' });
  await assert.rejects(quantizeTower({ ...request, reference: `file:${query}` }), /is a query tower.*distil/);
  await assert.rejects(quantizeTower({ ...request, datasets: [query] }), { reason: 'DATASET_INVALID' });
  assert.equal(existsSync(out), false);
});

test('a weight beyond half precision is refused by name', () => {
  const g = new GraphBuilder();
  const input = g.input('x', 'float32', ['n', 2]);
  const weight = g.initializer('wide', tensor('float32', [2, 2], Float32Array.of(1, 2, 70_000, 4)));
  g.output('y', g.node('MatMul', [input, weight]), 'float32', ['n', 2]);
  assert.throws(() => halveWeights(g.build()), /"wide" has 70000, and half precision ends at 65504/);
});
