/** Reasons of a {@link TrainingError}. */
export type TrainingErrorReason =
  /** A data set that is not in BEIR layout, or has nothing to measure. */
  | 'DATASET_INVALID'
  /** Texts that nothing can be learnt from. */
  | 'TEXTS_INVALID'
  /** Towers of different spaces. */
  | 'SPACE_MISMATCH'
  /** Pairs that nothing can be learnt from. */
  | 'PAIRS_INVALID'
  /** What was asked for can't be made. */
  | 'REQUEST_INVALID'
  /** There is no checkpoint to go on from, or it is of another run. */
  | 'CHECKPOINT_INVALID'
  /** A checkpoint could not be written. */
  | 'CHECKPOINT_FAILED'
  /** The loss is no number any more. */
  | 'DIVERGED'
  /** A training process ended, or could not begin. */
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
