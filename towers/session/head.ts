import { readFile } from 'node:fs/promises';
import * as z from 'zod';
import { TowerError } from '../errors.ts';
import type { Activation } from '../space.ts';
import { fromBrains, fromHalves } from './floats.ts';
import { normalizeRows } from './pooling.ts';
import type { HeadPart } from './protocol.ts';

/** Of PyTorch's `LayerNorm`, which sentence-transformers leaves as it is. */
const LAYER_NORM_EPSILON = 1e-5;

/** Rows of vectors, one after the other. */
export interface Rows {
  data: Float32Array<ArrayBuffer>;
  width: number;
}

/** A layer that is ready to run. */
type Layer = (rows: Rows) => Rows;

/** What pooled vectors go through. */
export class Head {
  readonly #layers: readonly Layer[];

  private constructor(layers: readonly Layer[]) {
    this.#layers = layers;
  }

  /** @throws {TowerError} `TOWER_MODEL_UNSUPPORTED` where a file holds no such layer */
  static async load(parts: readonly HeadPart[]): Promise<Head> {
    const layers: Layer[] = [];
    for (const part of parts) layers.push(await load(part));
    return new Head(layers);
  }

  get isEmpty(): boolean {
    return this.#layers.length === 0;
  }

  apply(rows: Rows): Rows {
    return this.#layers.reduce((now, layer) => layer(now), rows);
  }
}

async function load(part: HeadPart): Promise<Layer> {
  if (part.type === 'normalize') {
    return (rows) => {
      normalizeRows(rows.data, rows.width);
      return rows;
    };
  }
  const tensors = await readTensors(part.path);
  const take = (name: string, rank: number): Weights => {
    const found = tensors.get(name);
    if (found?.shape.length !== rank) {
      const there = [...tensors].map(([each, { shape }]) => `${each} [${shape.join(', ')}]`).join(', ');
      throw unusable(part.path, `it has no "${name}" of rank ${rank}; it has ${there || 'nothing'}`);
    }
    return found;
  };
  const fits = (width: number, expected: number): void => {
    if (width !== expected) {
      throw unusable(part.path, `it takes vectors of ${expected} components; it gets those of ${width}`);
    }
  };
  if (part.type === 'layer_norm') {
    const [scale, shift] = [take('norm.weight', 1).values, take('norm.bias', 1).values];
    return (rows) => {
      fits(rows.width, scale.length);
      layerNorm(rows, scale, shift);
      return rows;
    };
  }
  const { shape, values } = take('linear.weight', 2);
  const [outputs, inputs] = shape as [number, number];
  const bias = tensors.has('linear.bias') ? take('linear.bias', 1).values : new Float32Array(outputs);
  const skip = part.residual && outputs !== inputs ? take('residual.weight', 2).values : undefined;
  const activate = ACTIVATIONS[part.activation];
  return ({ data, width }) => {
    fits(width, inputs);
    const count = data.length / width;
    const result = new Float32Array(count * outputs);
    for (let row = 0; row < count; row++) {
      const x = data.subarray(row * inputs, (row + 1) * inputs);
      for (let o = 0; o < outputs; o++) {
        const kept = !part.residual ? 0 : skip === undefined ? x[o]! : product(skip, o * inputs, x);
        result[row * outputs + o] = activate(product(values, o * inputs, x) + bias[o]!) + kept;
      }
    }
    return { data: result, width: outputs };
  };
}

function product(weights: Float32Array, start: number, x: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += weights[start + i]! * x[i]!;
  return sum;
}

function layerNorm({ data, width }: Rows, scale: Float32Array, shift: Float32Array): void {
  for (let start = 0; start < data.length; start += width) {
    const row = data.subarray(start, start + width);
    let mean = 0;
    for (const value of row) mean += value / width;
    let variance = 0;
    for (const value of row) variance += (value - mean) ** 2 / width;
    const by = 1 / Math.sqrt(variance + LAYER_NORM_EPSILON);
    for (let i = 0; i < width; i++) row[i] = (row[i]! - mean) * by * scale[i]! + shift[i]!;
  }
}

const ACTIVATIONS: Readonly<Record<Activation, (x: number) => number>> = {
  identity: (x) => x,
  tanh: Math.tanh,
  relu: (x) => Math.max(0, x),
  gelu: (x) => (x * (1 + erf(x / Math.SQRT2))) / 2,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  silu: (x) => x / (1 + Math.exp(-x)),
};

/** Error function, to 1.2e-7 (a Chebyshev fit of its complement). */
function erf(x: number): number {
  const t = 1 / (1 + Math.abs(x) / 2);
  const terms = [
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587,
    -0.82215223, 0.17087277,
  ];
  const polynomial = terms.reduceRight((sum, term) => sum * t + term, 0);
  const complement = t * Math.exp(-x * x + polynomial);
  return x >= 0 ? 1 - complement : complement - 1;
}

interface Weights {
  shape: readonly number[];
  values: Float32Array;
}

const TensorEntry = z.object({
  dtype: z.enum(['F32', 'F16', 'BF16']),
  shape: z.array(z.int().nonnegative()),
  data_offsets: z.tuple([z.int().nonnegative(), z.int().nonnegative()]),
});
const Header = z
  .record(z.string(), z.unknown())
  .transform((all) => Object.fromEntries(Object.entries(all).filter(([name]) => name !== '__metadata__')))
  .pipe(z.record(z.string(), TensorEntry));

/**
 * Compares a dense layer's weights with what its configuration says of them.
 *
 * @returns what is wrong; undefined where nothing is
 */
export async function wrongWeights(
  path: string,
  { into, from, bias }: { into: number; from: number; bias: boolean },
): Promise<string | undefined> {
  const tensors = await readTensors(path);
  const [outputs, inputs] = tensors.get('linear.weight')?.shape ?? [];
  if (outputs !== into) return `out_features: is ${into}, and the weights have ${outputs} rows`;
  if (inputs !== from) return `in_features: is ${from}, and the weights have ${inputs} columns`;
  const has = tensors.has('linear.bias');
  return has === bias ? undefined : `bias: is ${bias}, and the weights have ${has ? 'one' : 'none'}`;
}

/** Tensors of a safetensors file: the length of a JSON header in eight bytes, the header, then the numbers. */
async function readTensors(path: string): Promise<Map<string, Weights>> {
  const bytes = await readFile(path);
  try {
    const start = 8 + Number(bytes.readBigUInt64LE(0));
    const header = Header.parse(JSON.parse(bytes.toString('utf8', 8, start)));
    return new Map(
      Object.entries(header).map(
        ([
          name,
          {
            dtype,
            shape,
            data_offsets: [from, to],
          },
        ]) => {
          // A copy, so that the numbers begin where their type may.
          const raw = Uint8Array.from(bytes.subarray(start + from, start + to)).buffer;
          const values =
            dtype === 'F32'
              ? new Float32Array(raw)
              : (dtype === 'F16' ? fromHalves : fromBrains)(new Uint16Array(raw));
          const size = shape.reduce((product_, each) => product_ * each, 1);
          if (values.length !== size) throw new Error(`"${name}" is not as long as its shape says`);
          return [name, { shape, values }];
        },
      ),
    );
  } catch (error) {
    throw unusable(path, error instanceof z.ZodError ? z.prettifyError(error) : String(error));
  }
}

function unusable(path: string, why: string): TowerError {
  return new TowerError('TOWER_MODEL_UNSUPPORTED', `${path} can't be used: ${why}`);
}
