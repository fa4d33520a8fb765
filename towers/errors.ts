/** Reasons of a {@link TowerError}: stable names that travel to the client. */
export type TowerErrorReason =
  /** A tower reference that no source understands. */
  | 'TOWER_REFERENCE_INVALID'
  /** The source has no such tower or file. */
  | 'TOWER_NOT_FOUND'
  /** The source does not answer. */
  | 'TOWER_SOURCE_UNREACHABLE'
  /** A file is not what its hash says. */
  | 'TOWER_INTEGRITY'
  /** `tower.json` is wrong. */
  | 'TOWER_MANIFEST_INVALID'
  /** The graph has inputs, outputs or operators that we can't run. */
  | 'TOWER_MODEL_UNSUPPORTED'
  /** The model gives one text vectors that differ too much to tell it from another model. */
  | 'TOWER_UNSTABLE'
  /** A device that was asked for by name is not there. */
  | 'DEVICE_UNAVAILABLE'
  /** No room on the disk. */
  | 'DISK_FULL'
  /** More work is waiting than the queue holds. */
  | 'ENCODER_OVERLOADED'
  /** A run of the model failed: an input that it can't take, or no memory. */
  | 'ENCODER_FAILED'
  /** The encoder was closed, or its worker died. */
  | 'ENCODER_CLOSED'
  /** The server that runs a remote tower's model does not answer, or is overloaded for longer than we wait. */
  | 'ENDPOINT_UNAVAILABLE'
  /** That server refuses all that we ask: key, model or path are wrong. */
  | 'ENDPOINT_REFUSED'
  /** What that server answers can't be right; `fault` in the metadata says which rule it breaks. */
  | 'ENDPOINT_ANSWER_INVALID'
  /** That server refuses one input, or has no usable vector for it; others are fine. */
  | 'ENDPOINT_INPUT_REFUSED'
  /** As many tokens have been paid for as whoever runs this allowed. */
  | 'SPENDING_LIMIT_REACHED';

/** Reasons that concern a remote tower as a whole, and not one input of it. */
const OF_THE_ENDPOINT: ReadonlySet<TowerErrorReason> = new Set([
  'ENDPOINT_UNAVAILABLE',
  'ENDPOINT_REFUSED',
  'ENDPOINT_ANSWER_INVALID',
  'SPENDING_LIMIT_REACHED',
]);

/** What towers throw. The message says what to do. */
export class TowerError extends Error {
  override readonly name = 'TowerError';
  readonly reason: TowerErrorReason;
  /** Values that belong to the reason, for programs. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Shortest wait before it is worth trying again, in milliseconds; set with `ENCODER_OVERLOADED` and `ENDPOINT_UNAVAILABLE`. */
  readonly retryDelayMs: number | undefined;

  constructor(
    reason: TowerErrorReason,
    message: string,
    options: { metadata?: Readonly<Record<string, string>>; retryDelayMs?: number; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.reason = reason;
    this.metadata = options.metadata ?? {};
    this.retryDelayMs = options.retryDelayMs;
  }

  /** Whether every other input would fail as well: the model is gone, not the text bad. */
  get concernsAll(): boolean {
    return this.reason === 'ENCODER_CLOSED' || OF_THE_ENDPOINT.has(this.reason);
  }
}
