import { signal } from '@preact/signals';
import type { ErrorBody } from '../shared/wire.ts';

/** Whether the console asks for a login before it answers. */
export const loginNeeded = signal(false);

/** The console answers within this, or says why not. */
const TIMEOUT_MS = 30_000;

/** Why a request failed, in words for people. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  /** HTTP status; 0 where the console itself can't be reached. */
  readonly status: number;
  readonly reason: string;
  readonly retryDelayMs: number | undefined;

  constructor(status: number, { error }: ErrorBody) {
    super(error.message);
    this.status = status;
    this.reason = error.reason;
    this.retryDelayMs = error.retryDelayMs;
  }
}

/** `GET`. @throws {ApiError} */
export function get<Answer>(path: string): Promise<Answer> {
  return request(path, { method: 'GET' });
}

/** `POST` of JSON. @throws {ApiError} */
export function post<Answer>(path: string, body: unknown): Promise<Answer> {
  const headers = { 'content-type': 'application/json' };
  return request(path, { method: 'POST', headers, body: JSON.stringify(body) });
}

/** `POST` of bytes, without a time limit. @throws {ApiError} */
export function postBytes<Answer>(path: string, body: Uint8Array<ArrayBuffer>): Promise<Answer> {
  const headers = { 'content-type': 'application/octet-stream' };
  return request(path, { method: 'POST', headers, body }, Number.POSITIVE_INFINITY);
}

/** `DELETE`. @throws {ApiError} */
export function remove<Answer>(path: string): Promise<Answer> {
  return request(path, { method: 'DELETE' });
}

async function request<Answer>(path: string, init: RequestInit, timeoutMs = TIMEOUT_MS): Promise<Answer> {
  let response: Response;
  let text: string;
  try {
    const signal = Number.isFinite(timeoutMs) ? { signal: AbortSignal.timeout(timeoutMs) } : {};
    response = await fetch(path, { ...init, ...signal });
    text = await response.text();
  } catch {
    const message = 'The console does not answer. Is “scalingnote up” still running?';
    throw new ApiError(0, { error: { reason: 'CONSOLE_AWAY', message } });
  }
  if (!response.ok) {
    const error = new ApiError(response.status, errorBody(text, response.status));
    if (error.reason === 'LOGIN_NEEDED') loginNeeded.value = true;
    throw error;
  }
  return JSON.parse(text) as Answer;
}

function errorBody(text: string, status: number): ErrorBody {
  try {
    return JSON.parse(text) as ErrorBody;
  } catch {
    return { error: { reason: 'UNKNOWN', message: `the console answered with status ${status}` } };
  }
}
