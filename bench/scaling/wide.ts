import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { writeManifest } from '../../towers/directory.ts';
import type { LocalTower } from '../../towers/pull.ts';
import { fingerprint } from '../../towers/space.ts';
import { outputOf } from '../../towers/session/model.ts';
import type { Model } from '../../training/onnx/model.ts';
import { readModel } from '../../training/onnx/read.ts';
import { float32 } from '../../training/onnx/tensor.ts';
import { seededRandom } from '../../training/random.ts';
import { copyTokenizer, writeWeights } from '../../training/tower-folder.ts';

/**
 * A tower whose vectors have more dimensions and the same inner products: each token's vector is turned into a wider space
 * by a fixed matrix with orthonormal rows, before a pooling that is linear. It stands for a tower of that many
 * dimensions where its students' cost is measured, and has the teacher's own quality.
 */
export async function widen(
  tower: LocalTower,
  dimensions: number,
  folder: string,
  seed: number,
): Promise<LocalTower> {
  const { manifest, directory } = tower;
  const source = await readModel(join(directory, 'model.onnx'));
  const output = outputOf(source.graph.outputs.map(({ name }) => name));
  const matrix = orthonormalRows(manifest.dimensions, dimensions, seed);
  const model: Model = {
    ...source,
    graph: {
      ...source.graph,
      initializers: new Map([
        ...source.graph.initializers,
        ['widening', float32([manifest.dimensions, dimensions], matrix)],
      ]),
      nodes: [
        ...source.graph.nodes,
        {
          op: 'MatMul',
          domain: '',
          name: 'widening',
          inputs: [output, 'widening'],
          outputs: ['token_embeddings'],
          attributes: {},
        },
      ],
      outputs: [{ name: 'token_embeddings', type: 'float32', dims: ['batch', 'length', dimensions] }],
    },
  };
  await mkdir(folder, { recursive: true });
  const weights = await writeWeights(folder, model);
  const tokenizer = await copyTokenizer(tower, folder);
  const { fingerprint: _, ...space } = { ...manifest.space, weights, dimensions };
  const wide = {
    ...manifest,
    name: `${manifest.name}-${dimensions}`,
    dimensions,
    space: { ...space, fingerprint: fingerprint(space) },
    files: { ...weights, ...tokenizer },
    source: `npm run bench -- scaling: ${manifest.name} with its vectors turned into ${dimensions} dimensions`,
  };
  await writeManifest(folder, wide);
  return { manifest: wide, directory: folder };
}

/** Rows × columns, by Gram and Schmidt's method. */
function orthonormalRows(rows: number, columns: number, seed: number): Float32Array {
  const random = seededRandom(seed);
  const made: Float64Array[] = [];
  for (let row = 0; row < rows; row++) {
    const vector = Float64Array.from({ length: columns }, () => random() - 0.5);
    for (const before of made) {
      const along = before.reduce((sum, value, index) => sum + value * vector[index]!, 0);
      for (const [index, value] of before.entries()) vector[index]! -= along * value;
    }
    const length = Math.hypot(...vector);
    made.push(vector.map((value) => value / length));
  }
  return Float32Array.from(made.flatMap((row) => [...row]));
}
