import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { type FieldViolation, ScalingnoteError, type StatusName } from '../../../clients/index.ts';
import type { ErrorBody } from '../shared/wire.ts';

/** What else an error tells the page. */
interface Details {
  violations?: readonly FieldViolation[];
  retryDelayMs?: number | undefined;
  cause?: unknown;
}

/** An answer that is an error. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly status: ContentfulStatusCode;
  readonly reason: string;
  readonly body: ErrorBody;

  constructor(status: ContentfulStatusCode, reason: string, message: string, details: Details = {}) {
    const { violations = [], retryDelayMs, cause } = details;
    super(message, { cause });
    this.status = status;
    this.reason = reason;
    this.body = {
      error: {
        reason,
        message,
        ...(violations.length > 0 && { violations }),
        ...(retryDelayMs !== undefined && { retryDelayMs }),
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

/** As google.rpc.Code maps them; all others are errors of the console itself, 500. */
const STATUSES: Partial<Record<StatusName, ContentfulStatusCode>> = {
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

/** Turns the error of a call to a service into one for the page; returns any other error as it is. */
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

/** The message of {@link fromCallError}, where the answer is not an error as a whole. */
export function callProblem(error: unknown, service: string): string {
  return (fromCallError(error, service) as Error).message;
}
