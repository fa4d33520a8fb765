import { fields } from '../../towers/lookup/protobuf.ts';

/** A field of a request that is wrong. */
export interface FieldViolation {
  field: string;
  description: string;
}

/** What the service said besides the message. */
export interface ErrorDetails {
  reason?: string;
  retryDelayMs?: number;
  violations?: readonly FieldViolation[];
}

/** What a call failed with. Its message names the field and the fix. */
export class WebError extends Error {
  override readonly name = 'WebError';
  /** Of Connect: `invalid_argument`, `unavailable`, ... */
  readonly code: string;
  /** Stable reason in UPPER_SNAKE_CASE, for example `SPACE_MISMATCH`; empty where no service gave one. */
  readonly reason: string;
  /** The fields of the request that are wrong. */
  readonly violations: readonly FieldViolation[];
  /** Shortest wait before the next attempt, in milliseconds, where the service names one. */
  readonly retryDelayMs: number | undefined;

  constructor(code: string, message: string, details: ErrorDetails & ErrorOptions = {}) {
    super(message, details.cause === undefined ? {} : { cause: details.cause });
    this.code = code;
    this.reason = details.reason ?? '';
    this.violations = details.violations ?? [];
    this.retryDelayMs = details.retryDelayMs;
  }

  /** Whether the same call may go through later. */
  get retryable(): boolean {
    return (
      this.code === 'unavailable' || (this.code === 'resource_exhausted' && this.retryDelayMs !== undefined)
    );
  }
}

/** The error that the service would return for such a field, without sending it. */
export function invalidArgument(field: string, description: string, cause?: unknown): WebError {
  return new WebError('invalid_argument', `${field}: ${description}`, {
    reason: 'INVALID_ARGUMENT',
    violations: [{ field, description }],
    cause,
  });
}

/** What an answer means that names no code, by its status: it comes from a proxy, or from another service (Connect has this list). */
const CODES: Readonly<Record<number, string>> = {
  400: 'internal',
  401: 'unauthenticated',
  403: 'permission_denied',
  404: 'unimplemented',
  429: 'unavailable',
  502: 'unavailable',
  503: 'unavailable',
  504: 'unavailable',
};

/** The code of an answer that names none. */
export function codeOf(status: number): string {
  return CODES[status] ?? 'unknown';
}

/** The error JSON of Connect. What is no detail that is known here is passed over: the message still counts. */
export function connectError(
  body: { code?: unknown; message?: unknown; details?: unknown },
  status: number,
): WebError {
  const details: { -readonly [Key in keyof ErrorDetails]: ErrorDetails[Key] } = {};
  const violations: FieldViolation[] = [];
  for (const { type, value } of Array.isArray(body.details)
    ? (body.details as { type: string; value: string }[])
    : []) {
    try {
      const bytes = Uint8Array.from(atob(value), (letter) => letter.charCodeAt(0));
      for (const { number, bytes: part } of fields(bytes)) {
        if (part === undefined) continue;
        if (type === 'google.rpc.ErrorInfo' && number === 1) details.reason = text(part);
        else if (type === 'google.rpc.RetryInfo' && number === 1) details.retryDelayMs = milliseconds(part);
        else if (type === 'google.rpc.BadRequest' && number === 1) violations.push(violation(part));
      }
    } catch {
      // A detail that can't be read.
    }
  }
  const code = typeof body.code === 'string' ? body.code : codeOf(status);
  const message = typeof body.message === 'string' ? body.message : `the service answers ${status}`;
  return new WebError(code, message, { ...details, violations });
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function milliseconds(duration: Uint8Array): number {
  let sum = 0;
  for (const { number, value } of fields(duration)) sum += number === 1 ? value * 1000 : value / 1e6;
  return sum;
}

function violation(message: Uint8Array): FieldViolation {
  const found = { field: '', description: '' };
  for (const { number, bytes = new Uint8Array() } of fields(message)) {
    if (number === 1) found.field = text(bytes);
    else if (number === 2) found.description = text(bytes);
  }
  return found;
}
