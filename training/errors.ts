/** Reasons of a {@link TrainingError}. */
export type TrainingErrorReason =
  /** A data set that is not in BEIR layout, or has nothing to measure. */
  | 'DATASET_INVALID'
  /** Texts that nothing can be learnt from. */
  | 'TEXTS_INVALID'
  /** Towers of different spaces. */
  | 'SPACE_MISMATCH';

/** What training and evaluation throw. The message says what to do. */
export class TrainingError extends Error {
  override readonly name = 'TrainingError';
  readonly reason: TrainingErrorReason;

  constructor(reason: TrainingErrorReason, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.reason = reason;
  }
}
