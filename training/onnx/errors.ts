import { ReasonedError } from '../errors.ts';

/** Reasons of an {@link OnnxError}. */
export type OnnxErrorReason =
  /** The bytes are no ONNX model, or one that contradicts itself. */
  | 'MODEL_INVALID'
  /** A file that the model points to is missing or too short. */
  | 'EXTERNAL_DATA'
  /** A feature of ONNX that is not read here: the message names it. */
  | 'FEATURE_UNSUPPORTED'
  /** An operator that can't be rewritten: the message names it and its node. */
  | 'OPERATOR_UNSUPPORTED'
  /** An operator without a gradient lies between the loss and a trained weight: the message names both. */
  | 'GRADIENT_MISSING'
  /** A value, weight, loss or dimension was asked for that the graph does not have, or that can't be what it is asked to be. */
  | 'REQUEST_INVALID';

/** What reading, rewriting and differentiating a graph throws. The message says what to do. */
export class OnnxError extends ReasonedError<OnnxErrorReason> {
  override readonly name = 'OnnxError';
}
