import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TowerCache } from '../cache.ts';
import { TowerError } from '../errors.ts';
import { knownModel } from '../hub/known-models.ts';
import { type Golden, GOLDEN_FILE, goldenText, hashGolden, recordGolden } from '../golden/golden.ts';
import type { TowerManifest } from '../manifest.ts';
import type { RemoteLocation } from '../reference.ts';
import { nameFrom } from '../sources/source.ts';
import { fingerprint, REMOTE_POOLING, type SpaceDefinition } from '../space.ts';
import { TextTokenizer } from '../tokenizer/tokenizer.ts';
import { CharacterCounter, EndpointCounter, FileCounter, type TextCounter } from './counting.ts';
import type { ServerFacts } from './facts.ts';
import { findEndpoint, type Found } from './find.ts';
import { compareCounts, requireReading } from './probes.ts';
import type { Price, RemoteRuntime, TokenizerKind } from './runtime.ts';
import { openRemoteTower } from './tower.ts';

/** Longest input where neither server nor caller says: all models that we know take it. */
const DEFAULT_MAX_TOKENS = 512;

/** Longest input that is taken without being asked for: to try it out costs as many tokens. */
const MOST_DEFAULT_TOKENS = 8_192;

/** As for local towers: what a passage holds, and repeats of the one before. */
const MAX_WINDOW_TOKENS = 510;
const OVERLAP = 1 / 8;

/** Room that is left to a conservative count: it needs about twice the tokens. */
const MIN_ROOM = 8;

/** What whoever makes a remote tower says of it. */
export interface RemoteFacts {
  name?: string | undefined;
  documentPrompt?: string | undefined;
  queryPrompt?: string | undefined;
  maxTokens?: number | undefined;
  dimensions?: number | undefined;
  normalize?: boolean | undefined;
  revision?: string | undefined;
  license?: string | undefined;
  price?: Price | undefined;
  keyEnv?: string | undefined;
  /** A directory with `tokenizer.json`. */
  tokenizer?: string | undefined;
  maxConcurrency?: number | undefined;
  maxBatchInputs?: number | undefined;
  maxBatchTokens?: number | undefined;
  timeoutMs?: number | undefined;
}

/** What was found at an endpoint, and what was assumed. */
export interface RemoteReport {
  url: string;
  model: string;
  revision: string | undefined;
  dimensions: number;
  maxTokens: number;
  prompts: { document: string; query: string };
  normalize: boolean;
  /** Whether the server's vectors have unit length by themselves. */
  unitLength: boolean;
  /** How far the golden vectors moved while they were recorded, alone and with others: a cosine distance. */
  moved: number;
  tokenizer: TokenizerKind;
  countsAgree: boolean;
  /** What nobody said, in words. */
  assumed: string[];
  /** Tokens that making the tower has cost. */
  tokensSpent: number;
}

/** What making a tower needs of its surroundings. */
export interface MakeContext {
  cache: TowerCache;
  /** Folder for what is not complete yet. */
  parts: string;
}

/**
 * Makes the manifest of a model that a server runs, by asking it: dimensions, order, the name it answers by, whether it
 * reads all of a long text. What neither server nor caller says has a default, which is reported.
 *
 * @throws {TowerError} `ENDPOINT_UNAVAILABLE`, `ENDPOINT_REFUSED`, `ENDPOINT_ANSWER_INVALID`, `TOWER_MODEL_UNSUPPORTED`
 */
