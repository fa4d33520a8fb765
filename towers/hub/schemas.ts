import * as z from 'zod';

/**
 * Schemas of the files that say how a model of the hub is used. An unknown key is an error, because it may move a vector.
 * A key that moves none is listed in {@link HARMLESS} with the reason.
 */

/** File → key → why it moves no vector. */
const HARMLESS = {
  module: {
    idx: 'sentence-transformers goes by the order of the list',
    name: 'a label',
  },
  pooling: {
    __version__: 'which release wrote the file',
  },
  sentence: {
    unpad_inputs: 'how a batch is laid out in memory',
    tokenizer_class: 'the tokenizer is read from tokenizer.json',
  },
  conventions: {
    __version__: 'which releases wrote the file',
  },
  tokenizer: {
    // How text comes out of ids again, or how templates for chats are filled in.
    chat_template: 'for chats; sentence-transformers applies none to plain text',
    clean_up_tokenization_spaces: 'decoding',
    spaces_between_special_tokens: 'decoding',
    errors: 'decoding',
    skip_special_tokens: 'decoding',
    // The same as in tokenizer.json, which decides.
    tokenizer_class: 'tokenizer.json decides',
    auto_map: 'code of its own; tokenizer.json decides',
    added_tokens_decoder: 'tokenizer.json has the added tokens',
    additional_special_tokens: 'tokenizer.json has the added tokens',
    extra_special_tokens: 'tokenizer.json has the added tokens',
    model_specific_special_tokens: 'tokenizer.json has the added tokens',
    special_tokens: 'tokenizer.json has the added tokens',
    bos_token: 'a name; tokenizer.json puts the tokens around a text',
    eos_token: 'a name; tokenizer.json puts the tokens around a text',
    unk_token: 'a name; tokenizer.json says what is unknown',
    sep_token: 'a name; tokenizer.json puts the tokens around a text',
    cls_token: 'a name; tokenizer.json puts the tokens around a text',
    pad_token: 'padding is masked',
    mask_token: 'for training',
    image_token: 'for images',
    audio_token: 'for sound',
    boi_token: 'for images',
    eoi_token: 'for images',
    boa_token: 'for sound',
    eoa_token: 'for sound',
    sp_model_kwargs: 'of the slow tokenizer',
    vocab_file: 'of the slow tokenizer',
    merges_file: 'of the slow tokenizer',
    tokenizer_file: 'tokenizer.json is that file',
    basic_tokenizer: 'of the slow tokenizer',
    never_split: 'of the slow tokenizer',
    do_basic_tokenize: 'of the slow tokenizer',
    legacy: 'of the slow tokenizer',
    from_slow: 'how tokenizer.json was made',
    use_fast: 'there is no other here',
    backend: 'which library reads tokenizer.json',
    is_local: 'where it was loaded from',
    local_files_only: 'where it was loaded from',
    name_or_path: 'where it was loaded from',
    _name_or_path: 'where it was loaded from',
    special_tokens_map_file: 'where it was loaded from',
    tokenizer_type: 'a label',
    __version__: 'which release wrote the file',
    processor_class: 'a label',
    model_input_names: 'the graph says its inputs',
    // Padding is masked, so side, length and kind of it move nothing.
    padding_side: 'padding is masked',
    padding: 'padding is masked',
    pad_token_id: 'padding is masked',
    pad_token_type_id: 'padding is masked',
    pad_to_multiple_of: 'padding is masked',
    pad_to_max_length: 'padding is masked',
    // sentence-transformers sets these anew for each call.
    max_length: 'set anew for each call, to the longest input',
    stride: 'for texts that overflow, which are cut',
    truncation: 'set anew for each call',
    truncation_strategy: 'of single texts, all strategies cut alike',
    verbose: 'messages',
    use_default_system_prompt: 'for chats',
    return_token_type_ids: 'the graph says its inputs',
  },
} as const satisfies Record<string, Record<string, string>>;

/** Keys of a file that move no vector, whatever they say. */
function harmless<File extends keyof typeof HARMLESS>(
  file: File,
): Record<keyof (typeof HARMLESS)[File], z.ZodOptional<z.ZodUnknown>> {
  const keys = Object.keys(HARMLESS[file]) as (keyof (typeof HARMLESS)[File])[];
  return Object.fromEntries(keys.map((key) => [key, z.unknown().optional()])) as Record<
    keyof (typeof HARMLESS)[File],
    z.ZodOptional<z.ZodUnknown>
  >;
}

/** A value that changes nothing; another one can't be applied here. */
function only<T extends string | number | boolean | null>(...values: [T, ...T[]]) {
  return z
    .custom<T>((value) => values.includes(value as T), {
      error: ({ input }) =>
        `is ${JSON.stringify(input)}; only ${values.map((each) => JSON.stringify(each)).join(' or ')} can be applied ` +
        'here: export the whole model into the graph, with an output "sentence_embedding"',
    })
    .optional();
}

