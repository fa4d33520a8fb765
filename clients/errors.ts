import { status as Code, type ServiceError } from '@grpc/grpc-js';
import type { FieldViolation, RichStatus } from '../proto/status.ts';
import { decodeStatus, STATUS_DETAILS_TRAILER } from '../proto/status.ts';

/** Name of a gRPC status code, for example `INVALID_ARGUMENT`. */
export type StatusName = keyof typeof Code;

export type { FieldViolation };

/** Statuses that grpc-js makes up when a server or a proxy resets the stream; a service of ours gives a reason. */
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
 * Whether the server was away, or had too much to do and says when it will have less. Without `google.rpc.RetryInfo`,
 * RESOURCE_EXHAUSTED is something that time does not mend: a full disk, a message that is too large.
 */
function isRetryable({ code, reason, retryDelayMs }: RichStatus): boolean {
  if (code === Code.RESOURCE_EXHAUSTED) return retryDelayMs !== undefined;
  return code === Code.UNAVAILABLE || (reason === '' && RESET.has(code));
}

/** What the server would say of such a field, said before it is sent. */
export function invalidArgument(field: string, description: string): ScalingnoteError {
  return new ScalingnoteError({
    code: Code.INVALID_ARGUMENT,
    message: `${field}: ${description}`,
    reason: 'INVALID_ARGUMENT',
    violations: [{ field, description }],
  });
}

/** What grpc-js threw, with the details that the server sent along. Anything else passes through. */
export function toScalingnoteError(error: unknown): unknown {
  if (!isServiceError(error)) return error;
  const [details] = error.metadata.get(STATUS_DETAILS_TRAILER);
  return new ScalingnoteError(
    {
      reason: '',
      ...(Buffer.isBuffer(details) ? richStatus(details) : undefined),
      code: error.code,
      message: error.details,
    },
    { cause: error },
  );
}

/** Details are an extra: where something on the way has damaged them, the status still stands. */
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