export async function makeRemoteTower(
  location: RemoteLocation,
  source: string,
  facts: RemoteFacts,
  { cache, parts }: MakeContext,
): Promise<{ manifest: TowerManifest; report: RemoteReport }> {
  const assumed: string[] = [];
  const found = await findEndpoint(location, facts);
  try {
    const server = await found.endpoint.wire.describe();
    const tokenizer = await tokenizerOf(facts, { cache, parts });
    const { counter, kind, special, countsAgree, maxTokens } = await counterOf(
      found,
      { facts, server, files: tokenizer },
      assumed,
    );
    const known = knownModel([location.model]);
    const { documentPrompt, queryPrompt } = promptsOf(facts, known, assumed);
    const normalize = facts.normalize ?? true;
    if (facts.normalize === undefined && !found.unitLength) {
      assumed.push(
        'vectors are scaled to unit length, which they do not have as they come (--no-normalize keeps them)',
      );
    }
    const room = counter.room - (await counter.count(documentPrompt));
    if (room < MIN_ROOM) {
      throw new TowerError(
        'TOWER_MODEL_UNSUPPORTED',
        `the document prompt leaves ${room} of ${maxTokens} tokens for a text; shorten it`,
      );
    }
    await requireReading(found, counter);
    const revision = facts.revision ?? server.revision;
    const tokens = Math.min(room, MAX_WINDOW_TOKENS);
    const space: SpaceDefinition = {
      weights: {},
      tokenizer: tokenizer.hashes,
      documentPrompt,
      maxTokens,
      truncation: 'right',
      pooling: REMOTE_POOLING,
      normalize,
      dimensions: found.dimensions,
      passageWindow: { tokens, overlap: Math.round(tokens * OVERLAP) },
      model: { name: location.model, ...(revision !== undefined && { revision }) },
    };
    const runtime: RemoteRuntime = {
      kind: 'remote',
      protocol: location.protocol,
      url: found.url,
      model: location.model,
      ...(found.answersAs !== undefined && { answersAs: found.answersAs }),
      ...(found.asks !== undefined && { dimensions: found.asks }),
      ...(found.cutFrom !== undefined && { cutFrom: found.cutFrom }),
      tokenizerKind: kind,
      countsAgree,
      ...(special !== 0 && { extraTokens: special }),
      ...limitsOf(facts, server),
      ...(facts.keyEnv !== undefined && { keyEnv: facts.keyEnv }),
      ...(facts.price !== undefined && { price: facts.price }),
    };
    const draft: TowerManifest = {
      name: facts.name ?? nameFrom(location.model),
      role: 'document',
      space: { ...space, fingerprint: fingerprint(space) },
      dimensions: found.dimensions,
      pooling: REMOTE_POOLING,
      normalize,
      prompt: documentPrompt,
      ...(queryPrompt !== documentPrompt && { queryPrompt }),
      maxTokens,
      files: tokenizer.hashes,
      runtime,
      license: facts.license ?? 'NOASSERTION',
      source,
    };
    const { golden, spent } = await recordGoldenOf(draft, () => tokenizerFrom(tokenizer, maxTokens));
    const goldenPath = join(parts, GOLDEN_FILE);
    await writeFile(goldenPath, goldenText(golden));
    const pinned: SpaceDefinition = { ...space, golden: hashGolden(golden) };
    const manifest: TowerManifest = {
      ...draft,
      space: { ...pinned, fingerprint: fingerprint(pinned) },
      files: { ...draft.files, [GOLDEN_FILE]: await cache.adopt(goldenPath) },
    };
    const report: RemoteReport = {
      url: found.url,
      model: location.model,
      revision,
      dimensions: found.dimensions,
      maxTokens,
      prompts: { document: documentPrompt, query: queryPrompt },
      normalize,
      unitLength: found.unitLength,
      tokenizer: kind,
      countsAgree,
      assumed,
      moved: golden.moved,
      tokensSpent: found.spending.spent.tokens + spent,
    };
    return { manifest, report };
  } finally {
    await found.endpoint.close();
  }
}

/** Encodes the probes by which the model is known again. */
async function recordGoldenOf(
  manifest: TowerManifest,
  tokenizer: () => Promise<TextTokenizer>,
): Promise<{ golden: Golden; spent: number }> {
  const tower = await openRemoteTower({ manifest, directory: '', runtime: manifest.runtime!, tokenizer });
  try {
    const where = { device: 'remote', processor: 'unknown', runtime: manifest.runtime!.url };
    return { golden: await recordGolden(tower, { where }), spent: tower.spent!.tokens };
  } finally {
    await tower.close();
  }
}

function tokenizerFrom({ json }: TokenizerFiles, maxTokens: number): Promise<TextTokenizer> {
  return TextTokenizer.load(JSON.stringify(json), { maxTokens, truncation: 'right' });
}

function limitsOf(
  facts: RemoteFacts,
  server: ServerFacts,
): Pick<RemoteRuntime, 'maxBatchInputs' | 'maxBatchTokens' | 'maxConcurrency' | 'timeoutMs'> {
  const { maxBatchInputs = server.maxBatchInputs, maxBatchTokens, maxConcurrency, timeoutMs } = facts;
  return {
    ...(maxBatchInputs !== undefined && { maxBatchInputs }),
    ...(maxBatchTokens !== undefined && { maxBatchTokens }),
    ...(maxConcurrency !== undefined && { maxConcurrency }),
    ...(timeoutMs !== undefined && { timeoutMs }),
  };
}

function promptsOf(
  facts: RemoteFacts,
  known: ReturnType<typeof knownModel>,
  assumed: string[],
): { documentPrompt: string; queryPrompt: string } {
  const documentPrompt = facts.documentPrompt ?? known?.documentPrompt ?? '';
  const queryPrompt = facts.queryPrompt ?? known?.queryPrompt ?? documentPrompt;
  if (facts.documentPrompt === undefined || facts.queryPrompt === undefined) {
    const why = known ? `as the card of ${known.family} says` : 'as nobody says otherwise';
    assumed.push(
      `prompts ${JSON.stringify(documentPrompt)} for documents and ${JSON.stringify(queryPrompt)} for queries, ${why} ` +
        '(--document-prompt, --query-prompt)',
    );
  }
  return { documentPrompt, queryPrompt };
}

/** Files of a tokenizer in the cache, and where to read them. */
interface TokenizerFiles {
  hashes: Record<string, string>;
  json: object | undefined;
  /** The longest input that the folder names, and the file that does; that of sentence-transformers is what a server of theirs reads. */
  longest?: { tokens: number; file: string } | undefined;
}

