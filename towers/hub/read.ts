import { posix } from 'node:path';
import * as z from 'zod';
import { TowerError } from '../errors.ts';
import type { Pooling } from '../space.ts';
import type { HubFacts } from './facts.ts';
import { knownModel } from './known-models.ts';
import { readModules, type HubLayer, type ReadFile, type StatedWidth } from './modules.ts';
import { Config, SentenceConfig, SentenceTransformersConfig, TokenizerConfig } from './schemas.ts';
import { contradictions } from './tokenizer-config.ts';

/** What the files of a model in hub layout say of its use, and what somebody said besides. */
export interface HubUse {
  pooling: Pooling;
  poolPrompt: boolean;
  /** Layers over the pooled vector. */
  layers: HubLayer[];
  normalize: boolean;
  documentPrompt: string;
  queryPrompt: string;
  maxTokens: number;
  truncation: 'right' | 'left';
  /** Whether texts are put in lower case before the tokenizer sees them. */
  lowerCase: boolean;
  /** Components to keep; undefined: all. */
  dimensions: number | undefined;
  license: string;
  /** What the files say about the width of a token's vector. */
  tokenWidths: StatedWidth[];
  /** Where each of these comes from, for people. */
  notes: string[];
}

/** The longest input of a model that does not state one. */
const DEFAULT_MAX_TOKENS = 512;

/** Some tokenizers state an absurdly high limit to say that there is none. */
const ABSURD_MAX_TOKENS = 1_000_000;

/** Names of the prompts that sentence-transformers puts before a document, best first. */
const DOCUMENT_PROMPTS = ['document', 'passage', 'corpus'];

/** What to read. */
export interface HubFiles {
  name: string;
  source: string;
  /** All files of the source. */
  paths: readonly string[];
  /** Contents of the small files. */
  texts: ReadonlyMap<string, string>;
  facts: HubFacts;
}

/**
 * Reads how a model in hub layout is to be used. Defaults are those of sentence-transformers. What is not said at all: mean
 * pooling, and unit length, because nearly all models are made for cosine similarity.
 *
 * @throws {TowerError} `TOWER_MODEL_UNSUPPORTED` for what can't be applied, `TOWER_MANIFEST_INVALID` for a file that can't
 *   be read; the message names file and field
 */
export function readHub({ name, source, paths, texts, facts }: HubFiles): HubUse {
  const refuse = (message: string): TowerError =>
    new TowerError('TOWER_MODEL_UNSUPPORTED', `${source}: ${message}`);
  const read: ReadFile = (path, schema) => readText(texts, path, schema, source);
  const notes: string[] = [];
  const note = (what: string, from: string): void => void notes.push(`${what}: ${from}`);
  const modules = readModules(read, paths, source);
  const inFolder = (file: string): string =>
    [posix.join(modules.transformer, file), file].find((path) => texts.has(path)) ?? file;
  const configFile = inFolder('config.json');
  const config = read(configFile, Config);
  const tokenizerConfig = read('tokenizer_config.json', TokenizerConfig);
  const sentence = read(inFolder('sentence_bert_config.json'), SentenceConfig);
  const conventions = read('config_sentence_transformers.json', SentenceTransformersConfig);
  const contradiction = contradictions(
    tokenizerConfig ?? {},
    read('tokenizer.json', z.looseObject({})) ?? {},
  );
  if (contradiction !== undefined) throw refuse(contradiction);

  const known = knownModel([name, config?._name_or_path, source.replace(/@[^/]*$/, '')]);
  const pooling = facts.pooling ?? modules.pooling ?? known?.pooling ?? 'mean';
  note(
    'pooling',
    facts.pooling !== undefined
      ? 'as you say'
      : modules.pooling !== undefined
        ? 'as the files say'
        : known !== undefined
          ? `known of ${known.family}; the files say nothing`
          : 'the files say nothing; change it with --pooling',
  );

  const stated = conventions?.prompts ?? {};
  const fallbackName = conventions?.default_prompt_name;
  const fallback = fallbackName == null ? '' : stated[fallbackName];
  if (fallback == null) {
    throw refuse(
      `config_sentence_transformers.json, default_prompt_name: there is no prompt "${fallbackName}" among ` +
        `its prompts (${Object.keys(stated).join(', ') || 'none'})`,
    );
  }
  const documentName = DOCUMENT_PROMPTS.find((each) => stated[each] != null);
  const hasPrompts = Object.values(stated).some((each) => each != null && each !== '');
  const byName = hasPrompts ? undefined : known;
  const documentPrompt =
    facts.documentPrompt ?? byName?.documentPrompt ?? stated[documentName ?? ''] ?? fallback;
  const queryPrompt = facts.queryPrompt ?? byName?.queryPrompt ?? stated['query'] ?? fallback;
  if (byName !== undefined && (facts.documentPrompt === undefined || facts.queryPrompt === undefined)) {
    note(
      'prompts',
      `known of ${byName.family}, whose cards ask for them where the files do not; change them with ` +
        '--query-prompt and --document-prompt',
    );
  }
  const defaulted = [
    ...(facts.documentPrompt === undefined && documentName === undefined ? ['documents'] : []),
    ...(facts.queryPrompt === undefined && stated['query'] == null ? ['queries'] : []),
  ];
  if (fallback !== '' && defaulted.length > 0) {
    note('prompts', `default_prompt_name, "${fallbackName}", before ${defaulted.join(' and ')}`);
  }
  const unused = Object.keys(stated).filter(
    (each) =>
      each !== 'query' &&
      each !== documentName &&
      stated[each] != null &&
      !(each === fallbackName && defaulted.length > 0),
  );
  if (unused.length > 0) {
    note('prompts', `not used: ${unused.join(', ')}; take one with --query-prompt or --document-prompt`);
  }

  return {
    pooling,
    poolPrompt: modules.poolPrompt,
    layers: modules.layers,
    normalize: normalizeOf(facts, modules.normalize, conventions?.similarity_fn_name, { refuse, note }),
    documentPrompt,
    queryPrompt,
    maxTokens: facts.maxTokens ?? maxTokensOf(sentence, tokenizerConfig, config),
    truncation: tokenizerConfig?.truncation_side ?? 'right',
    lowerCase: sentence?.do_lower_case === true,
    dimensions: facts.dimensions,
    license: facts.license ?? 'NOASSERTION',
    tokenWidths: [
      ...(modules.tokenWidth === undefined ? [] : [modules.tokenWidth]),
      ...(['hidden_size', 'd_model', 'dim', 'n_embd'] as const).flatMap((field) => {
        const value = config?.[field];
        return value === undefined ? [] : [{ file: configFile, field, value }];
      }),
    ],
    notes,
  };
}

