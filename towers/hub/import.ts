import { readFile, rm, writeFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import type { TowerCache } from '../cache.ts';
import { TowerError } from '../errors.ts';
import type { TowerManifest } from '../manifest.ts';
import type { HeadPart } from '../session/protocol.ts';
import { wrongWeights } from '../session/head.ts';
import { outputOf } from '../session/model.ts';
import type { TowerSource } from '../sources/source.ts';
import { tokenizerReport, type TokenizerReport } from '../tokenizer/report.ts';
import { TextTokenizer } from '../tokenizer/tokenizer.ts';
import type { Tokens } from '../tower.ts';
import { unpooledTokens } from '../unpooled.ts';
import type { HubFacts } from './facts.ts';
import { type GraphFacts, scanGraph } from './graph.ts';
import { headFiles, hubManifest } from './manifest.ts';
import type { HubLayer } from './modules.ts';
import { planHub } from './plan.ts';
import { refusePointer } from './pointer.ts';
import { probe, PROBE_TEXTS, type Observed } from './probe.ts';
import { compareReferences, readReferences, REFERENCE_FILE, type Comparison } from './references.ts';
import { readHub, type HubUse } from './read.ts';

/** How many tokens the longest probe has at most: attention over more of them takes minutes. */
const MAX_PROBE_TOKENS = 512;

/** What was found in a folder of the hub, and what was made of it. */
export interface HubReport {
  dimensions: number;
  pooling: string | readonly string[];
  prompts: { query: string; document: string };
  normalize: boolean;
  maxTokens: number;
  batchInvariant: boolean;
  tokenizer: TokenizerReport;
  license: string;
  /** Layers after the pooling. */
  head: string[];
  /** `false` where the prompt is read and not pooled. */
  poolPrompt: boolean;
  truncation: 'right' | 'left';
  /** Cosines to the reference vectors; absent where there are none. */
  reference?: Comparison;
  /** Where each of these comes from, for people. */
  notes: string[];
}

/** What to import, and what is known of it. */
export interface HubRequest {
  name: string;
  /** The ONNX file, where there are several. */
  model: string | undefined;
  facts: HubFacts;
  /** Vectors of the original model, as JSON Lines. @default those in the folder */
  reference?: string | undefined;
  /** The smallest cosine to a reference vector that is taken. @default 0.999 */
  referenceCosine?: number | undefined;
}

/** Brings a tower in hub layout into the cache, and runs it. @param parts folder for what is not complete yet */
export async function importHub(
  source: TowerSource,
  request: HubRequest,
  cache: TowerCache,
  parts: string,
): Promise<{ manifest: TowerManifest; report: HubReport }> {
  const { name, facts } = request;
  const { origin, paths } = source;
  const plan = planHub(paths, request.model, origin);
  const hashes = new Map<string, string>();
  const fetch = async (wanted: readonly string[]): Promise<void> => {
    const missing = wanted.filter((path) => !hashes.has(path));
    if (missing.length === 0) return;
    for (const [path, sha256] of await source.fetch(missing)) {
      hashes.set(path, sha256);
      await refusePointer(cache.blob(sha256), `${origin}/${path}`);
    }
  };
  const shipped = paths.filter((path) => path === REFERENCE_FILE);
  await fetch([...plan.small, ...shipped]);
  const texts = new Map<string, string>();
  for (const path of plan.small) texts.set(path, await readFile(cache.blob(hashes.get(path)!), 'utf8'));
  const use = readHub({ name, source: origin, paths, texts, facts });

  const layerFiles = use.layers.flatMap((layer) => (layer.type === 'normalize' ? [] : [layer.file]));
  await fetch([plan.model, ...plan.data, ...layerFiles]);
  for (const layer of use.layers) {
    if (layer.type !== 'dense') continue;
    const wrong = await wrongWeights(cache.blob(hashes.get(layer.file)!), layer);
    if (wrong === undefined) continue;
    throw new TowerError('TOWER_MODEL_UNSUPPORTED', `${origin}: ${layer.config}, ${wrong}`);
  }
  const called = `${origin}/${plan.model}`;
  const graph = scanGraph(cache.blob(hashes.get(plan.model)!), called);
  const folder = posix.dirname(plan.model);
  const external = graph.external.map((location) => posix.join(folder, location));
  const absent = external.filter((path) => !paths.includes(path));
  if (absent.length > 0) {
    const message = `${called} has weights in files that are not there: ${absent.join(', ')}; fetch them, too`;
    throw new TowerError('TOWER_NOT_FOUND', message);
  }
  await fetch(external);

  const weights = Object.fromEntries([
    ['model.onnx', hashes.get(plan.model)!],
    // The graph refers to its data by paths beside it.
    ...[...new Set([...plan.data, ...external])].map((path) => [
      posix.relative(folder, path),
      hashes.get(path)!,
    ]),
  ]) as Record<string, string>;
  const tokenizerText = use.lowerCase
    ? withLowercase(texts.get('tokenizer.json')!)
    : texts.get('tokenizer.json')!;
  if (use.lowerCase) {
    const file = join(parts, 'tokenizer.json');
    await writeFile(file, tokenizerText);
    hashes.set('tokenizer.json', await cache.adopt(file));
    use.notes.push(
      'lower case: a step of tokenizer.json now, as sentence_bert_config.json, do_lower_case asks',
    );
  }
  const tokenizerFiles = Object.fromEntries(
    plan.small.filter((path) => path.startsWith('tokenizer')).map((path) => [path, hashes.get(path)!]),
  );

  const inGraph = outputOf(graph.outputs) === 'sentence_embedding';
  if (inGraph) refuseInGraph(use, facts, called);
  const tokenizer = await tokenizerOf(tokenizerText, use, origin);
  const room = await roomFor(tokenizer, use, origin);
  const staged = join(parts, 'probe');
  await rm(staged, { recursive: true, force: true });
  await cache.link({ ...weights, ...headFiles(use.layers, hashes) }, staged);
  const all = use.layers.map((layer) => headPart(layer, staged));
  const observed = await probe({
    path: join(staged, 'model.onnx'),
    called,
    head: all,
    inGraph,
    use,
    graph,
    tokens: await Promise.all(PROBE_TEXTS.map((text) => tokensOf(tokenizer, use, use.documentPrompt, text))),
    largest: largestToken(tokenizerText, graph, origin),
    longest: await longestOf(tokenizer, use),
  });
  const dimensions = dimensionsOf(use, observed, origin);
  const references =
    request.reference !== undefined
      ? await readReferences(request.reference)
      : shipped.length > 0
        ? await readReferences(cache.blob(hashes.get(REFERENCE_FILE)!), REFERENCE_FILE)
        : undefined;
  const reference =
    references &&
    (await compareReferences(references, {
      model: {
        path: join(staged, 'model.onnx'),
        device: 'cpu',
        threads: 0,
        pooling: use.pooling,
        head: inGraph ? [] : all,
        normalize: use.normalize,
        dimensions,
      },
      encode: (prompt, text) => tokensOf(tokenizer, use, prompt ?? use.documentPrompt, text),
      least: request.referenceCosine,
      called: origin,
    }));
  const manifest = hubManifest({
    name,
    source: origin,
    use: inGraph ? { ...use, layers: [] } : use,
    weights,
    tokenizer: tokenizerFiles,
    hashes,
    dimensions,
    room,
    batchInvariant: observed.batchInvariant,
  });
  return {
    manifest,
    report: {
      dimensions,
      pooling: use.pooling,
      prompts: { query: use.queryPrompt, document: use.documentPrompt },
      normalize: use.normalize,
      maxTokens: use.maxTokens,
      batchInvariant: observed.batchInvariant,
      tokenizer: await tokenizerReport(tokenizerText, origin),
      license: use.license,
      head: use.layers.map(({ type }) => type),
      poolPrompt: use.poolPrompt,
      truncation: use.truncation,
      ...(reference === undefined ? {} : { reference }),
      notes: [...use.notes, ...observed.notes, ...foreignNotes(graph)],
    },
  };
}

/** A tokenizer that lowers texts before anything else, as sentence-transformers makes it for `do_lower_case`. */
function withLowercase(text: string): string {
  const tokenizer = JSON.parse(text) as { normalizer?: { type?: string; normalizers?: object[] } | null };
  const { normalizer } = tokenizer;
  const parts =
    normalizer?.type === 'Sequence' ? (normalizer.normalizers ?? []) : normalizer ? [normalizer] : [];
  if (parts.some((part) => (part as { type?: string }).type === 'Lowercase')) return text;
  return JSON.stringify({
    ...tokenizer,
    normalizer: { type: 'Sequence', normalizers: [{ type: 'Lowercase' }, ...parts] },
  });
}

/** @throws {TowerError} for what a graph that pools by itself can't be told */
function refuseInGraph(use: HubUse, facts: HubFacts, called: string): void {
  const refuse = (what: string): TowerError =>
    new TowerError(
      'TOWER_MODEL_UNSUPPORTED',
      `${called} pools by itself (output "sentence_embedding"): ${what}; export it with last_hidden_state as its only output`,
    );
  if (facts.pooling !== undefined) throw refuse("--pooling can't be applied");
  if (!use.poolPrompt) throw refuse("include_prompt: false of the pooling can't be applied");
  use.notes.push('pooling: inside the graph');
}

async function tokenizerOf(
  tokenizer: string,
  { maxTokens, truncation }: HubUse,
  origin: string,
): Promise<TextTokenizer> {
  try {
    return await TextTokenizer.load(tokenizer, { maxTokens, truncation });
  } catch (error) {
    const message = `${origin}: tokenizer.json can't be used: ${String(error)}`;
    throw new TowerError('TOWER_MODEL_UNSUPPORTED', message, { cause: error });
  }
}

/** Tokens that a document has room for. @throws {TowerError} where a prompt leaves none */
async function roomFor(tokenizer: TextTokenizer, use: HubUse, origin: string): Promise<number> {
  const left = { document: 0, query: 0 };
  for (const side of ['document', 'query'] as const) {
    const prompt = side === 'document' ? use.documentPrompt : use.queryPrompt;
    const tokens = await tokenizer.count(prompt);
    left[side] = tokenizer.room - tokens;
    if (left[side] > 0) continue;
    throw new TowerError(
      'TOWER_MODEL_UNSUPPORTED',
      `${origin}: the ${side} prompt has ${tokens} tokens, and the model reads ${use.maxTokens} (${tokenizer.room} beside ` +
        `special tokens): no text would be left; give a shorter one with --${side}-prompt, or --max-tokens`,
    );
  }
  return left.document;
}

async function tokensOf(
  tokenizer: TextTokenizer,
  use: HubUse,
  prompt: string,
  text: string,
): Promise<Tokens> {
  const tokens = await tokenizer.encode(prompt + text);
  return use.poolPrompt ? tokens : { ...tokens, unpooled: await unpooledTokens(tokenizer, prompt) };
}

async function longestOf(tokenizer: TextTokenizer, { maxTokens }: HubUse): Promise<Tokens> {
  const many = `${PROBE_TEXTS.join(' ')} `.repeat(Math.ceil(maxTokens / 16));
  const { ids } = await tokenizer.encode(many.slice(0, MAX_PROBE_TOKENS * 16));
  return { ids: ids.slice(0, MAX_PROBE_TOKENS), truncated: true };
}

/** @throws {TowerError} where the graph's table has no row for it */
function largestToken(text: string, { tables }: GraphFacts, origin: string): { id: number; token: string } {
  const { model, added_tokens: added = [] } = JSON.parse(text) as {
    model?: { vocab?: Record<string, number> | [string, number][] };
    added_tokens?: { id: number; content: string }[];
  };
  const vocabulary = model?.vocab ?? {};
  const all: [token: string, id: number][] = Array.isArray(vocabulary)
    ? vocabulary.map(([token], id) => [token, id])
    : Object.entries(vocabulary);
  for (const { content, id } of added) all.push([content, id]);
  const largest = all.reduce((most, each) => (each[1] > most[1] ? each : most), ['', 0]);
  for (const [table, [rows = 0]] of tables) {
    if (largest[1] < rows) continue;
    throw new TowerError(
      'TOWER_MODEL_UNSUPPORTED',
      `${origin}: tokenizer.json is of another model: its token ${JSON.stringify(largest[0])} has the id ${largest[1]}, ` +
        `and the graph's table "${table}" has ${rows} rows`,
    );
  }
  return { token: largest[0], id: largest[1] };
}

function dimensionsOf(use: HubUse, { width }: Observed, origin: string): number {
  const { dimensions = width } = use;
  if (dimensions <= width) return dimensions;
  throw new TowerError(
    'TOWER_MODEL_UNSUPPORTED',
    `${origin}: --dimensions is ${dimensions}, and the model's vectors have ${width} components`,
  );
}

function headPart(layer: HubLayer, folder: string): HeadPart {
  if (layer.type === 'normalize') return { type: 'normalize' };
  const path = join(folder, layer.file);
  return layer.type === 'layer_norm'
    ? { type: 'layer_norm', path }
    : { type: 'dense', path, activation: layer.activation, residual: layer.residual };
}

function foreignNotes({ foreign }: GraphFacts): string[] {
  const fused = foreign.filter((operator) => operator.startsWith('com.microsoft:'));
  if (fused.length === 0) return [];
  return [
    `operators: ${fused.join(', ')} are ONNX Runtime's own; it runs them, and training may refuse some of them by name`,
  ];
}
