import type { Tower } from '../../towers/tower.ts';
import type { LossWeights } from '../gradient/losses.ts';
import { LookupTrainer } from '../gradient/lookup.ts';
import type { OptimizerOptions } from '../gradient/optimizer.ts';
import { quantizeWeights } from '../onnx/quantize.ts';
import { float32, type Tensor } from '../onnx/tensor.ts';
import { lookupModel } from '../lookup/model.ts';
import { startVectors } from '../lookup/start.ts';
import type { TrainingData } from './data.ts';
import type { Student } from './student.ts';

/** What a student with a vector for each token is made of. */
export interface LookupOptions {
  teacher: Tower;
  loss: LossWeights;
  optimizer: OptimizerOptions;
  data: TrainingData;
  threads?: number | undefined;
  cacheDir?: string | undefined;
  /** Where to go on from. */
  state?: ReadonlyMap<string, Tensor> | undefined;
}

const TABLE = 'table';

/** Makes a student with a vector for each token ready to be trained. */
export async function openLookup(options: LookupOptions): Promise<Student> {
  const { teacher, loss, optimizer, data, threads, cacheDir, state } = options;
  const { dimensions } = teacher.manifest;
  const vectors = await startVectors(teacher, data, { cacheDir, ...(threads !== undefined && { threads }) });
  const trainer = await LookupTrainer.create({
    dimensions,
    vectors,
    optimizer,
    loss,
    ...(threads !== undefined && { threads }),
    ...(state && { state }),
  });
  return {
    parameters: vectors.length,
    padded: false,
    step: ({ texts, teacher: targets, documents }) => trainer.step(texts, targets, documents),
    encode: async (texts) => trainer.encode(texts),
    state: () => trainer.state(),
    weights: () => {
      const table = trainer.table();
      return new Map([[TABLE, float32([table.length / dimensions, dimensions], table)]]);
    },
    models: (weights) => {
      const fp32 = lookupModel(weights.get(TABLE)!);
      return { fp32, int8: quantizeWeights(fp32) };
    },
    close: () => trainer.close(),
  };
}