/**
 * Whether vectors are scaled to unit length in the end. Search goes by cosine, which the dot product equals on vectors
 * of unit length alone.
 */
function normalizeOf(
  facts: HubFacts,
  stated: boolean | undefined,
  similarity: string | null | undefined,
  { refuse, note }: { refuse: (message: string) => TowerError; note: (what: string, from: string) => void },
): boolean {
  if (facts.normalize !== undefined) return facts.normalize;
  const file = 'config_sentence_transformers.json, similarity_fn_name';
  const fix =
    'search goes by cosine. Where that is meant, say --normalize for vectors of unit length, or --no-normalize for ' +
    'vectors as they are';
  if (similarity === 'manhattan') throw refuse(`${file}: is manhattan; ${fix}`);
  if (stated === true) return true;
  if (similarity === 'dot' || similarity === 'dot_score' || similarity === 'euclidean') {
    throw refuse(`${file}: is ${similarity}, and modules.json ends in no Normalize; ${fix}`);
  }
  if (stated === false) {
    note('lengths', 'kept, because modules.json ends in no Normalize; search goes by cosine all the same');
    return false;
  }
  note('lengths', 'scaled to 1, because the files say nothing; change it with --no-normalize');
  return true;
}

/** What `sentence_bert_config.json` says holds; else the smaller of what tokenizer and network allow. */
function maxTokensOf(
  sentence: SentenceConfig | undefined,
  tokenizer: TokenizerConfig | undefined,
  config: Config | undefined,
): number {
  const limits = [sentence?.max_seq_length ?? tokenizer?.model_max_length, maxPositions(config)].filter(
    (value): value is number => typeof value === 'number' && value > 0 && value < ABSURD_MAX_TOKENS,
  );
  return limits.length === 0 ? DEFAULT_MAX_TOKENS : Math.min(...limits);
}

type SentenceConfig = z.infer<typeof SentenceConfig>;
type TokenizerConfig = z.infer<typeof TokenizerConfig>;
type Config = z.infer<typeof Config>;

/** RoBERTa and its descendants count positions from the padding token, which has number 1. */
function maxPositions(config: Config | undefined): number | undefined {
  const positions = config?.max_position_embeddings;
  const offset = /roberta|camembert|mpnet/.test(config?.model_type ?? '') ? 2 : 0;
  return positions === undefined ? undefined : positions - offset;
}

function readText<T>(
  texts: ReadonlyMap<string, string>,
  path: string,
  schema: z.ZodType<T>,
  source: string,
): T | undefined {
  const text = texts.get(path);
  if (text === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    const why = error instanceof z.ZodError ? explain(error) : `it is no JSON (${(error as Error).message})`;
    throw new TowerError('TOWER_MANIFEST_INVALID', `${source}: ${path} can't be used:\n${why}`, {
      cause: error,
    });
  }
}

function explain(error: z.ZodError): string {
  const unknown = error.issues.some(({ code }) => code === 'unrecognized_keys');
  const advice =
    '\nA key that is not known may move a vector. Where it moves none, take it out of the file; else export the whole ' +
    'model into the graph, with an output "sentence_embedding".';
  return z.prettifyError(error) + (unknown ? advice : '');
}
