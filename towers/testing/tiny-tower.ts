import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import type { TowerManifest } from '../manifest.ts';
import { fingerprint, type SpaceDefinition } from '../space.ts';
import { onnxModel, type Port } from './onnx.ts';

/** A folder that is gone after the test. */
export function temporaryFolder(context: Pick<TestContext, 'after'>): string {
  const folder = mkdtempSync(join(tmpdir(), 'towers-test-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const WORDS = [
  '[PAD]',
  '[UNK]',
  '[CLS]',
  '[SEP]',
  '.',
  'hello',
  'world',
  'star',
  '##s',
  'astronomer',
  'query',
  ':',
];
const LETTERS = [...'abcdefghijklmnopqrstuvwxyz'];

/** Token → id: some words, and every letter at the start of a word and inside one. */
export const VOCABULARY: Readonly<Record<string, number>> = Object.fromEntries(
  [...new Set([...WORDS, ...LETTERS, ...LETTERS.map((letter) => `##${letter}`)])].map((token, id) => [
    token,
    id,
  ]),
);

/** A special token as `tokenizer.json` has it. */
function special(id: number, content: string): object {
  return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
}

/** `tokenizer.json` of a small BERT: lower case, WordPiece, `[CLS]` and `[SEP]` around. */
export const TINY_TOKENIZER = {
  version: '1.0',
  added_tokens: ['[PAD]', '[UNK]', '[CLS]', '[SEP]'].map((content, id) => special(id, content)),
  normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, lowercase: true },
  pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: {
    type: 'TemplateProcessing',
    single: [
      { SpecialToken: { id: '[CLS]', type_id: 0 } },
      { Sequence: { id: 'A', type_id: 0 } },
      { SpecialToken: { id: '[SEP]', type_id: 0 } },
    ],
    pair: [],
    special_tokens: {
      '[CLS]': { id: '[CLS]', ids: [2], tokens: ['[CLS]'] },
      '[SEP]': { id: '[SEP]', ids: [3], tokens: ['[SEP]'] },
    },
  },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab: VOCABULARY,
  },
};

/** `tokenizer.json` of a small SentencePiece model: no special tokens, words begin with `▁`. */
export const TINY_UNIGRAM = {
  version: '1.0',
  added_tokens: [special(0, '<unk>')],
  normalizer: null,
  pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
  post_processor: null,
  decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
  model: {
    type: 'Unigram',
    unk_id: 0,
    vocab: [
      ['<unk>', 0],
      ['▁', -2],
      ['.', -2],
      ['▁hello', -1],
      ['▁W', -1.5],
      ...[...LETTERS, ...'0123456789'].map((letter) => [letter, -3]),
    ],
  },
};

/** Width of the tiny models' vectors. */
export const TINY_WIDTH = 4;

/** The vector that the tiny models have for a token, before anything else is added. */
export function tinyVector(id: number): number[] {
  return [id, 1, -id, id % 3];
}

/** Ids by number of tokens and input types: `batch` × `length`. */
export function idPort(name: string, type: 'int64' | 'int32' = 'int64'): Port {
  return { name, type, dims: ['batch', 'length'] };
}

const TABLE = {
  name: 'table',
  dims: [Object.keys(VOCABULARY).length, TINY_WIDTH],
  values: Float32Array.from(Object.values(VOCABULARY).flatMap(tinyVector)),
};

/** A model that looks up a vector for each token: `last_hidden_state`, batch × length × {@link TINY_WIDTH}. */
export function tinyModel(): Uint8Array {
  return onnxModel({
    inputs: [idPort('input_ids'), idPort('attention_mask')],
    outputs: [{ name: 'last_hidden_state', type: 'float32', dims: ['batch', 'length', TINY_WIDTH] }],
    constants: [TABLE],
    operators: [{ op: 'Gather', inputs: ['table', 'input_ids'], outputs: ['last_hidden_state'] }],
  });
}

/** Writes files below a folder. Objects become JSON. */
export function writeFiles(
  folder: string,
  files: Readonly<Record<string, string | Uint8Array | object>>,
): void {
  for (const [path, contents] of Object.entries(files)) {
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(
      file,
      contents instanceof Uint8Array || typeof contents === 'string' ? contents : JSON.stringify(contents),
    );
  }
}

/** Lower-case hex sha256. */
export function sha256(contents: string | Uint8Array): string {
  return createHash('sha256').update(contents).digest('hex');
}

/** Writes a whole tower into a folder. @returns its manifest */
export function writeTinyTower(
  folder: string,
  {
    space: spaceChanges = {},
    model = tinyModel(),
    tokenizer = JSON.stringify(TINY_TOKENIZER),
    ...changes
  }: Partial<Omit<TowerManifest, 'space'>> & {
    space?: Partial<SpaceDefinition>;
    model?: Uint8Array;
    tokenizer?: string | Uint8Array;
  } = {},
): TowerManifest {
  writeFiles(folder, { 'model.onnx': model, 'tokenizer.json': tokenizer });
  const files = { 'model.onnx': sha256(model), 'tokenizer.json': sha256(tokenizer) };
  const space: SpaceDefinition = {
    weights: { 'model.onnx': files['model.onnx'] },
    tokenizer: { 'tokenizer.json': files['tokenizer.json'] },
    documentPrompt: '',
    maxTokens: 16,
    truncation: 'right',
    pooling: 'mean',
    normalize: false,
    dimensions: TINY_WIDTH,
    passageWindow: { tokens: 14, overlap: 4 },
    ...spaceChanges,
  };
  const manifest: TowerManifest = {
    name: 'tiny',
    role: 'document',
    space: { ...space, fingerprint: fingerprint(space) },
    dimensions: space.dimensions,
    pooling: space.pooling,
    normalize: space.normalize,
    prompt: space.documentPrompt,
    maxTokens: space.maxTokens,
    files,
    license: 'Apache-2.0',
    source: 'made by a test',
    ...changes,
  };
  writeFiles(folder, { 'tower.json': manifest });
  return manifest;
}
