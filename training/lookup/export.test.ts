import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { dequantize, lookupModel, quantize } from './export.ts';

const VECTORS = Float32Array.of(0, 0, 0, 1, -2, 0.5, 127, 64, -3, 1e-6, 2e-6, -1e-6);

test('eight bits keep each component to half a step of its row, whatever the size of other rows', () => {
  const table = quantize(VECTORS, 3);
  const back = dequantize(table, 3);
  for (let token = 0; token < 4; token++) {
    const step = table.scales[token]!;
    for (let index = 3 * token; index < 3 * token + 3; index++) {
      assert.ok(Math.abs(back[index]! - VECTORS[index]!) <= step * 0.5001);
    }
  }
  assert.deepEqual([...table.values.subarray(0, 3)], [0, 0, 0]);
  assert.equal(table.values[4], -127);
});

test('the graph sums the vectors of a text, without what is masked', async (context) => {
  const table = quantize(VECTORS, 3);
  const vectors = dequantize(table, 3);
  const session = await InferenceSession.create(lookupModel(table, 3));
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
      let expected = 0;
      for (let at = 3 * row; at < 3 * row + 3; at++)
        expected += mask[at]! * vectors[3 * ids[at]! + dimension]!;
      const actual = Number(output!.data[3 * row + dimension]);
      assert.ok(
        Math.abs(actual - expected) <= 1e-6 * Math.max(1, Math.abs(expected)),
        `${actual} is not ${expected}`,
      );
    }
  }
});
