import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { quantizeRows, quantizeWeights } from '../onnx/quantize.ts';
import { float32 } from '../onnx/tensor.ts';
import { encodeModel } from '../onnx/write.ts';
import { lookupModel } from './model.ts';

const [TOKENS, DIMENSIONS] = [600, 3];
const VECTORS = Float32Array.from({ length: TOKENS * DIMENSIONS }, (_, i) => Math.sin(i) * 10 ** (i % 5));

test('the graph sums the vectors of a text, without what is masked, in eight bits to within their steps', async (context) => {
  const model = lookupModel(float32([TOKENS, DIMENSIONS], VECTORS));
  const { scales } = quantizeRows(VECTORS, DIMENSIONS);
  for (const [graph, step] of [
    [model, 1e-6],
    [quantizeWeights(model), 0.51],
  ] as const) {
    const session = await InferenceSession.create(encodeModel(graph));
    context.after(() => session.release());
    assert.deepEqual(session.inputNames, ['input_ids', 'attention_mask']);
    const ids = [1, 2, 2, 3, 1, 2];
    const mask = [1, 1, 1, 1, 0, 0];
    const { sentence_embedding: output } = await session.run({
      input_ids: new Tensor('int64', BigInt64Array.from(ids, BigInt), [2, 3]),
      attention_mask: new Tensor('int64', BigInt64Array.from(mask, BigInt), [2, 3]),
    });
    assert.deepEqual(output!.dims, [2, 3]);
    for (let row = 0; row < 2; row++) {
      for (let dimension = 0; dimension < 3; dimension++) {
        let [expected, room] = [0, 0];
        for (let at = 3 * row; at < 3 * row + 3; at++) {
          expected += mask[at]! * VECTORS[3 * ids[at]! + dimension]!;
          room +=
            mask[at]! * step * Math.max(scales[ids[at]!]!, Math.abs(VECTORS[3 * ids[at]! + dimension]!));
        }
        const actual = Number(output!.data[3 * row + dimension]);
        assert.ok(Math.abs(actual - expected) <= room, `${actual} is not ${expected} to within ${room}`);
      }
    }
  }
});
