import { type ChannelCredentials, type MethodDefinition } from '@grpc/grpc-js';
import type { ChannelOptions } from './channel.ts';
import { type Credentials, openCredentials } from './credentials.ts';
import { type ScalingnoteError, toScalingnoteError } from './errors.ts';
import { Retries } from './retries.ts';
import type { Balancing, Server, Servers } from './servers.ts';
import { type CallMetadata, metadataOf } from './tracing-interceptor.ts';

/** How a client reaches its service. */
export interface ClientOptions {
  /** `host:port` of the service. A name that leads to several machines is one server each. */
  address?: string;
  /** `host:port` of each server of the service, instead of `address`. */
  addresses?: readonly string[];
  /** Which server a call goes to, of those that are connected and serve. @default 'round-robin' */
  balancing?: Balancing;
  /**
   * Key or token, and whom to trust; or what grpc-js makes of such.
   *
   * @default what `SCALINGNOTE_API_KEY`, `SCALINGNOTE_API_KEY_FILE`, `SCALINGNOTE_CA`, `SCALINGNOTE_CLIENT_CERT` and
   *   `SCALINGNOTE_CLIENT_KEY` say, else plain text and no key, as on a loopback address
   */
  credentials?: ChannelCredentials | Credentials;
  /** How long a call may take, retries included, in milliseconds. @default 10000 */
  timeoutMs?: number;
  /**
   * Attempts in all, if the server is unreachable or overloaded. With 1, a call fails at once where no server is
   * connected; otherwise it waits for one.
   *
   * @default as many as the timeout and the retry budget allow
   */
  attempts?: number;
  /** Whether a call waits for a server where none is connected; otherwise it fails at once. @default true */
  waitForReady?: boolean;
  /**
   * A call that only reads is made a second time, on another server where there is one, when it was not answered for so
   * many milliseconds; the first answer counts. Each such call takes from the retry budget. @default never
   */
  hedgeAfterMs?: number;
  /** Options of the gRPC channels, over our own. */
  channelOptions?: ChannelOptions;
}

/** Bounds of one call. */
export interface CallBounds {
  /** Cancels the call. */
  signal?: AbortSignal;
  /** How long the call may take, retries included, in milliseconds. @default the client's */
  timeoutMs?: number;
  /** W3C trace context that the call belongs to. @default what is active in OpenTelemetry, if that is in use */
  traceparent?: string;
  /** What the call carries besides, by key in lower case; keys that end with `-bin` carry bytes. */
  metadata?: CallMetadata;
  /** As in {@link ClientOptions.hedgeAfterMs}. @default the client's */
  hedgeAfterMs?: number;
}

/** Ten seconds: longer than any healthy call, shorter than a person waits. */
const DEFAULT_TIMEOUT_MS = 10_000;

/** Options with every default filled in. */
export type Resolved = Required<Omit<ClientOptions, 'address' | 'credentials'>> & {
  credentials: ChannelCredentials;
};

/** Fills in the defaults. @param address - of the service, where the caller names none */
export function resolve(options: ClientOptions, address: string): Resolved {
  const addresses = options.addresses ?? [options.address ?? address];
  const { channel, interceptors } = openCredentials(options.credentials, addresses);
  const { interceptors: own = [], ...channelOptions } = options.channelOptions ?? {};
  return {
    addresses,
    balancing: options.balancing ?? 'round-robin',
    credentials: channel,
    timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    attempts: options.attempts ?? Infinity,
    waitForReady: options.waitForReady ?? true,
    hedgeAfterMs: options.hedgeAfterMs ?? Infinity,
    channelOptions: { ...channelOptions, interceptors: [...own, ...interceptors] },
  };
}

/** What a unary call needs to know of its method. */
export type UnaryMethod<Request, Response> = Pick<
  MethodDefinition<Request, Response>,
  'path' | 'requestSerialize' | 'responseDeserialize'
>;

/** How a unary call is made. */
export interface CallOptions extends Pick<
  Resolved,
  'timeoutMs' | 'attempts' | 'waitForReady' | 'hedgeAfterMs'
