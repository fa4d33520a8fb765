import type { Model } from '../onnx/model.ts';

/** Put before every name by what wraps a model: sentence-transformers, a head, an exporter. */
const WRAPPERS =
  /^(?:\d+\.|auto_model\.|module\.|model\.|bert\.|roberta\.|distilbert\.|mpnet\.|encoder_model\.)+/;

/** What exporters put after a weight's name. */
const SUFFIXES = /(?:_Q\d+|_int8|_quantized|_fp16|_dequantized_\d+)+$/;

/** Parts of names for which exporters have names of their own, in the words of Hugging Face's models. */
const ALIASES: readonly [pattern: RegExp, words: string][] = [
  [/^layers\.-1\.embeddings_norm_layernorm\./, 'embeddings.LayerNorm.'],
  [/^(?:encoder\.layers?|transformer\.layers?|layers?)\.(\d+)\./, 'layer.$1.'],
  [/\.(?:MatMul|Add|Gemm)\./, '.'],
  [/^layer\.\d+\.final_norm_layernorm\./, 'norm.'],
  [/\.self_attn\./, '.attn.'],
  [/\.attn\.q_proj\./, '.attention.self.query.'],
  [/\.attn\.k_proj\./, '.attention.self.key.'],
  [/\.attn\.v_proj\./, '.attention.self.value.'],
  [/\.attn\.o_proj\./, '.attention.output.dense.'],
  [/\.attention_output_norm_layernorm\./, '.attention.output.LayerNorm.'],
  [/\.mlp_output_norm_layernorm\./, '.output.LayerNorm.'],
  [/\.mlp\.fc1\./, '.intermediate.dense.'],
  [/\.mlp\.fc2\./, '.output.dense.'],
  [/\.gamma$/, '.weight'],
  [/\.beta$/, '.bias'],
];

/** One name for a weight, whatever wrapped or exported it. */
export function canonicalName(name: string): string {
  let found = name.replace(/^\.+/, '').replace(SUFFIXES, '').replace(WRAPPERS, '');
  for (const [pattern, words] of ALIASES) found = found.replace(pattern, words);
  return found;
}

/** A weight of a graph, and what a file of weights may call it. */
export interface NamedWeight {
  /** Its name in the graph. */
  name: string;
  /** What it may be called, canonical. */
  candidates: string[];
  /** Whether the graph has it [in, out], where a file has it [out, in]: the right side of a product. */
  transposed: boolean;
}

/**
 * Names the weights of a graph as Hugging Face's models do: by their own names, or, where an exporter has replaced these
 * by numbers, by the place of the product that they are in: `/encoder/layer.0/attention/self/query/MatMul`.
 */
export function nameWeights({ graph }: Model, weights: readonly string[]): NamedWeight[] {
  return weights.map((name) => {
    const product = graph.nodes.find(({ op, inputs }) => op === 'MatMul' && inputs[1] === name);
    const flipped = graph.nodes.some(
      ({ op, inputs, attributes }) =>
        op === 'Gemm' && inputs[1] === name && (attributes['transB']?.value ?? 0) === 0,
    );
    const candidates = [canonicalName(name)];
    if (product !== undefined) {
      const place = product.name
        .split('/')
        .filter((part) => part !== '')
        .slice(0, -1);
      if (place.length > 0) candidates.push(canonicalName(`${place.join('.')}.weight`));
    }
    return { name, candidates, transposed: product !== undefined || flipped };
  });
}
