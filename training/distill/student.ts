import type { LookupStages } from '../../towers/lookup/stages.ts';
import type { StepReport } from '../gradient/trainer.ts';
import type { Model } from '../onnx/model.ts';
import type { Tensor } from '../onnx/tensor.ts';

/** The input of a step. */
export interface Batch {
  /** Token ids of each text, special tokens included. */
  texts: readonly (readonly number[])[];
  /** The teacher's vectors of the texts, one after the other, not normalised. */
  teacher: Float32Array;
  /** Unit vectors of the documents that the texts are from: with a contrastive term. */
  documents?: Float32Array;
}

/** A query tower that learns. */
export interface Student {
  /** How many numbers it has, untrained ones included. */
  readonly parameters: number;
  /** Whether texts of a batch are padded to the longest. If so, batches hold texts of like length. */
  readonly padded: boolean;
  /** Takes a step. When the loss or the gradient is not finite, the weights stay as they were. */
  step(batch: Batch): Promise<StepReport>;
  /** Vectors of texts with the weights as they are now, of any length. */
  encode(texts: readonly (readonly number[])[]): Promise<Float32Array>;
  /** Everything that the next step depends on besides its batch. The next step changes the tensors. */
  state(): ReadonlyMap<string, Tensor>;
  /** A copy of the weights as they are now. */
  weights(): Map<string, Tensor>;
  /** The student with some weights as a graph: token ids to vectors, in single precision and in eight bits. */
  models(weights: ReadonlyMap<string, Tensor>): { fp32: Model; int8: Model };
  /** Of a lookup: the stages of one of its graphs, for what runs it without ONNX Runtime. */
  stages?(model: Model): LookupStages;
  close(): Promise<void>;
}
