import { GraphBuilder } from '../onnx/builder.ts';
import { int, type Model } from '../onnx/model.ts';
import { elementCode, type Tensor } from '../onnx/tensor.ts';

/**
 * The student as a graph: `input_ids` and `attention_mask`, int64 [batch, length], become `sentence_embedding`, float32
 * [batch, dimensions]: the sum of the tokens' vectors, not normalised.
 *
 * @param table - float32 [tokens, dimensions]
 */
export function lookupModel(table: Tensor): Model {
  const g = new GraphBuilder();
  const ids = g.input('input_ids', 'int64', ['batch', 'length']);
  const mask = g.input('attention_mask', 'int64', ['batch', 'length']);
  const rows = g.node('Gather', [g.initializer('token_vectors', table), ids]);
  const present = g.node('Cast', [mask], { to: int(elementCode('float32')) });
  const sum = g.node('MatMul', [g.node('Unsqueeze', [present, g.ints([1])]), rows]);
  const dimensions = table.dims[1]!;
  g.output('sentence_embedding', g.node('Squeeze', [sum, g.ints([1])]), 'float32', ['batch', dimensions]);
  return g.build();
}
