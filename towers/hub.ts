import * as z from 'zod';
import { TowerError } from './errors.ts';
import type { TowerManifest } from './manifest.ts';
import { fingerprint, type Pooling, type SpaceDefinition } from './space.ts';
import { TextTokenizer } from './tokenizer.ts';

/** Facts about a tower in hub layout that its files do not state. */
export interface HubFacts {
  license?: string;
  pooling?: Pooling;
  normalize?: boolean;
  maxTokens?: number;
}

/** The files of a tower in the layout of the Hugging Face hub. */
export interface HubPlan {
  /** The ONNX file. */
  model: string;
  /** Its external data. */
  data: readonly string[];
  /** Small files, those of {@link HUB_FILES} that are there. */
  small: readonly string[];
}

/** ONNX files to choose from if nobody names one, best first: full exports, then compressed ones. */
const MODELS = [
  'onnx/model.onnx',
  'model.onnx',
  'onnx/model_quantized.onnx',
  'onnx/model_int8.onnx',
  'onnx/model_q4.onnx',
  'onnx/model_fp16.onnx',
];

/** Files that say how a model is to be used. */
const HUB_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'config.json',
  'modules.json',
  '1_Pooling/config.json',
  'sentence_bert_config.json',
  'config_sentence_transformers.json',
];

/**
 * The longest passage window. A model may read more, but one vector for a longer text says less about each part of it. On
 * SciFact, all-MiniLM-L6-v2 has nDCG@10 0.640 with 256 tokens and 0.633 with 512.
 */
const MAX_WINDOW_TOKENS = 510;

/** Share of a window that the next passage repeats. */
const OVERLAP = 1 / 8;

/** The longest input of a model that does not state one. */
const DEFAULT_MAX_TOKENS = 512;

/** Some tokenizers state an absurdly high limit to say that there is none. */
const ABSURD_MAX_TOKENS = 1_000_000;

/**
 * Chooses the files to fetch.
 *
 * @param files all files of the tower
 * @param model the ONNX file that the reference names
 * @throws {TowerError} `TOWER_NOT_FOUND`
 */
export function planHub(files: readonly string[], model: string | undefined, where: string): HubPlan {
  const onnx = files.filter((path) => path.endsWith('.onnx'));
  const only = onnx.length === 1 ? onnx[0] : undefined;
  const chosen = model ?? MODELS.find((path) => onnx.includes(path)) ?? only;
  const notFound = (why: string): TowerError =>
    new TowerError('TOWER_NOT_FOUND', `${where}: ${why}`, { metadata: { reference: where } });
  if (chosen === undefined || !onnx.includes(chosen)) {
    const choice =
      onnx.length === 0 ? 'it has no ONNX file' : `it has ${onnx.join(', ')}: name one after "#"`;
    throw notFound(`${model === undefined ? 'no model found' : `no "${model}"`}; ${choice}`);
  }
  if (!files.includes('tokenizer.json')) throw notFound('it has no tokenizer.json (save the fast tokenizer)');
  return {
    model: chosen,
    data: files.filter((path) => path.startsWith(`${chosen}_data`) || path.startsWith(`${chosen}.data`)),
    small: HUB_FILES.filter((path) => files.includes(path)),
  };
}

const Config = z.object({
  hidden_size: z.int().optional(),
  d_model: z.int().optional(),
  dim: z.int().optional(),
  n_embd: z.int().optional(),
  max_position_embeddings: z.int().optional(),
  model_type: z.string().optional(),
});
const TokenizerConfig = z.object({
  model_max_length: z.number().optional(),
  truncation_side: z.enum(['right', 'left']).optional(),
});
const PoolingConfig = z.object({
  word_embedding_dimension: z.int().optional(),
  pooling_mode: z.union([z.string(), z.array(z.string())]).optional(),
  pooling_mode_cls_token: z.boolean().optional(),
  pooling_mode_mean_tokens: z.boolean().optional(),
  pooling_mode_lasttoken: z.boolean().optional(),
});
const SentenceConfig = z.object({ max_seq_length: z.int().positive().nullish() });
const SentenceTransformersConfig = z.object({
  prompts: z.record(z.string(), z.string()).optional(),
  default_prompt_name: z.string().nullish(),
  similarity_fn_name: z.string().nullish(),
});
const Modules = z.array(z.object({ type: z.string() }));

/** The input of {@link hubManifest}. */
export interface HubContents {
  name: string;
  source: string;
  plan: HubPlan;
  /** Contents of the small files. */
  texts: ReadonlyMap<string, string>;
  /** Path in the source → sha256, of all files of the plan. */
  hashes: ReadonlyMap<string, string>;
  facts: HubFacts;
  /** Whether the graph has a pooled output of its own. */
  pooledOutput: boolean;
}

/**
 * Makes the manifest of a document tower in hub layout. Defaults are those of sentence-transformers: mean pooling, and
 * vectors of unit length unless the model is made for the dot product, because all other models are made for cosine
 * similarity.
 *
 * @throws {TowerError} `TOWER_MODEL_UNSUPPORTED`, `TOWER_MANIFEST_INVALID`
 */
