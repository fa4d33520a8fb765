import { TowerError } from '../errors.ts';
import { Model } from '../session/model.ts';
import type { HeadPart } from '../session/protocol.ts';

import { normalizeRows } from '../session/pooling.ts';
import type { Tokens } from '../tower.ts';
import type { GraphFacts } from './graph.ts';
import type { HubUse } from './read.ts';

/** What a run of a model shows. */
export interface Observed {
  /** Length of a vector in the end, before any cut. */
  width: number;
  /** Length of a token's vector; undefined where the graph pools. */
  tokenWidth: number | undefined;
  /** Whether a vector is the same alone and beside others. */
  batchInvariant: boolean;
  /** By how much it moved beside a longer neighbour: the largest difference of a component, over the vector's length. */
  moved: number;
  /** What a reader of the import should know. */
  notes: string[];
}

/**
 * The most that a component may move beside neighbours, over the vector's length. The kernels that a run takes depend on
 * its size, which moves fp32 by some 1e-7, fp16 and 4-bit weights by some 1e-4; scales that are taken from the whole
 * batch move it by 1e-3 and more.
 */
const MAX_MOVE = 5e-4;

/** Two vectors that are nearer to each other than this, over their length, are one: the model does not look at its input. */
const MIN_DIFFERENCE = 1e-6;

/** Outputs with a vector for each token. */
const TOKEN_OUTPUTS = ['token_embeddings', 'last_hidden_state'];

/** How far a graph's pooled vector may be from what the files describe, over its length: 16-bit numbers round by as much. */
const MAX_OFF = 1e-3;

/** Texts to encode: a short one, another, and one that is much longer. */
export const PROBE_TEXTS = [
  'the telescope found a new planet',
  'a recipe for bread with olives',
  `Astronomers measured the light of ${Array.from({ length: 40 }, (_, index) => `star ${index}`).join(', ')}.`,
] as const;

/** What to run. */
export interface ProbeRequest {
  /** The ONNX file, with its external data beside it. */
  path: string;
  called: string;
  /** Layers after the pooling, as the files describe them. */
  head: readonly HeadPart[];
  /** Whether the graph pools by itself, and goes through these layers. */
  inGraph: boolean;
  use: HubUse;
  graph: GraphFacts;
  /** Of {@link PROBE_TEXTS}, with the document prompt. */
  tokens: readonly Tokens[];
  /** The token with the largest id that the tokenizer can give. */
  largest: { id: number; token: string };
  /** Texts as long as the model is said to read, or nearly. */
  longest: Tokens;
}

/**
 * Runs a model once: what it gives must be vectors, and the same ones in any company.
 *
 * @throws {TowerError} `TOWER_MODEL_UNSUPPORTED`; the message names the file and what to change
 */
