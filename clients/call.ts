import { setTimeout as sleep } from 'node:timers/promises';
import {
  type ChannelCredentials,
  type Client,
  type ClientOptions as ChannelOptions,
  credentials,
  type MethodDefinition,
} from '@grpc/grpc-js';
import { ScalingnoteError, toScalingnoteError } from './errors.ts';
import { metadataOf, tracingInterceptor } from './tracing.ts';

/** How a client reaches its service. */
export interface ClientOptions {
  /** `host:port` of the service. */
  address?: string;
  /** @default plain text, as on a loopback address */
  credentials?: ChannelCredentials;
  /** How long a call may take, retries included, in milliseconds. @default 10000 */
  timeoutMs?: number;
  /** Attempts in all, if the server is unreachable or overloaded. @default 4 */
  attempts?: number;
}

/** Bounds of one call. */
export interface CallBounds {
  /** Cancels the call. */
  signal?: AbortSignal;
  /** How long the call may take, retries included, in milliseconds. @default the client's */
  timeoutMs?: number;
  /** W3C trace context that the call belongs to. @default what is active in OpenTelemetry, if that is in use */
  traceparent?: string;
}

/** Ten seconds: longer than any healthy call, shorter than a person waits. */
const DEFAULT_TIMEOUT_MS = 10_000;
const DEFAULT_ATTEMPTS = 4;

/** First step and ceiling of the backoff between attempts. */
const BACKOFF_BASE_MS = 50;
const BACKOFF_MAX_MS = 5_000;

/** Pings keep NATs and load balancers from forgetting an idle connection, and find a dead one within 40 s. */
const KEEPALIVE_TIME_MS = 30_000;
const KEEPALIVE_TIMEOUT_MS = 10_000;

/** A thousand hits with long texts are far below this. */
const MAX_RECEIVE_BYTES = 64 * 1024 * 1024;

const CHANNEL_OPTIONS: ChannelOptions = {
  'grpc.keepalive_time_ms': KEEPALIVE_TIME_MS,
  'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
  'grpc.max_receive_message_length': MAX_RECEIVE_BYTES,
  // A stream of documents resumes by itself, so the channel should not wait two minutes before it reconnects.
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': BACKOFF_MAX_MS,
  // This module counts attempts, because it follows the server's retry delay.
  'grpc.enable_retries': 0,
};

/** The options of a gRPC channel that every client of ours uses. @param address - `host:port` of the service */
export function channelOptions(address: string): ChannelOptions {
  return {
    ...CHANNEL_OPTIONS,
    // gRPC would send calls to this machine to the proxy of `https_proxy` or `http_proxy`, too.
    'grpc.enable_http_proxy': LOOPBACK.test(address) ? 0 : 1,
    interceptors: [tracingInterceptor(address)],
  };
}

/** Addresses, with or without their port, that lead to this machine. */
const LOOPBACK = /^(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?$|^::1$/i;

/** Options with every default filled in. */
export type Resolved = Required<ClientOptions>;

/** Fills in the defaults. @param address - of the service, where the caller names none */
export function resolve(options: ClientOptions, address: string): Resolved {
  return {
    address: options.address ?? address,
    credentials: options.credentials ?? credentials.createInsecure(),
    timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    attempts: options.attempts ?? DEFAULT_ATTEMPTS,
  };
}

/**
 * How long to wait before another attempt, in milliseconds: full jitter (uniform up to a ceiling that doubles), and
 * never less than what the server asks for.
 *
 * @param attempt - the attempt that failed, from 1
 */
export function backoffMs(attempt: number, error: unknown): number {
  const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** attempt);
  const asked = error instanceof ScalingnoteError ? (error.retryDelayMs ?? 0) : 0;
  return asked + Math.random() * ceiling;
}

/** What a unary call needs to know of its method. */
export type UnaryMethod<Request, Response> = Pick<
  MethodDefinition<Request, Response>,
  'path' | 'requestSerialize' | 'responseDeserialize'
>;

/**
 * Makes a unary call, and repeats it while the server is away or overloaded and the deadline allows. Every unary
 * method of ours may be repeated: reads change nothing, and deleting twice deletes once.
 *
 * @throws {ScalingnoteError}
 */
export async function unary<Request, Response>(
  client: Client,
  method: UnaryMethod<Request, Response>,
  request: Request,
  { timeoutMs, attempts }: Pick<Resolved, 'timeoutMs' | 'attempts'>,
  bounds: CallBounds = {},
): Promise<Response> {
  const deadline = Date.now() + (bounds.timeoutMs ?? timeoutMs);
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(client, method, request, deadline, bounds);
    } catch (error) {
      if (!(error instanceof ScalingnoteError) || !error.retryable || attempt >= attempts) throw error;
      const wait = backoffMs(attempt, error);
      if (Date.now() + wait >= deadline) throw error;
      await pause(wait, bounds.signal);
    }
  }
}

/** Waits; an abort ends the wait with the signal's own reason. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal ? { signal } : {});
  } catch {
    signal?.throwIfAborted();
  }
}

function once<Request, Response>(
  client: Client,
  { path, requestSerialize, responseDeserialize }: UnaryMethod<Request, Response>,
  request: Request,
  deadline: number,
  { signal, traceparent }: CallBounds,
): Promise<Response> {
  signal?.throwIfAborted();
  return new Promise((resolvePromise, reject) => {
    const call = client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      metadataOf(traceparent),
      { deadline },
      (error, response) => {
        signal?.removeEventListener('abort', cancel);
        if (signal?.aborted) reject(signal.reason as Error);
        else if (error) reject(toScalingnoteError(error));
        else resolvePromise(response as Response);
      },
    );
    const cancel = (): void => call.cancel();
    signal?.addEventListener('abort', cancel, { once: true });
  });
}