/** Takes the tokenizer's files into the cache. */
async function tokenizerOf(
  { tokenizer }: RemoteFacts,
  { cache, parts }: MakeContext,
): Promise<TokenizerFiles> {
  if (tokenizer === undefined) return { hashes: {}, json: undefined };
  const hashes: Record<string, string> = {};
  const take = async (file: string): Promise<object | undefined> => {
    const copy = join(parts, file);
    try {
      await copyFile(join(tokenizer, file), copy);
    } catch (error) {
      if (file !== 'tokenizer.json') return undefined;
      throw new TowerError('TOWER_NOT_FOUND', `--tokenizer: ${join(tokenizer, file)} can't be read`, {
        cause: error,
      });
    }
    const text = await readFile(copy, 'utf8');
    await writeFile(copy, text);
    let value: object;
    try {
      value = JSON.parse(text) as object;
    } catch (error) {
      throw new TowerError(
        'TOWER_MODEL_UNSUPPORTED',
        `${join(tokenizer, file)} is no JSON: ${String(error)}`,
      );
    }
    hashes[file] = await cache.adopt(copy);
    return value;
  };
  const json = await take('tokenizer.json');
  const config = await take('tokenizer_config.json');
  const sentence = await readJson(join(tokenizer, SENTENCE_CONFIG));
  const longest =
    longestOf(sentence, 'max_seq_length', SENTENCE_CONFIG) ??
    longestOf(config, 'model_max_length', 'tokenizer_config.json');
  return { hashes, json, longest };
}

const SENTENCE_CONFIG = 'sentence_bert_config.json';

/** A file of JSON; `undefined` where there is none. @throws {TowerError} where it is no JSON */
async function readJson(path: string): Promise<object | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as object;
  } catch (error) {
    throw new TowerError('TOWER_MODEL_UNSUPPORTED', `${path} is no JSON: ${String(error)}`);
  }
}

function longestOf(config: object | undefined, key: string, file: string): TokenizerFiles['longest'] {
  const tokens = (config as Record<string, unknown> | undefined)?.[key];
  // Tokenizers without a limit state 1e30.
  const isStated = typeof tokens === 'number' && tokens > 0 && tokens < 1e6;
  return isStated ? { tokens: Math.floor(tokens), file } : undefined;
}

/** Who counts tokens, in this order: files, the server, nobody. */
async function counterOf(
  found: Found,
  { facts, server, files }: { facts: RemoteFacts; server: ServerFacts; files: TokenizerFiles },
  assumed: string[],
): Promise<{
  counter: TextCounter;
  kind: TokenizerKind;
  special: number;
  countsAgree: boolean;
  maxTokens: number;
}> {
  const { wire } = found.endpoint;
  const maxTokens = maxTokensOf({ facts, server, files }, assumed);
  const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS);
  const special = await wire.count('', signal).catch(() => undefined);
  if (files.json !== undefined) {
    const counter = new FileCounter(await tokenizerFrom(files, maxTokens));
    const countsAgree = await compareCounts(found, counter, special === undefined ? undefined : wire);
    return { counter, kind: 'files', special: 0, countsAgree, maxTokens };
  }
  if (special !== undefined) {
    const counter = new EndpointCounter(maxTokens, special, async (text) => {
      const count = await wire.count(text, AbortSignal.timeout(PROBE_TIMEOUT_MS));
      if (count !== undefined) return count;
      throw new TowerError('ENDPOINT_UNAVAILABLE', `${wire.where} does not count tokens any more`);
    });
    assumed.push('tokens are counted by the server, a request for each sentence (--tokenizer DIR is faster)');
    const countsAgree = await compareCounts(found, counter, undefined);
    return { counter, kind: 'endpoint', special, countsAgree, maxTokens };
  }
  assumed.push(
    'tokens are reckoned from characters, about twice too many: passages are shorter than they could be (--tokenizer DIR ' +
      'with the tokenizer.json of the model)',
  );
  const counter = new CharacterCounter(maxTokens);
  return { counter, kind: 'characters', special: 0, countsAgree: false, maxTokens };
}

const PROBE_TIMEOUT_MS = 10_000;

function maxTokensOf(
  { facts, server, files }: { facts: RemoteFacts; server: ServerFacts; files: TokenizerFiles },
  assumed: string[],
): number {
  if (facts.maxTokens !== undefined) {
    if (facts.maxTokens <= (server.maxTokens ?? Number.POSITIVE_INFINITY)) return facts.maxTokens;
    throw new TowerError(
      'TOWER_MODEL_UNSUPPORTED',
      `the server takes texts of up to ${server.maxTokens} tokens; ${facts.maxTokens} are too many: give a smaller --max-tokens`,
    );
  }
  const { longest } = files;
  const [most, why] =
    server.maxTokens !== undefined
      ? [server.maxTokens, 'as the server says']
      : longest !== undefined
        ? [longest.tokens, `as ${longest.file} says`]
        : [DEFAULT_MAX_TOKENS, 'as nobody says otherwise'];
  const maxTokens = Math.min(most, MOST_DEFAULT_TOKENS);
  assumed.push(`texts of up to ${maxTokens} tokens, ${why} (--max-tokens)`);
  return maxTokens;
}
