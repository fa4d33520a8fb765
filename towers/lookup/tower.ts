import type { TokenCount } from './counted.ts';
import { LookupEncoder } from './encoder.ts';
import { LookupError } from './errors.ts';
import { normalizeQuery } from './query-text.ts';
import { anyObject, list, text, whole, yes } from './read.ts';
import { sha256 } from './sha256.ts';
import { parseStages, type LookupStages } from './stages.ts';
import { WordPiece } from './wordpiece.ts';

/** Files of a tower, by their names in its folder. */
export const MANIFEST = 'tower.json';
export const TOKENIZER = 'tokenizer.json';
export const MODEL = 'model.onnx';

/** What of `tower.json` a lookup needs, checked. */
export interface LookupManifest {
  name: string;
  /** Of the space that the vectors belong to. */
  fingerprint: string;
  dimensions: number;
  normalize: boolean;
  prompt: string;
  maxTokens: number;
  truncation: 'right' | 'left';
  /** Sha256 by file. */
  files: ReadonlyMap<string, string>;
  lookup: LookupStages;
}

/**
 * Reads `tower.json`. The fingerprint must be the one of the definition beside it.
 *
 * @throws {LookupError} for a tower that is none to be run here
 */
export function parseManifest(file: string): LookupManifest {
  const json = anyObject(parse(file), MANIFEST);
  const name = text(json['name'], 'name');
  if (json['role'] !== 'query') throw new LookupError(`${name} encodes documents; name a query tower`);
  if (json['lookup'] === undefined) {
    const { student } = anyObject(json['distillation'] ?? {}, 'distillation');
    const kind =
      student === undefined ? 'no student' : `a student of the kind ${text(student, 'distillation.student')}`;
    throw new LookupError(
      `${name} is ${kind} and has no list of stages ("lookup" in ${MANIFEST}): distil a lookup student`,
    );
  }
  const { fingerprint, ...space } = anyObject(json['space'], 'space');
  const stated = text(fingerprint, 'space.fingerprint');
  if (stated !== fingerprintOf(space)) {
    throw new LookupError(`space.fingerprint is ${stated}, but the definition has ${fingerprintOf(space)}`);
  }
  const { truncation } = space;
  if (truncation !== 'right' && truncation !== 'left') {
    throw new LookupError('space.truncation must be "right" or "left"');
  }
  if (json['poolPrompt'] !== undefined || json['head'] !== undefined) {
    throw new LookupError(`${name} has a head, or a prompt that is not pooled, which no lookup has`);
  }
  const files = Object.entries(anyObject(json['files'], 'files'));
  return {
    name,
    fingerprint: stated,
    dimensions: whole(json['dimensions'], 'dimensions'),
    normalize: yes(json['normalize'], 'normalize'),
    prompt: text(json['prompt'], 'prompt'),
    maxTokens: whole(json['maxTokens'], 'maxTokens'),
    truncation,
    files: new Map(files.map(([path, hash]) => [path, text(hash, `files[${JSON.stringify(path)}]`)])),
    lookup: parseStages(json['lookup']),
  };
}

/** A text's vector and how it came about. */
export interface EncodedText {
  vector: Float32Array<ArrayBuffer>;
  /** Special tokens included. */
  tokens: number;
  /** Whether the text was longer than the tower reads, and has been cut. */
  truncated: boolean;
  /** How many tokens the whole text has, where it was cut. */
  whole?: TokenCount;
}

/** A lookup tower in this thread, wherever that is. */
export class LookupTower {
  readonly manifest: LookupManifest;
  readonly #tokenizer: WordPiece;
  readonly #encoder: LookupEncoder;

  /**
   * @param files of the tower, checked against the manifest's hashes by whoever fetched them
   * @throws {LookupError} where the tokenizer is of another kind, or the weights are not those that the stages name
   */
  constructor(manifest: LookupManifest, files: { tokenizer: string; model: Uint8Array }) {
    this.manifest = manifest;
    this.#tokenizer = new WordPiece(files.tokenizer, manifest);
    this.#encoder = new LookupEncoder(files.model, manifest);
  }

  /** The vector that the query service gives the same text. */
  encode(query: string): EncodedText {
    const text = this.manifest.prompt + normalizeQuery(query);
    const { ids, truncated } = this.#tokenizer.encode(text);
    const tokens = ids.length;
    const encoded = { vector: this.#encoder.vector(ids), tokens, truncated };
    if (!truncated) return encoded;
    const whole = this.#tokenizer.countWhole(text);
    return { ...encoded, whole: { ...whole, tokens: Math.max(whole.tokens, tokens + 1) } };
  }
}

/** The identity of a space, as `towers/space.ts` has it. */
export function fingerprintOf(space: Readonly<Record<string, unknown>>): string {
  const hashes = (key: string): string[] =>
    Object.entries(anyObject(space[key], `space.${key}`))
      .map(([path, hash]) => text(hash, `space.${key}[${JSON.stringify(path)}]`))
      .sort();
  const identity = { ...space, weights: hashes('weights'), tokenizer: hashes('tokenizer') };
  return `sp1_${sha256(new TextEncoder().encode(canonicalJson(identity))).slice(0, 32)}`;
}

function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${list(value, '').map(canonicalJson).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${members.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`).join(',')}}`;
  }
  return JSON.stringify(value);
}

function parse(file: string): unknown {
  try {
    return JSON.parse(file) as unknown;
  } catch (error) {
    throw new LookupError(`${MANIFEST} is no JSON: ${String(error)}`, { cause: error });
  }
}
