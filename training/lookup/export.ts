import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Distillation, TowerManifest } from '../../towers/manifest.ts';
import type { Tower } from '../../towers/tower.ts';
import { GraphBuilder } from '../onnx/builder.ts';
import { int } from '../onnx/model.ts';
import { float32, tensor } from '../onnx/tensor.ts';
import { encodeModel } from '../onnx/write.ts';

/** Token vectors in eight bits, with a scale for each token. */
export interface QuantizedTable {
  /** tokens × dimensions */
  values: Int8Array;
  /** What a token's values are to be multiplied by. */
  scales: Float32Array;
}

/** The largest value of a quantised row. */
const INT8_MAX = 127;

/** Scales each row so that its largest component is 127, and rounds. */
export function quantize(vectors: Float32Array, dimensions: number): QuantizedTable {
  const values = new Int8Array(vectors.length);
  const scales = new Float32Array(vectors.length / dimensions);
  for (let token = 0; token < scales.length; token++) {
    const row = vectors.subarray(token * dimensions, (token + 1) * dimensions);
    const largest = row.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    scales[token] = largest / INT8_MAX;
    if (largest === 0) continue;
    for (const [dimension, value] of row.entries()) {
      values[token * dimensions + dimension] = Math.round((value / largest) * INT8_MAX);
    }
  }
  return { values, scales };
}

/** The vectors that a quantised table stands for. */
export function dequantize({ values, scales }: QuantizedTable, dimensions: number): Float32Array {
  return Float32Array.from(values, (value, index) => value * scales[Math.floor(index / dimensions)]!);
}

/**
 * The student as a graph: `input_ids` and `attention_mask`, int64 [batch, length], become `sentence_embedding`, float32
 * [batch, dimensions]: the sum of the tokens' vectors, not normalised.
 */
export function lookupModel(table: QuantizedTable, dimensions: number): Uint8Array {
  const tokens = table.scales.length;
  const g = new GraphBuilder();
  const ids = g.input('input_ids', 'int64', ['batch', 'length']);
  const mask = g.input('attention_mask', 'int64', ['batch', 'length']);
  const values = g.initializer('token_values', tensor('int8', [tokens, dimensions], table.values));
  const scales = g.initializer('token_scales', float32([tokens], table.scales));
  // ONNX numbers its element types: 1 is float32.
  const toFloat = { to: int(1) };
  const rows = g.node('Cast', [g.node('Gather', [values, ids])], toFloat);
  const weights = g.node('Mul', [g.node('Gather', [scales, ids]), g.node('Cast', [mask], toFloat)]);
  const sum = g.node('MatMul', [g.node('Unsqueeze', [weights, g.ints([1])]), rows]);
  g.output('sentence_embedding', g.node('Squeeze', [sum, g.ints([1])]), 'float32', ['batch', dimensions]);
  return encodeModel(g.build());
}

/** Writes the student as a tower directory. @returns bytes of all its files */
export async function writeLookupTower(
  out: string,
  student: { name: string; teacher: Tower; table: QuantizedTable; distillation: Distillation },
): Promise<number> {
  const { manifest: teacher, directory } = student.teacher;
  await mkdir(out, { recursive: true });
  const model = lookupModel(student.table, teacher.dimensions);
  await writeFile(join(out, 'model.onnx'), model);
  const files: Record<string, string> = { 'model.onnx': sha256(model) };
  let bytes = model.length;
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
    if (teacher.files[name] === undefined) continue;
    await copyFile(join(directory, name), join(out, name));
    const content = await readFile(join(out, name));
    files[name] = sha256(content);
    bytes += content.length;
  }
  const manifest = TowerManifest.parse({
    name: student.name,
    role: 'query',
    space: teacher.space,
    dimensions: teacher.dimensions,
    pooling: 'mean',
    normalize: teacher.normalize,
    prompt: '',
    maxTokens: teacher.maxTokens,
    files,
    license: teacher.license,
    source: `scalingnote distill --teacher ${teacher.name} --student lookup`,
    distillation: student.distillation,
  });
  const text = `${JSON.stringify(manifest, undefined, 2)}\n`;
  await writeFile(join(out, 'tower.json'), text);
  return bytes + Buffer.byteLength(text);
}

function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
