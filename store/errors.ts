/** Reasons of a {@link StoreError}: stable names that are sent to the client. */
export type StoreErrorReason =
  /** No collection or alias of that name. */
  | 'COLLECTION_NOT_FOUND'
  /** The collection belongs to another space. */
  | 'SPACE_MISMATCH'
  /** The physical collection is another one than the caller knew: dropped and made again, or restored from a backup. */
  | 'COLLECTION_REPLACED'
  /** The layout of the collection is older than this program can bring up to date, or newer than it knows. */
  | 'COLLECTION_LAYOUT'
  /** We did not make the collection, or can't use it: wrong vector size, no fingerprint. */
  | 'COLLECTION_FOREIGN'
  /** Others own the collection, which was adopted: we read it and write nothing. */
  | 'COLLECTION_READ_ONLY'
  /** The collection was adopted and has no terms: neither sparse nor hybrid searches. */
  | 'COLLECTION_DENSE_ONLY'
  /** The collection was adopted for reading alone: its distance ranks otherwise than the cosine. */
  | 'COLLECTION_NOT_SEARCHABLE'
  /** The call itself is wrong, and repeating it does not help: a vector of wrong length, a number that is not finite. */
  | 'STORE_INVALID_ARGUMENT'
  /** The store does not answer now, but may later. */
  | 'STORE_UNAVAILABLE'
  /** What the store can show now is older than the caller asked for; a later call may succeed. */
  | 'STORE_NOT_FRESH'
  /** The files of the store are gone, replaced or damaged under a running process. Nothing is acknowledged any more. */
  | 'STORE_LOST'
  /** The store rejects our credentials. */
  | 'STORE_UNAUTHENTICATED'
  /** Our credentials do not allow this. */
  | 'STORE_PERMISSION_DENIED'
  /** A backup is not what was written: a file is missing, cut or changed. */
  | 'BACKUP_DAMAGED'
  /** The disk is full. */
  | 'STORE_FULL'
  /** The server is too old: it lacks something that we need. */
  | 'STORE_UNSUPPORTED'
  /** The store asks us to slow down. */
  | 'STORE_OVERLOADED'
  /** The store failed in an unexpected way. */
  | 'STORE_INTERNAL';

/** What a store throws. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly reason: StoreErrorReason;
  /** Values that programs may need with the reason. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** Shortest wait before another attempt, in milliseconds. */
  readonly retryDelayMs: number | undefined;

  constructor(
    reason: StoreErrorReason,
    message: string,
    options: {
      metadata?: Readonly<Record<string, string>>;
      retryDelayMs?: number | undefined;
      cause?: unknown;
    } = {},
  ) {
    super(message, { cause: options.cause });
    this.reason = reason;
    this.metadata = options.metadata ?? {};
    this.retryable =
      reason === 'STORE_UNAVAILABLE' || reason === 'STORE_OVERLOADED' || reason === 'STORE_NOT_FRESH';
    this.retryDelayMs = options.retryDelayMs;
  }
}

/** The call is wrong, and repeating it does not help. */
export function invalidArgument(message: string): StoreError {
  return new StoreError('STORE_INVALID_ARGUMENT', message);
}

/** No collection or alias of that name. */
export function collectionNotFound(name: string): StoreError {
  return new StoreError(
    'COLLECTION_NOT_FOUND',
    `no collection "${name}"; ingest a document into it, or list what is there with "scalingnote collections"`,
    { metadata: { collection: name } },
  );
}

/** The physical collection is not the one that the caller's progress belongs to. */
export function collectionReplaced(collection: string, expected: string, found: string): StoreError {
  return new StoreError(
    'COLLECTION_REPLACED',
    `collection "${collection}" is another one now: it was ${expected} and is ${found}, because it was dropped and made ` +
      'again, or restored from a backup; begin at the beginning',
    { metadata: { collection, expected_identity: expected, identity: found } },
  );
}

/** The collection is what it was at an earlier time. @param expected position that it had come to */
export function collectionPutBack(collection: string, expected: string, found: string): StoreError {
  return new StoreError(
    'COLLECTION_REPLACED',
    `collection "${collection}" has come to position ${found} only, and was at ${expected} before, because an older copy ` +
      'of its data was put back; begin at the beginning',
    { metadata: { collection, expected_position: expected, position: found } },
  );
}

/**
 * The collection's vectors and the caller's belong to different spaces, so their scores would mean nothing.
 */
export function spaceMismatch(collection: string, stored: string, given: string): StoreError {
  return new StoreError(
    'SPACE_MISMATCH',
    `collection "${collection}" holds vectors of space ${stored}, but the tower here makes vectors of space ` +
      `${given}; use a tower of the collection's space, or another collection`,
    { metadata: { collection, collection_space: stored, tower_space: given } },
  );
}
