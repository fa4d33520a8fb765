import { OnnxError } from '../errors.ts';
import type { Dimension, Model, ValueInfo } from '../model.ts';
import { prune } from '../prune.ts';
import { trace } from '../trace.ts';
import { ACTIVATIONS } from './activations.ts';
import { ATTENTIONS } from './attention.ts';
import { NORMALIZATIONS } from './normalization.ts';
import { withoutIntegers } from './integers.ts';
import { rewriteNodes } from './nodes.ts';
import { QUANTIZED } from './quantization.ts';
import { ROTARY } from './rotary.ts';
import { VERSIONS } from './versions.ts';
import type { Rewrites } from './rewriting.ts';
import { widen } from './widen.ts';

const REWRITES: Rewrites = {
  ...VERSIONS,
  ...ACTIVATIONS,
  ...ATTENTIONS,
  ...NORMALIZATIONS,
  ...QUANTIZED,
  ...ROTARY,
};

/** Before this, operators broadcast by other rules. */
const OLDEST_OPSET = 9;

/** The newest whose changes have been looked at. */
const NEWEST_OPSET = 24;

/** Inputs of encoders, all of shape [batch, sequence], whatever the exporter calls their dimensions. */
const TOKEN_INPUTS = new Set(['input_ids', 'attention_mask', 'token_type_ids', 'position_ids']);

/**
 * The same encoder in ONNX's own, plain operators of one operator set, in single precision: what is fused or quantised
 * is taken apart, and quantised weights become float32 ones. Keys and values that a decoder keeps for the next token
 * are left out. Token inputs have the dimensions `batch` and `sequence`.
 *
 * @param outputs - the outputs to keep. @default all but those for the next token
 * @throws {OnnxError} `OPERATOR_UNSUPPORTED` for an operator that can't be taken apart; `FEATURE_UNSUPPORTED` for a
 * model that is too old or too new; `REQUEST_INVALID` when ONNX Runtime can't run it.
 */
export async function toPlain(model: Model, outputs?: readonly string[]): Promise<Model> {
  const opset = model.opsets.get('') ?? 0;
  if (opset < OLDEST_OPSET || opset > NEWEST_OPSET) {
    throw new OnnxError(
      'FEATURE_UNSUPPORTED',
      `the model is for operator set ${opset}; export it for one from ${OLDEST_OPSET} to ${NEWEST_OPSET}`,
    );
  }
  const kept =
    outputs ?? model.graph.outputs.map(({ name }) => name).filter((name) => !name.startsWith('present'));
  const source = withoutIntegers(prune(widen(withTokenDimensions(model)), kept));
  const traced = await trace(source);
  const { graph } = source;
  const read = new Set([...graph.nodes.flatMap(({ inputs }) => inputs), ...kept]);
  read.delete('');
  return rewriteNodes(source, (g, node, input) =>
    REWRITES[node.domain === '' ? node.op : `${node.domain}:${node.op}`]?.({
      g,
      node,
      opset,
      input,
      traced: (i) => (node.inputs[i] ? traced.value(node.inputs[i]) : undefined),
      used: (i) => read.has(node.outputs[i] ?? ''),
      result: traced.value(node.outputs[0]!),
    }),
  );
}

function withTokenDimensions(model: Model): Model {
  const rename = (input: ValueInfo): ValueInfo => {
    const [batch, sequence] = TOKEN_INPUTS.has(input.name) ? ['batch', 'sequence'] : [];
    const dims = input.dims?.map((dim, i): Dimension => {
      // No former tokens: an encoder reads everything at once.
      if (typeof dim === 'string' && input.name.startsWith('past')) return i === 0 ? 'batch' : 0;
      return (i === 0 ? batch : i === 1 ? sequence : undefined) ?? dim;
    });
    return dims === undefined ? input : { ...input, dims };
  };
  return { ...model, graph: { ...model.graph, inputs: model.graph.inputs.map(rename) } };
}