> {
  /** Whether it changes something; then it is never made twice at the same time. @default false */
  isWrite?: boolean;
}

/**
 * Makes a unary call, and repeats it while the servers are away or overloaded and the deadline allows. Every unary
 * method of ours may be repeated: reads change nothing, and deleting twice deletes once.
 *
 * @throws {ScalingnoteError}
 */
export async function unary<Request, Response>(
  servers: Servers,
  method: UnaryMethod<Request, Response>,
  request: Request,
  options: CallOptions,
  bounds: CallBounds = {},
): Promise<Response> {
  const { signal } = bounds;
  const deadline = Date.now() + (bounds.timeoutMs ?? options.timeoutMs);
  const { attempts, waitForReady } = options;
  const hedgeAfterMs = options.isWrite ? Infinity : (bounds.hedgeAfterMs ?? options.hedgeAfterMs);
  let mayWait = waitForReady && attempts > 1;
  const retries = new Retries(servers, { attempts, waitForReady, deadline, signal });
  servers.budget.deposit();
  let server: Server | undefined;
  for (;;) {
    signal?.throwIfAborted();
    // Behind those that wait for a server already, and without asking whether it is there: they know.
    if (mayWait && servers.waiting.size > 0) await servers.waiting.turn(deadline, signal);
    server = await servers.pick(deadline, signal, server);
    const first = server;
    const begin = (on: Server): Attempt<Response> =>
      attempt(servers, on, method, request, deadline, attempts > 1, bounds);
    try {
      if (hedgeAfterMs === Infinity || attempts === 1) return await begin(first).answer;
      return await hedged(servers, first, begin, hedgeAfterMs, deadline, signal);
    } catch (error) {
      await retries.next(error, first);
      // Those waits for a turn are over.
      mayWait = false;
    }
  }
}

/** A call to one server. */
interface Attempt<Response> {
  answer: Promise<Response>;
  cancel(): void;
}

/** The first answer of two calls, of which the second begins when the first one takes long. */
async function hedged<Response>(
  servers: Servers,
  server: Server,
  begin: (server: Server) => Attempt<Response>,
  hedgeAfterMs: number,
  deadline: number,
  signal: AbortSignal | undefined,
): Promise<Response> {
  const first = begin(server);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolvePromise) => {
    timer = setTimeout(resolvePromise, hedgeAfterMs, undefined);
  });
  try {
    // An answer is wrapped, so that it differs from no answer.
    const inTime = await Promise.race([first.answer.then((answer) => ({ answer })), late]);
    if (inTime) return inTime.answer;
  } finally {
    clearTimeout(timer);
  }
  if (servers.budget.take(0) === undefined) return await first.answer;
  const second = begin(await servers.pick(deadline, signal, server));
  try {
    return await Promise.any([first.answer, second.answer]);
  } catch (error) {
    throw error instanceof AggregateError ? error.errors[0] : error;
  } finally {
    first.cancel();
    second.cancel();
  }
}

function attempt<Request, Response>(
  servers: Servers,
  server: Server,
  { path, requestSerialize, responseDeserialize }: UnaryMethod<Request, Response>,
  request: Request,
  deadline: number,
  mayMove: boolean,
  { signal, traceparent, metadata }: CallBounds,
): Attempt<Response> {
  let cancel = (): void => {};
  const answer = new Promise<Response>((resolvePromise, reject) => {
    const carried = metadataOf(traceparent, metadata);
    let moved: ScalingnoteError | undefined;
    const leave = servers.enter(server, (error) => {
      if (!mayMove) return;
      moved = error;
      cancel();
    });
    const trust = mayMove ? servers.suspect(server) : (): void => {};
    const call = server.client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      carried,
      { deadline },
      (error, response) => {
        leave();
        trust();
        signal?.removeEventListener('abort', cancel);
        if (signal?.aborted) reject(signal.reason as Error);
        else if (error) reject(moved ?? toScalingnoteError(error));
        else resolvePromise(response as Response);
      },
    );
    cancel = () => call.cancel();
    signal?.addEventListener('abort', cancel, { once: true });
  });
  return { answer, cancel: () => cancel() };
}
