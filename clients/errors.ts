import { status as Code, type ServiceError } from '@grpc/grpc-js';
import type { FieldViolation, RichStatus } from '../proto/status.ts';
import { decodeStatus, STATUS_DETAILS_TRAILER } from '../proto/status.ts';

/** Name of a gRPC status code, for example `INVALID_ARGUMENT`. */
export type StatusName = keyof typeof Code;

export type { FieldViolation };

/** Statuses that grpc-js reports when a server or a proxy resets the stream. Our services always give a reason. */
const RESET: ReadonlySet<number> = new Set([Code.CANCELLED, Code.INTERNAL]);

/** What a call failed with. Its message names the field and the fix. */
export class ScalingnoteError extends Error {
  override readonly name = 'ScalingnoteError';
  /** gRPC status. */
  readonly code: StatusName;
  /** Stable reason in UPPER_SNAKE_CASE, for example `SPACE_MISMATCH`; empty where the transport failed. */
  readonly reason: string;
  /** Values that belong to the reason, for example both fingerprints. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The fields of the request that are wrong. */
  readonly violations: readonly FieldViolation[];
  /** Whether the same call may go through later. */
  readonly retryable: boolean;
  /** Shortest wait before the next attempt, in milliseconds, where the server names one. */
  readonly retryDelayMs: number | undefined;

  constructor(status: RichStatus, options?: { cause?: unknown }) {
    super(status.message, options);
    this.code = (Code[status.code] as StatusName | undefined) ?? 'UNKNOWN';
    this.reason = status.reason;
    this.metadata = status.metadata ?? {};
    this.violations = status.violations ?? [];
    this.retryable = isRetryable(status);
    this.retryDelayMs = status.retryDelayMs;
  }
}

/**
 * Whether the server was unreachable, or overloaded and says when to retry. Without `google.rpc.RetryInfo`, waiting does
 * not help against RESOURCE_EXHAUSTED: the disk is full, or the message is too large.
 */
function isRetryable({ code, reason, retryDelayMs }: RichStatus): boolean {
  if (code === Code.RESOURCE_EXHAUSTED) return retryDelayMs !== undefined;
  return code === Code.UNAVAILABLE || (reason === '' && RESET.has(code));
}

/** The error that the server would return for such a field, without sending it. */
export function invalidArgument(field: string, description: string): ScalingnoteError {
  return new ScalingnoteError({
    code: Code.INVALID_ARGUMENT,
    message: `${field}: ${description}`,
    reason: 'INVALID_ARGUMENT',
    violations: [{ field, description }],
  });
}

/** Converts an error of grpc-js, with the details that the server sent. Returns any other error unchanged. */
export function toScalingnoteError(error: unknown): unknown {
  if (!isServiceError(error)) return error;
  const [details] = error.metadata.get(STATUS_DETAILS_TRAILER);
  return new ScalingnoteError(
    {
      // Ours answers with this reason as well, where the time is over on its side.
      reason: error.code === Code.DEADLINE_EXCEEDED ? 'DEADLINE_EXCEEDED' : '',
      ...(Buffer.isBuffer(details) ? richStatus(details) : undefined),
      code: error.code,
      message: error.details,
    },
    { cause: error },
  );
}

/** Details are optional: if they are damaged, the status still counts. */
function richStatus(details: Buffer): RichStatus | undefined {
  try {
    return decodeStatus(details);
  } catch {
    return undefined;
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'metadata' in error && 'details' in error;
}
