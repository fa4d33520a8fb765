import { createHash } from 'node:crypto';
import { fingerprint, type SpaceDefinition } from '../../space.ts';
import type { Tokens, Tower } from '../../tower.ts';
import type { ProbedTower } from '../golden.ts';

const DIMENSIONS = 16;

/** A tower whose vectors are a function of the text, and that a test can turn by an angle. */
export class MovingTower implements ProbedTower {
  readonly manifest: Tower['manifest'];
  readonly device = 'cpu';
  /** Radians by which every vector is turned, in a plane of its own. */
  turn = 0;
  /** Radians by which the texts of a call with more than one are turned. */
  neighbours = 0;
  /** Changes a vector. */
  change: (vector: Float32Array, text: string) => Float32Array = (vector) => vector;
  /** Every prompt that was asked for. */
  readonly prompts: (string | undefined)[] = [];
  /** Calls of the model. */
  calls = 0;

  constructor({ dimensions = DIMENSIONS }: { dimensions?: number } = {}) {
    const definition: SpaceDefinition = {
      weights: { 'model.onnx': '0'.repeat(64) },
      tokenizer: {},
      documentPrompt: 'passage: ',
      maxTokens: 64,
      truncation: 'right',
      pooling: 'mean',
      normalize: true,
      dimensions,
      passageWindow: { tokens: 60, overlap: 0 },
    };
    this.manifest = {
      name: 'moving',
      role: 'document',
      space: { ...definition, fingerprint: fingerprint(definition) },
      dimensions,
      pooling: 'mean',
      normalize: true,
      prompt: 'passage: ',
      maxTokens: 64,
      files: {},
      license: 'Apache-2.0',
      source: 'a test',
    };
  }

  async tokenizeAll(texts: readonly string[], options?: { prompt?: string }): Promise<Tokens[]> {
    this.prompts.push(options?.prompt);
    return texts.map((text) => ({ ids: [1], text, truncated: false }));
  }

  async encodeAll(inputs: readonly Tokens[]): Promise<Float32Array> {
    this.calls++;
    const { dimensions } = this.manifest;
    const rows = new Float32Array(inputs.length * dimensions);
    const angle = this.turn + (inputs.length > 1 ? this.neighbours : 0);
    for (const [row, { text }] of inputs.entries()) {
      rows.set(this.change(turned(text!, dimensions, angle), text!), row * dimensions);
    }
    return rows;
  }
}

/** The unit vector of a text, turned towards another one that is at right angles to it. */
function turned(text: string, dimensions: number, angle: number): Float32Array {
  const from = unit(numbers(`from ${text}`, dimensions));
  const to = numbers(`to ${text}`, dimensions);
  const along = to.reduce((sum, value, index) => sum + value * from[index]!, 0);
  const aside = unit(to.map((value, index) => value - along * from[index]!));
  return Float32Array.from(from, (value, index) => Math.cos(angle) * value + Math.sin(angle) * aside[index]!);
}

function numbers(seed: string, count: number): number[] {
  return Array.from({ length: count }, (_, index) => {
    return createHash('sha256').update(`${index} ${seed}`).digest().readInt32LE() / 2 ** 31;
  });
}

function unit(vector: number[]): number[] {
  const length = Math.hypot(...vector);
  return vector.map((value) => value / length);
}
