import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { TowerManifest } from '../manifest.ts';
import { fingerprint, type SpaceDefinition } from '../space.ts';
import { sha256, writeFiles } from './tiny-tower.ts';

/** Small random language models, made and run by `transformers`: see `towers/reference/decoders/generate.py`. */
export const DECODER_FAMILIES = ['qwen3', 'llama', 'gemma2', 'gemma3', 'embeddinggemma'] as const;
export type DecoderFamily = (typeof DECODER_FAMILIES)[number];

/** How a decoder was exported: by the tracer of old, or as ONNX Runtime's own operators with a cache of keys and values. */
export type DecoderForm = 'fp32' | 'fp16' | 'int8' | 'int4' | 'traced' | 'fused';

/** What a decoder was given and what it gave. */
export interface DecoderReference {
  readonly pooling: 'mean' | 'last';
  readonly config: object;
  readonly inputs: readonly {
    readonly text: string;
    readonly prompt: string;
    readonly ids: readonly number[];
  }[];
  /** Vectors of the inputs in one batch, padded on either side: rows of {@link DECODER_WIDTH}. */
  readonly right: Float32Array;
  readonly left: Float32Array;
  /** The same, by the weights that those of the `int4` graph stand for. */
  readonly int4: Float32Array;
  /** Of the sum of the first four vectors' components, number `i` of all times sin(i), by weights of the `fp32` graph. */
  readonly gradients: { readonly loss: number; readonly weights: ReadonlyMap<string, Float32Array> };
}

export const DECODER_WIDTH = 32;

/** The prompt that every other input has. */
export const INSTRUCT = 'Instruct: Find passages\nQuery: ';

function file(name: string): Buffer {
  return readFileSync(new URL(`../../../towers/reference/decoders/${name}`, import.meta.url));
}

function numbers(base64: string): Float32Array {
  return new Float32Array(Uint8Array.from(Buffer.from(base64, 'base64')).buffer);
}

export function readDecoder(family: DecoderFamily): DecoderReference {
  const stored = JSON.parse(file(`${family}.json`).toString()) as Omit<
    DecoderReference,
    'right' | 'left' | 'int4' | 'gradients'
  > & {
    right: string;
    left: string;
    int4: string;
    gradients: { loss: number; weights: Record<string, string> };
  };
  const weights = Object.entries(stored.gradients.weights).map(
    ([name, value]) => [name, numbers(value)] as const,
  );
  return {
    ...stored,
    right: numbers(stored.right),
    left: numbers(stored.left),
    int4: numbers(stored.int4),
    gradients: { loss: stored.gradients.loss, weights: new Map(weights) },
  };
}

/** An ONNX file. */
export function readDecoderGraph(family: DecoderFamily, form: DecoderForm): Uint8Array {
  return gunzipSync(file(`${family}.${form}.onnx.gz`));
}

export function readDecoderTokenizer(family: DecoderFamily): Uint8Array {
  return file(`${family}.tokenizer.json`);
}

/** Writes a decoder into a folder as a document tower. @returns its manifest */
export function writeDecoderTower(
  folder: string,
  family: DecoderFamily,
  form: DecoderForm,
  changes: Partial<SpaceDefinition> = {},
): TowerManifest {
  const model = readDecoderGraph(family, form);
  const tokenizer = readDecoderTokenizer(family);
  const files = { 'model.onnx': sha256(model), 'tokenizer.json': sha256(tokenizer) };
  const space: SpaceDefinition = {
    weights: { 'model.onnx': files['model.onnx'] },
    tokenizer: { 'tokenizer.json': files['tokenizer.json'] },
    documentPrompt: '',
    maxTokens: 64,
    truncation: 'right',
    pooling: readDecoder(family).pooling,
    normalize: false,
    dimensions: DECODER_WIDTH,
    passageWindow: { tokens: 60, overlap: 4 },
    ...changes,
  };
  const manifest: TowerManifest = {
    name: `${family}-${form}`,
    role: 'document',
    space: { ...space, fingerprint: fingerprint(space) },
    dimensions: space.dimensions,
    pooling: space.pooling,
    normalize: space.normalize,
    prompt: '',
    queryPrompt: INSTRUCT,
    maxTokens: space.maxTokens,
    files,
    license: 'Apache-2.0',
    source: 'made by a test',
  };
  writeFiles(folder, { 'model.onnx': model, 'tokenizer.json': tokenizer, 'tower.json': manifest });
  return manifest;
}
