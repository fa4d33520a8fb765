import type { LocalTower } from '../../towers/pull.ts';
import type { Tower } from '../../towers/tower.ts';
import { DOCUMENTS, TEACHER, type LossWeights } from '../gradient/losses.ts';
import type { OptimizerOptions } from '../gradient/optimizer.ts';
import type { TrainingStep } from '../gradient/step.ts';
import { type MicroBatch, Trainer, type TrainerOptions } from '../gradient/trainer.ts';
import {
  cutTransformer,
  transformerStep,
  VECTORS,
  type TransformerStudent,
} from '../gradient/transformer.ts';
import type { Model } from '../onnx/model.ts';
import { parameterCount, withParameters } from '../onnx/parameters.ts';
import { quantizeWeights } from '../onnx/quantize.ts';
import { float32, rowsOf, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { pad, planRuns } from '../padding.ts';
import { readTowerGraph } from '../tower-folder.ts';
import { trainablePooling } from '../trainable.ts';
import type { Batch, Student } from './student.ts';

/** What a transformer student is made of. */
export interface TransformerOptions {
  teacher: Tower;
  /** Which of the teacher's layers, or how many. */
  layers: number | readonly number[];
  /** Components of its tokens' vectors. @default as many as the teacher's */
  width?: number | undefined;
  /** A student of the same layers and width to start from. @default the teacher's own layers */
  init?: LocalTower | undefined;
  loss: LossWeights;
  optimizer: OptimizerOptions;
  /** Whether the embedding tables are trained as well. @default up to {@link MAX_TRAINED_TABLES} */
  trainTables?: boolean | undefined;
}

/** Tables of up to so many numbers are trained by default. Memory and checkpoints hold each four times: 1 GiB. */
const MAX_TRAINED_TABLES = 2 ** 26;

/** A student that was cut out of its teacher, and its training step. */
export interface CutStudent {
  readonly student: TransformerStudent;
  readonly step: TrainingStep;
  readonly trainTables: boolean;
  /** Of its vectors. */
  readonly dimensions: number;
}

/**
 * Cuts a student out of its teacher, or takes one that was cut before.
 *
 * @throws {OnnxError} `GRADIENT_MISSING`, `OPERATOR_UNSUPPORTED`, `FEATURE_UNSUPPORTED` for a teacher that can't be
 *   trained, `REQUEST_INVALID` for layers or a width that it does not have
 */
export async function cutStudent(options: TransformerOptions): Promise<CutStudent> {
  const { teacher, layers, width, init, loss, optimizer } = options;
  const { dimensions } = teacher.manifest;
  const pooling = trainablePooling(teacher.manifest);
  const { model, output } = await readTowerGraph((init ?? teacher).directory);
  const kept = typeof layers === 'number' ? layers : layers.length;
  const student =
    init === undefined
      ? await cutTransformer(model, layers, { output, width })
      : await cutTransformer(model, kept, { output });
  const { trainTables = parameterCount(student.model, student.tables) <= MAX_TRAINED_TABLES } = options;
  const step = await transformerStep(student, { pooling, optimizer, loss, trainTables, dimensions });
  return { student, step, trainTables, dimensions };
}

/** Opens a cut student for training. */
export async function openTransformer(
  { student: cut, step, dimensions }: CutStudent,
  options: TrainerOptions,
): Promise<Student> {
  const trainer = await Trainer.create(step, options);
  const inputs = trainer.inputs();
  const microBatch = (batch: Batch, rows: readonly number[]): MicroBatch => {
    const matrix = (values: Float32Array): Tensor =>
      float32([rows.length, dimensions], rowsOf(values, dimensions, rows));
    return {
      feeds: {
        ...pad(
          rows.map((row) => batch.texts[row]!),
          inputs,
        ),
        [TEACHER]: matrix(batch.teacher),
        ...(batch.documents && { [DOCUMENTS]: matrix(batch.documents) }),
      },
      share: rows.length / batch.texts.length,
    };
  };
  return {
    parameters: parameterCount(cut.model, [...cut.weights, ...cut.tables]),
    padded: true,
    step: (batch) => {
      // A contrastive loss compares every text with every document: it is no mean over micro-batches.
      const runs = batch.documents
        ? [batch.texts.map((_, row) => row)]
        : planRuns(batch.texts.map(({ length }) => length));
      return trainer.step(runs.map((rows) => microBatch(batch, rows)));
    },
    encode: async (texts) => toNumbers((await trainer.observe(pad(texts, inputs)))[VECTORS]!) as Float32Array,
    state: () => trainer.state(),
    weights: () => trainer.weights(),
    models: (weights) => {
      const fp32: Model = withParameters(cut.model, weights);
      return { fp32, int8: quantizeWeights(fp32) };
    },
    close: () => trainer.close(),
  };
}
