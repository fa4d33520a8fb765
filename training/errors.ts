/** Reasons of a {@link TrainingError}. */
export type TrainingErrorReason =
  /** A data set that is not in BEIR layout, or has nothing to measure. */
  | 'DATASET_INVALID'
  /** Texts that can't be trained on. */
  | 'TEXTS_INVALID'
  /** Towers of different spaces. */
  | 'SPACE_MISMATCH'
  /** Pairs that can't be trained on. */
  | 'PAIRS_INVALID'
  /** The request can't be fulfilled. */
  | 'REQUEST_INVALID'
  /** There is no checkpoint to go on from, or it is of another run. */
  | 'CHECKPOINT_INVALID'
  /** A checkpoint could not be written. */
  | 'CHECKPOINT_FAILED'
  /** The loss is no longer finite. */
  | 'DIVERGED'
  /** A training process ended, or did not start. */
  | 'WORKER_FAILED';

/** An error with a stable reason beside its message. */
export class ReasonedError<Reason extends string> extends Error {
  readonly reason: Reason;

  constructor(reason: Reason, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.reason = reason;
  }
}

/** What training and evaluation throw. The message says what to do. */
export class TrainingError extends ReasonedError<TrainingErrorReason> {
  override readonly name = 'TrainingError';
}