export async function probe(request: ProbeRequest): Promise<Observed> {
  const { path, called, head, use, tokens, largest, longest } = request;
  const refuse = (why: string): TowerError => new TowerError('TOWER_MODEL_UNSUPPORTED', `${called}: ${why}`);
  const { pooling } = use;
  const options = { path, device: 'cpu', threads: 0, pooling, normalize: false };
  const model = await Model.load({ ...options, head: request.inGraph ? [] : head }, () => undefined);
  try {
    const run = async (...inputs: Tokens[]): Promise<Float32Array[]> => {
      const rows = await model.run(batchOf(inputs));
      const width = rows.length / inputs.length;
      return inputs.map((_, row) => rows.slice(row * width, (row + 1) * width));
    };
    const failing = (what: string) => (error: unknown) => {
      throw refuse(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    };
    const [short, other, long] = tokens as [Tokens, Tokens, Tokens];
    const [alone] = (await run(short).catch(failing('it fails on a short text'))) as [Float32Array];
    const pooledByGraph = model.outputDims.length === 2;
    const tokenWidth = pooledByGraph ? undefined : model.outputDims.at(-1)!;
    checkWidths(use, tokenWidth, called);
    const [different] = (await run(other)) as [Float32Array];
    for (const vector of [alone, different]) {
      const bad = vector.findIndex((component) => !Number.isFinite(component));
      if (bad >= 0) throw refuse(`component ${bad} of a vector is ${vector[bad]}`);
    }
    if (distance(alone, different) < MIN_DIFFERENCE) {
      throw refuse('it gives the same vector for different texts');
    }
    await run({ ids: replaced(short.ids, largest.id), truncated: false }).catch(
      failing(
        `tokenizer.json is of another model: its token ${JSON.stringify(largest.token)} has the id ${largest.id}, which ` +
          "the model can't look up",
      ),
    );
    await run(longest).catch(
      failing(
        `it fails on ${longest.ids.length} tokens, and is said to read ${use.maxTokens}: give --max-tokens, or correct ` +
          'max_seq_length in sentence_bert_config.json',
      ),
    );
    const [beside] = (await run(short, long)) as [Float32Array];
    const [besideEqual] = (await run(short, { ...short, ids: shuffled(short.ids) })) as [Float32Array];
    const moved = Math.max(distance(alone, beside), distance(alone, besideEqual));
    // Where a scale comes from the whole batch, the next one may move what this one did not.
    const batchInvariant = moved <= MAX_MOVE && request.graph.dynamic.length === 0;
    const notes: string[] = [];
    if (request.inGraph) await checkPooling(request, [alone, different]);
    if (!batchInvariant) {
      const { dynamic } = request.graph;
      const why =
        dynamic.length > 0
          ? `the graph has ${dynamic.join(', ')}, whose scale is taken from the whole batch`
          : model.inputs.includes('attention_mask')
            ? 'the graph mixes the texts of a batch'
            : 'the graph has no attention_mask';
      notes.push(
        `batches: a vector moves by ${moved.toPrecision(2)} beside other texts (${why}); texts are encoded one by one`,
      );
    }
    return { width: alone.length, tokenWidth, batchInvariant, moved, notes };
  } finally {
    await model.close();
  }
}

/**
 * Compares what a graph pools with what the files describe, where the graph shows its tokens' vectors as well. Lengths do
 * not count: some exports leave the scaling out.
 *
 * @throws {TowerError} where they differ
 */
async function checkPooling(request: ProbeRequest, pooled: readonly Float32Array[]): Promise<void> {
  const { path, called, head, use, graph, tokens } = request;
  const output = TOKEN_OUTPUTS.find((name) => graph.outputs.includes(name));
  if (output === undefined) return;
  const { pooling } = use;
  const options = { path, device: 'cpu', threads: 0, pooling, head, output, normalize: true };
  const model = await Model.load(options, () => undefined);
  try {
    for (const [index, vector] of pooled.entries()) {
      const described = await model.run(batchOf([tokens[index]!]));
      const unit = Float32Array.from(vector);
      normalizeRows(unit, unit.length);
      const off = unit.length === described.length ? distance(unit, described) : Number.POSITIVE_INFINITY;
      if (off <= MAX_OFF) continue;
      throw new TowerError(
        'TOWER_MODEL_UNSUPPORTED',
        `${called}: its output sentence_embedding is not what modules.json and the pooling's config.json describe ` +
          `(${unit.length} components against ${described.length}, apart by ${off.toPrecision(2)}); export the model again, or ` +
          'correct the files',
      );
    }
  } finally {
    await model.close();
  }
}

/** @throws {TowerError} where a file says another width than the graph has */
function checkWidths(use: HubUse, actual: number | undefined, called: string): void {
  if (actual === undefined) return;
  const wrong = use.tokenWidths.find(({ value }) => value !== actual);
  if (wrong === undefined) return;
  throw new TowerError(
    'TOWER_MODEL_UNSUPPORTED',
    `${wrong.file}, ${wrong.field}: is ${wrong.value}, and the vectors of ${called} have ${actual} components; the files ` +
      'are of different models, or the number is wrong',
  );
}

/** The largest difference of a component, over the length of the first vector. */
function distance(a: Float32Array, b: Float32Array): number {
  const length = Math.hypot(...a) || 1;
  return a.reduce((most, component, i) => Math.max(most, Math.abs(component - b[i]!) / length), 0);
}

function batchOf(inputs: readonly Tokens[]) {
  return {
    ids: Int32Array.from(inputs.flatMap(({ ids }) => ids)),
    lengths: Int32Array.from(inputs, ({ ids }) => ids.length),
    unpooled: Int32Array.from(inputs, ({ unpooled = 0 }) => unpooled),
  };
}

/** Ids with another one in the middle. */
function replaced(ids: readonly number[], id: number): number[] {
  return ids.with(Math.floor(ids.length / 2), id);
}

/** The same tokens the other way round, but for the ends. */
function shuffled(ids: readonly number[]): number[] {
  return [...ids.slice(0, 1), ...ids.slice(1, -1).toReversed(), ...ids.slice(-1)];
}
