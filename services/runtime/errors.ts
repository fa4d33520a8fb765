import { randomUUID } from 'node:crypto';
import { Metadata, status, type ServerErrorResponse } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import type { Status } from '../../proto/generated/google/rpc/Status.ts';
import {
  encodeStatus,
  packStatus,
  STATUS_DETAILS_TRAILER,
  type FieldViolation,
  type RichStatus,
} from '../../proto/status.ts';
import { StoreError, type StoreErrorReason } from '../../store/errors.ts';
import { TowerError, type TowerErrorReason } from '../../towers/errors.ts';

/**
 * Wait that we advise where the part that failed did not say one, in milliseconds: long enough for a store to be
 * restarted by its supervisor, short enough that nobody notices the pause afterwards.
 */
export const DEFAULT_RETRY_DELAY_MS = 1000;

/**
 * Longest message that we send, in characters. The trailers of a response have to fit into what HTTP/2 peers accept
 * as headers (8 KiB with many), where a message stands three times: percent-encoded, and in base64 as message and as
 * description of a field.
 */
export const MAX_MESSAGE_CHARS = 512;

/** Most fields that one error names, for the same reason; whoever mends these can ask again. */
export const MAX_VIOLATIONS = 8;

/** An error as the caller sees it. Handlers throw it; {@link toServiceError} makes it of everything else. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError';
  /** gRPC status code. */
  readonly code: status;
  /** Stable name in UPPER_SNAKE_CASE. */
  readonly reason: string;
  /** Values that belong to the reason, for programs. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Fields of the request that are wrong. */
  readonly violations: readonly FieldViolation[];
  /** Shortest wait before the next attempt, in milliseconds; absent if another attempt cannot help. */
  readonly retryDelayMs: number | undefined;

  constructor(
    code: status,
    reason: string,
    message: string,
    options: {
      metadata?: Readonly<Record<string, string>>;
      violations?: readonly FieldViolation[];
      retryDelayMs?: number | undefined;
      cause?: unknown;
    } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.reason = reason;
    this.metadata = options.metadata ?? {};
    this.violations = options.violations ?? [];
    this.retryDelayMs = options.retryDelayMs;
  }
}

/** A field of the request is wrong; `description` says how and what to send instead. */
export function invalidArgument(field: string, description: string): ServiceError {
  return invalidArguments([{ field, description }]);
}

/** Several fields of the request are wrong. */
export function invalidArguments(violations: readonly FieldViolation[]): ServiceError {
  return new ServiceError(
    status.INVALID_ARGUMENT,
    'INVALID_ARGUMENT',
    violations.map(({ field, description }) => `${field}: ${description}`).join('; '),
    { violations },
  );
}

/** The bytes of a message are not what its `.proto` says. */
export function malformedMessage(cause: unknown): ServiceError {
  return new ServiceError(
    status.INVALID_ARGUMENT,
    'MALFORMED_MESSAGE',
    'the request does not decode as a message of this method; generate the client from proto/scalingnote/v1',
    { cause },
  );
}

/** The caller's deadline is over, or what is left of it can't be enough. */
export function deadlineExceeded(message = 'the deadline has passed'): ServiceError {
  return new ServiceError(status.DEADLINE_EXCEEDED, 'DEADLINE_EXCEEDED', message);
}

/** The caller cancelled the call. */
export function cancelled(): ServiceError {
  return new ServiceError(status.CANCELLED, 'CANCELLED', 'the caller cancelled the call');
}

/** Too many calls are waiting. */
export function overloaded(message: string, retryDelayMs: number): ServiceError {
  return new ServiceError(status.RESOURCE_EXHAUSTED, 'OVERLOADED', message, { retryDelayMs });
}

/** The process is about to end; another one, or its successor, can serve. */
export function shuttingDown(): ServiceError {
  return new ServiceError(
    status.UNAVAILABLE,
    'SHUTTING_DOWN',
    'the service is shutting down; connect again and repeat what was not answered',
    { retryDelayMs: DEFAULT_RETRY_DELAY_MS },
  );
}

/** An unexpected error. The caller gets a reference; the log gets the cause under the same reference. */
export function internal(cause: unknown, reason = 'INTERNAL'): ServiceError {
  const reference = randomUUID();
  return new ServiceError(
    status.INTERNAL,
    reason,
    `internal error; the service's log has the cause under reference ${reference}`,
    { metadata: { reference }, cause },
  );
}

/**
 * The gRPC status of each reason of a store. The two about credentials are ours towards the store and no fault of
 * the caller, who must not be told to log in; `STORE_INTERNAL` is not here, see {@link internal}.
 */
