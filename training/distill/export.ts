import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Distillation, TowerManifest } from '../../towers/manifest.ts';
import type { Tower } from '../../towers/tower.ts';
import type { Model } from '../onnx/model.ts';
import { encodeModel } from '../onnx/write.ts';

/** Files of a tokenizer, as far as the teacher has them. */
const TOKENIZER_FILES = ['tokenizer.json', 'tokenizer_config.json'];

/** A student that is to become a tower. */
export interface StudentTower {
  name: string;
  teacher: Tower;
  model: Model;
  distillation: Distillation;
}

/** Writes a student as a tower directory. @returns bytes of all its files */
export async function writeStudentTower(
  out: string,
  { name, teacher, model, distillation }: StudentTower,
): Promise<number> {
  const { manifest, directory } = teacher;
  await mkdir(out, { recursive: true });
  const graph = encodeModel(model);
  await writeFile(join(out, 'model.onnx'), graph);
  const files: Record<string, string> = { 'model.onnx': sha256(graph) };
  let bytes = graph.length;
  for (const file of TOKENIZER_FILES.filter((file) => manifest.files[file] !== undefined)) {
    const content = await readFile(join(directory, file));
    // What is cached can't be written, and a copy of it neither.
    await rm(join(out, file), { force: true });
    await writeFile(join(out, file), content);
    files[file] = sha256(content);
    bytes += content.length;
  }
  const written = TowerManifest.parse({
    name,
    role: 'query',
    space: manifest.space,
    dimensions: manifest.dimensions,
    pooling: manifest.pooling,
    normalize: manifest.space.normalize,
    prompt: '',
    maxTokens: manifest.maxTokens,
    files,
    license: manifest.license,
    source: `scalingnote distill --teacher ${manifest.name} --student ${distillation.student}`,
    distillation,
  });
  const text = `${JSON.stringify(written, undefined, 2)}\n`;
  await writeFile(join(out, 'tower.json'), text);
  return bytes + Buffer.byteLength(text);
}

function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