export function hubManifest(contents: HubContents): TowerManifest {
  const { name, source, plan, texts, hashes, facts, pooledOutput } = contents;
  const read = <T>(path: string, schema: z.ZodType<T>): T | undefined => {
    const text = texts.get(path);
    if (text === undefined) return undefined;
    try {
      return schema.parse(JSON.parse(text));
    } catch (error) {
      const why = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
      throw new TowerError('TOWER_MANIFEST_INVALID', `${source}: ${path} can't be used:\n${why}`, {
        cause: error,
      });
    }
  };
  const config = read('config.json', Config);
  const tokenizerConfig = read('tokenizer_config.json', TokenizerConfig);
  const poolingConfig = read('1_Pooling/config.json', PoolingConfig);
  const sentence = read('sentence_bert_config.json', SentenceConfig);
  const conventions = read('config_sentence_transformers.json', SentenceTransformersConfig);
  const modules = read('modules.json', Modules)?.map(({ type }) => type.split('.').at(-1)) ?? [];

  if (modules.includes('Dense') && !pooledOutput) {
    throw new TowerError(
      'TOWER_MODEL_UNSUPPORTED',
      `${source}: the model ends in a dense layer that its ONNX file leaves out; export it with sentence-transformers, ` +
        'so that it has an output "sentence_embedding"',
    );
  }
  const width = config?.hidden_size ?? config?.d_model ?? config?.dim ?? config?.n_embd;
  const dimensions = poolingConfig?.word_embedding_dimension ?? width;
  if (dimensions === undefined) {
    throw new TowerError('TOWER_MANIFEST_INVALID', `${source}: config.json does not say hidden_size`);
  }
  const stated = [sentence?.max_seq_length, tokenizerConfig?.model_max_length, maxPositions(config)].filter(
    (value): value is number => typeof value === 'number' && value < ABSURD_MAX_TOKENS,
  );
  const maxTokens = facts.maxTokens ?? (stated.length === 0 ? DEFAULT_MAX_TOKENS : Math.min(...stated));
  const truncation = tokenizerConfig?.truncation_side ?? 'right';
  const prompts = conventions?.prompts ?? {};
  const fallback = prompts[conventions?.default_prompt_name ?? ''] ?? '';
  const prompt = prompts['document'] ?? prompts['passage'] ?? fallback;
  const queryPrompt = prompts['query'] ?? fallback;

  const tokenizer = new TextTokenizer(
    JSON.parse(texts.get('tokenizer.json')!) as object,
    JSON.parse(texts.get('tokenizer_config.json') ?? '{}') as object,
    { maxTokens, truncation },
  );
  const tokens = Math.min(tokenizer.room - tokenizer.ids(prompt).length, MAX_WINDOW_TOKENS);
  const hashesOf = (paths: Readonly<Record<string, string>>): Record<string, string> =>
    Object.fromEntries(Object.entries(paths).map(([to, from]) => [to, hashes.get(from)!]));
  const weights = hashesOf({
    'model.onnx': plan.model,
    // The graph refers to its data by file name.
    ...Object.fromEntries(plan.data.map((path) => [path.split('/').at(-1)!, path])),
  });
  const tokenizerFiles = hashesOf(
    Object.fromEntries(plan.small.filter((path) => path.startsWith('tokenizer')).map((path) => [path, path])),
  );
  const pooling = facts.pooling ?? poolingOf(poolingConfig, source);
  const normalize =
    facts.normalize ??
    (modules.includes('Normalize') || !(conventions?.similarity_fn_name ?? '').startsWith('dot'));
  const space: SpaceDefinition = {
    weights,
    tokenizer: tokenizerFiles,
    documentPrompt: prompt,
    maxTokens,
    truncation,
    pooling,
    normalize,
    dimensions,
    passageWindow: { tokens, overlap: Math.round(tokens * OVERLAP) },
  };
  return {
    name,
    role: 'document',
    space: { ...space, fingerprint: fingerprint(space) },
    dimensions,
    pooling,
    normalize,
    prompt,
    ...(queryPrompt === prompt ? {} : { queryPrompt }),
    maxTokens,
    files: { ...weights, ...tokenizerFiles },
    license: facts.license ?? 'NOASSERTION',
    source,
  };
}

/** RoBERTa and its descendants count positions from the padding token, which has number 1. */
function maxPositions(config: z.infer<typeof Config> | undefined): number | undefined {
  const positions = config?.max_position_embeddings;
  const offset = /roberta|camembert|mpnet/.test(config?.model_type ?? '') ? 2 : 0;
  return positions === undefined ? undefined : positions - offset;
}

function poolingOf(config: z.infer<typeof PoolingConfig> | undefined, source: string): Pooling {
  if (config === undefined) return 'mean';
  const named = typeof config.pooling_mode === 'string' ? [config.pooling_mode] : (config.pooling_mode ?? []);
  const modes: Pooling[] = [];
  if (config.pooling_mode_mean_tokens === true || named.includes('mean')) modes.push('mean');
  if (config.pooling_mode_cls_token === true || named.includes('cls')) modes.push('cls');
  if (config.pooling_mode_lasttoken === true || named.includes('lasttoken')) modes.push('last');
  if (modes.length === 1) return modes[0]!;
  throw new TowerError(
    'TOWER_MODEL_UNSUPPORTED',
    `${source}: 1_Pooling/config.json asks for another pooling than mean, cls or last token`,
  );
}
