import { type FieldViolation, ScalingnoteError, type StatusName } from '../../../clients/index.ts';
import type { ErrorBody } from '../shared/wire.ts';

/** An answer that is an error. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly status: number;
  readonly reason: string;
  readonly violations: readonly FieldViolation[];
  readonly retryDelayMs: number | undefined;

  constructor(
    status: number,
    reason: string,
    message: string,
    options: {
      violations?: readonly FieldViolation[];
      retryDelayMs?: number | undefined;
      cause?: unknown;
    } = {},
  ) {
    super(message, { cause: options.cause });
    this.status = status;
    this.reason = reason;
    this.violations = options.violations ?? [];
    this.retryDelayMs = options.retryDelayMs;
  }

  get body(): ErrorBody {
    return {
      error: {
        reason: this.reason,
        message: this.message,
        ...(this.violations.length > 0 ? { violations: this.violations } : {}),
        ...(this.retryDelayMs === undefined ? {} : { retryDelayMs: this.retryDelayMs }),
      },
    };
  }
}

/** A field of the request is wrong; `description` says how and what to send instead. */
export function badRequest(field: string, description: string): HttpError {
  return new HttpError(400, 'INVALID_ARGUMENT', `${field}: ${description}`, {
    violations: [{ field, description }],
  });
}

/** As google.rpc.Code maps them; what is not here is the bridge's own affair, 500. */
const STATUSES: Partial<Record<StatusName, number>> = {
  INVALID_ARGUMENT: 400,
  OUT_OF_RANGE: 400,
  FAILED_PRECONDITION: 400,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  NOT_FOUND: 404,
  ABORTED: 409,
  RESOURCE_EXHAUSTED: 429,
  UNIMPLEMENTED: 501,
  UNAVAILABLE: 503,
  DEADLINE_EXCEEDED: 504,
};

/** What a call to a service failed with, for the page; anything else passes through. */
export function fromCallError(error: unknown, service: string): unknown {
  if (!(error instanceof ScalingnoteError)) return error;
  const { code, reason, violations, retryDelayMs } = error;
  // Only a service gives a reason; without one, nobody answered.
  const isAway = code === 'UNAVAILABLE' && reason === '';
  const message = isAway
    ? `nothing answers at ${service}; start the services with "scalingnote up"`
    : error.message;
  return new HttpError(STATUSES[code] ?? 500, reason || code, message, {
    violations,
    retryDelayMs,
    cause: error,
  });
}