const empty = z
  .union([z.null(), z.strictObject({}), z.strictObject({ trust_remote_code: z.boolean() })], {
    error: () => 'holds settings that the export may not have: export the model with them, and empty this',
  })
  .optional();

/**
 * `config.json` describes the network, which the ONNX graph is: of its many keys these alone say something that the
 * graph does not, or that can contradict it.
 */
export const Config = z.object({
  hidden_size: z.int().positive().optional(),
  d_model: z.int().positive().optional(),
  dim: z.int().positive().optional(),
  n_embd: z.int().positive().optional(),
  max_position_embeddings: z.int().optional(),
  vocab_size: z.int().positive().optional(),
  model_type: z.string().optional(),
  _name_or_path: z.string().optional(),
});

export const TokenizerConfig = z.strictObject({
  ...harmless('tokenizer'),
  model_max_length: z.number().nullish(),
  truncation_side: z.enum(['right', 'left']).optional(),
  // Transformers rebuilds parts of the tokenizer from these: they must say what tokenizer.json says.
  do_lower_case: z.boolean().optional(),
  strip_accents: z.boolean().nullish(),
  tokenize_chinese_chars: z.boolean().optional(),
  clean_text: z.boolean().optional(),
  add_prefix_space: z.boolean().nullish(),
  add_bos_token: z.boolean().nullish(),
  add_eos_token: z.boolean().nullish(),
  trim_offsets: z.boolean().optional(),
  remove_space: z.boolean().optional(),
  keep_accents: z.boolean().nullish(),
  split_special_tokens: only(false, null),
});

const flag = z.boolean().optional();
export const PoolingConfig = z.strictObject({
  ...harmless('pooling'),
  word_embedding_dimension: z.int().positive().optional(),
  embedding_dimension: z.int().positive().optional(),
  pooling_mode: z.union([z.string(), z.array(z.string()).min(1)]).optional(),
  pooling_mode_cls_token: flag,
  pooling_mode_max_tokens: flag,
  pooling_mode_mean_tokens: flag,
  pooling_mode_mean_sqrt_len_tokens: flag,
  pooling_mode_weightedmean_tokens: flag,
  pooling_mode_lasttoken: flag,
  include_prompt: flag,
});

export const SentenceConfig = z.strictObject({
  ...harmless('sentence'),
  max_seq_length: z.int().positive().nullish(),
  do_lower_case: z.boolean().optional(),
  transformer_task: only('feature-extraction'),
  modality_config: z
    .strictObject({
      text: z.strictObject({
        method: z.literal('forward'),
        method_output_name: z.union([
          z.literal('last_hidden_state'),
          z.tuple([z.literal('last_hidden_state')]),
        ]),
      }),
    })
    .optional(),
  module_output_name: only('token_embeddings'),
  processing_kwargs: empty,
  query_length: only(null),
  document_length: only(null),
  query_expansion: only(null),
  model_args: empty,
  model_kwargs: empty,
  config_args: empty,
  config_kwargs: empty,
  tokenizer_args: empty,
  processor_kwargs: empty,
});

export const SentenceTransformersConfig = z.strictObject({
  ...harmless('conventions'),
  model_type: only('SentenceTransformer'),
  prompts: z.record(z.string(), z.string().nullable()).optional(),
  default_prompt_name: z.string().nullish(),
  similarity_fn_name: z.enum(['cosine', 'dot', 'dot_score', 'cos_sim', 'euclidean', 'manhattan']).nullish(),
});

export const Modules = z
  .array(
    z.strictObject({
      ...harmless('module'),
      path: z.string(),
      type: z.string(),
      kwargs: z
        .array(z.string())
        .max(0, 'the module takes arguments with each text, and there is no way to give these here')
        .optional(),
    }),
  )
  .min(1);

/** Where a module reads and writes: the pooled vector. */
const onPooled = only('sentence_embedding');
const onPooledOrSame = only('sentence_embedding', null);

export const DenseConfig = z.strictObject({
  in_features: z.int().positive(),
  out_features: z.int().positive(),
  bias: z.boolean().optional(),
  activation_function: z.string().optional(),
  module_input_name: onPooled,
  module_output_name: onPooledOrSame,
  use_residual: z.boolean().optional(),
});

export const LayerNormConfig = z.strictObject({ dimension: z.int().positive() });

export const NormalizeConfig = z.strictObject({
  module_input_name: onPooled,
  module_output_name: onPooledOrSame,
});

/** Dropout is for training. */
export const DropoutConfig = z.strictObject({ dropout: z.number().optional() });