const STORE_CODES: Readonly<Record<Exclude<StoreErrorReason, 'STORE_INTERNAL'>, status>> = {
  COLLECTION_NOT_FOUND: status.NOT_FOUND,
  SPACE_MISMATCH: status.FAILED_PRECONDITION,
  COLLECTION_FOREIGN: status.FAILED_PRECONDITION,
  COLLECTION_REPLACED: status.FAILED_PRECONDITION,
  COLLECTION_LAYOUT: status.FAILED_PRECONDITION,
  COLLECTION_READ_ONLY: status.FAILED_PRECONDITION,
  COLLECTION_DENSE_ONLY: status.FAILED_PRECONDITION,
  COLLECTION_NOT_SEARCHABLE: status.FAILED_PRECONDITION,
  STORE_INVALID_ARGUMENT: status.INVALID_ARGUMENT,
  STORE_UNAVAILABLE: status.UNAVAILABLE,
  STORE_NOT_FRESH: status.UNAVAILABLE,
  STORE_LOST: status.FAILED_PRECONDITION,
  STORE_UNAUTHENTICATED: status.FAILED_PRECONDITION,
  STORE_PERMISSION_DENIED: status.FAILED_PRECONDITION,
  BACKUP_DAMAGED: status.DATA_LOSS,
  STORE_FULL: status.RESOURCE_EXHAUSTED,
  STORE_UNSUPPORTED: status.FAILED_PRECONDITION,
  STORE_OVERLOADED: status.RESOURCE_EXHAUSTED,
};

/** The gRPC status of those reasons of a tower that a call can meet; all others belong to loading. */
const TOWER_CODES: Partial<Record<TowerErrorReason, status>> = {
  ENCODER_OVERLOADED: status.RESOURCE_EXHAUSTED,
  ENCODER_CLOSED: status.UNAVAILABLE,
  ENDPOINT_UNAVAILABLE: status.UNAVAILABLE,
  ENDPOINT_REFUSED: status.FAILED_PRECONDITION,
  ENDPOINT_ANSWER_INVALID: status.FAILED_PRECONDITION,
  ENDPOINT_INPUT_REFUSED: status.INVALID_ARGUMENT,
  SPENDING_LIMIT_REACHED: status.FAILED_PRECONDITION,
};

/** Those of them that are over after a while. */
const TOWER_RETRYABLE: ReadonlySet<TowerErrorReason> = new Set([
  'ENCODER_OVERLOADED',
  'ENCODER_CLOSED',
  'ENDPOINT_UNAVAILABLE',
]);

/** Turns anything that was thrown into the error that the caller sees. */
export function toServiceError(error: unknown): ServiceError {
  if (error instanceof ServiceError) return error;
  if (error instanceof StoreError) {
    if (error.reason === 'STORE_INTERNAL') return internal(error, error.reason);
    return new ServiceError(STORE_CODES[error.reason], error.reason, error.message, {
      metadata: error.metadata,
      retryDelayMs: error.retryable ? (error.retryDelayMs ?? DEFAULT_RETRY_DELAY_MS) : undefined,
      cause: error,
    });
  }
  if (error instanceof TowerError) {
    const code = TOWER_CODES[error.reason];
    if (code === undefined) return internal(error, error.reason);
    return new ServiceError(code, error.reason, error.message, {
      metadata: error.metadata,
      retryDelayMs: TOWER_RETRYABLE.has(error.reason)
        ? (error.retryDelayMs ?? DEFAULT_RETRY_DELAY_MS)
        : undefined,
      cause: error,
    });
  }
  if (error instanceof Error && error.name === 'AbortError') return cancelled();
  if (error instanceof Error && error.name === 'TimeoutError') return deadlineExceeded();
  return internal(error);
}

/**
 * {@link toServiceError} for an error that now leaves the service: logs an unexpected error, once, with the reference
 * that the caller gets.
 */
export function reportError(
  error: unknown,
  log: Logger,
  fields: Readonly<Record<string, unknown>>,
): ServiceError {
  const reported = toServiceError(error);
  const { reference } = reported.metadata;
  if (reference === undefined) log.debug({ ...fields, reason: reported.reason }, reported.message);
  else log.error({ ...fields, reference, err: reported.cause }, 'unexpected error');
  return reported;
}

/** A {@link ServiceError} as handlers answer with it: `code`, `details`, and the rich status as a trailer. */
export function toGrpcError(error: ServiceError): ServerErrorResponse {
  const rich = richStatus(error);
  const metadata = new Metadata();
  metadata.set(STATUS_DETAILS_TRAILER, encodeStatus(rich));
  return Object.assign(new Error(rich.message), { code: error.code, details: rich.message, metadata });
}

/** A {@link ServiceError} as `google.rpc.Status`, for answers that carry an error inside: `IngestOutcome.error`. */
export function toRichStatus(error: ServiceError): Status {
  return packStatus(richStatus(error));
}

/** A message has no UTF-8 with a lone surrogate in it, which a quoted name or a cut may leave. */
function richStatus(error: ServiceError): RichStatus {
  const rich: RichStatus = {
    code: error.code,
    message: cut(error.message),
    reason: error.reason,
    metadata: error.metadata,
    violations: error.violations.slice(0, MAX_VIOLATIONS).map(({ field, description }) => ({
      field: cut(field),
      description: cut(description),
    })),
  };
  if (error.retryDelayMs !== undefined) rich.retryDelayMs = error.retryDelayMs;
  return rich;
}

function cut(text: string): string {
  return (text.length > MAX_MESSAGE_CHARS ? `${text.slice(0, MAX_MESSAGE_CHARS - 1)}…` : text).toWellFormed();
}
