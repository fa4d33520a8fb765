import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  InterceptingCall,
  Metadata,
  type ClientDuplexStream,
  type ClientReadableStream,
  type Interceptor,
  type MethodDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import type { CallBounds, ClientOptions } from '../../clients/call.ts';
import type { Credentials } from '../../clients/credentials.ts';
import { ScalingnoteError, toScalingnoteError } from '../../clients/errors.ts';
import { ServiceClient, type StreamBounds } from '../../clients/service-client.ts';
import { Servers } from '../../clients/servers.ts';
import { packageDefinition } from '../../proto/load.ts';
import { STATUS_DETAILS_TRAILER } from '../../proto/status.ts';
import type { Ask, Outcome } from './client-messages.ts';
import type { Any, Suite, WireError } from './messages.ts';
import { headersOf, metadataOf } from './metadata.ts';

interface Answer {
  payload: object | null;
}
type Method = MethodDefinition<object, Answer>;
type Methods = Record<'Unary' | 'IdempotentUnary' | 'Unimplemented' | 'ServerStream' | 'BidiStream', Method>;

/** What grpc-js compresses with, by its own numbers. */
const COMPRESSIONS: Readonly<Record<string, number>> = {
  COMPRESSION_IDENTITY: 0,
  COMPRESSION_DEFLATE: 1,
  COMPRESSION_GZIP: 2,
};

/** Longer than any answer of the suite takes; where there is no deadline, grpc-js may wait for ever. */
const GIVE_UP_MS = 8_000;

const statusType = packageDefinition['google.rpc.Status'] as unknown as {
  deserialize(bytes: Buffer): { details: Any[] };
};
const folder = mkdtempSync(join(tmpdir(), 'scalingnote-conformance-'));
let files = 0;

/** Makes one call of the suite as the methods of our clients make theirs. */
export async function callByGrpc(suite: Suite, ask: Ask): Promise<Outcome> {
  const heard = new Heard();
  const limit = ask.messageReceiveLimit;
  using client = new SuiteClient(suite, {
    address: `${ask.host}:${ask.port}`,
    // Each call is the suite's own: what it makes fail has to fail.
    attempts: 1,
    channelOptions: {
      'grpc.default_compression_algorithm': COMPRESSIONS[ask.compression]!,
      ...(limit > 0 && { 'grpc.max_receive_message_length': limit }),
    },
    ...(ask.serverTlsCert.length > 0 && { credentials: credentialsOf(ask) }),
  });
  client.hear(heard.interceptor(ask));
  const payloads: object[] = [];
  let error: WireError | undefined;
  let numUnsentRequests = 0;
  try {
    const requests = ask.requestMessages.map(({ type_url: url, value }) =>
      suite.type<object>(url.slice(url.lastIndexOf('.') + 1)).deserialize(value),
    );
    numUnsentRequests = requests.length;
    const sent = (): void => void numUnsentRequests--;
    for await (const { payload } of client.answersOf(ask, requests, sent)) payloads.push(payload ?? {});
  } catch (caught) {
    error = wireError(toScalingnoteError(caught));
  }
  return {
    responseHeaders: headersOf(heard.headers),
    responseTrailers: headersOf(heard.trailers),
    payloads,
    ...(error && { error }),
    numUnsentRequests,
  };
}

class SuiteClient extends ServiceClient<Methods> {
  constructor(suite: Suite, options: ClientOptions) {
    super({ service: suite.service as unknown as Methods }, options, '');
  }

  /** Listens to headers and trailers, which our clients keep to themselves: the same servers, with one ear more. */
  hear(interceptor: Interceptor): void {
    const { channelOptions } = this.options;
    const interceptors = [interceptor, ...(channelOptions.interceptors ?? [])];
    this.servers.close();
    Object.assign(this, {
      servers: new Servers({ ...this.options, channelOptions: { ...channelOptions, interceptors } }),
    });
  }

  async *answersOf(ask: Ask, requests: readonly object[], sent: () => void): AsyncGenerator<Answer> {
    const metadata = Object.fromEntries(
      ask.requestHeaders.map(({ name }) => [name.toLowerCase(), metadataOf(ask.requestHeaders).get(name)]),
    );
    switch (ask.method) {
      case 'ServerStream': {
        sent();
        const call = this.answers(ask.method, await this.pick(undefined), requests[0]!, { metadata });
        yield* untilCancelled(ask, call, messagesOf(call));
        return;
      }
      case 'BidiStream':
        yield* this.#bidi(ask, requests, { metadata }, sent);
        return;
      case 'Unary':
      case 'IdempotentUnary':
      case 'Unimplemented':
        sent();
        yield await this.#unary(ask, ask.method, requests[0]!, { metadata });
        return;
      default:
        throw new Error(`no client of ours has a method like ${ask.method}`);
    }
  }

  async #unary(ask: Ask, name: keyof Methods, request: object, bounds: CallBounds): Promise<Answer> {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), ask.cancel ? (ask.cancel.afterCloseSendMs ?? 0) : GIVE_UP_MS).unref();
    try {
      const timeoutMs = ask.timeoutMs === undefined ? {} : { timeoutMs: ask.timeoutMs };
      return await this.call(name, request, { ...bounds, ...timeoutMs, signal: stop.signal });
    } catch (error) {
      if (stop.signal.aborted && error === stop.signal.reason) throw CANCELLED;
      throw error;
    }
  }

  async *#bidi(
    ask: Ask,
    requests: readonly object[],
    bounds: StreamBounds,
    sent: () => void,
  ): AsyncGenerator<Answer> {
    const call = this.duplex('BidiStream', await this.pick(undefined), bounds);
    const inTurn = ask.streamType === 'STREAM_TYPE_FULL_DUPLEX_BIDI_STREAM';
    const answers = untilCancelled(ask, call, messagesOf(call));
    for (const request of requests) {
      if (ask.requestDelayMs > 0) await sleep(ask.requestDelayMs);
      if (call.destroyed) break;
      if (!call.write(request)) await Promise.race([once(call, 'drain'), once(call, 'close')]);
      sent();
      if (!inTurn) continue;
      const { value, done } = await answers.next();
      if (done === true) break;
      yield value;
    }
    if (ask.cancel?.beforeCloseSend) call.cancel();
    else call.end();
    yield* answers;
  }
}

const CANCELLED = new ScalingnoteError({ code: 1, message: 'cancelled by the suite', reason: '' });

/** The answers of a stream, which is cancelled when the suite says so. */
async function* untilCancelled(
  { cancel }: Ask,
  call: ClientReadableStream<Answer> | ClientDuplexStream<object, Answer>,
  answers: AsyncIterable<Answer>,
): AsyncGenerator<Answer> {
  const afterMs =
    cancel?.afterCloseSendMs ?? (cancel?.afterNumResponses || cancel?.beforeCloseSend ? undefined : 0);
  if (cancel && afterMs !== undefined) {
    const begin = (): void => void setTimeout(() => call.cancel(), afterMs).unref();
    if ('end' in call) call.once('finish', begin);
    else begin();
  }
  let count = 0;
  for await (const answer of answers) {
    yield answer;
    if (++count === cancel?.afterNumResponses) call.cancel();
  }
}

/** Every message of a stream, those before its error as well, which a stream of Node would drop. */
async function* messagesOf(call: ClientReadableStream<Answer>): AsyncGenerator<Answer> {
  const came: Answer[] = [];
  let isOver = false;
  let failure: unknown;
  let wake = (): void => {};
  call.on('data', (answer: Answer) => (came.push(answer), wake()));
  // What it has read already comes after its error.
  call.on('error', (error: unknown) => {
    failure = error;
    setImmediate(() => ((isOver = true), wake()));
  });
  call.on('end', () => ((isOver = true), wake()));
  for (;;) {
    yield* came.splice(0);
    if (came.length > 0) continue;
    if (isOver && failure !== undefined) throw failure;
    if (isOver) return;
    await new Promise<void>((resolve) => (wake = resolve));
  }
}

/** What a call was answered besides messages: our clients keep that to themselves. */
class Heard {
  headers = new Metadata();
  trailers = new Metadata();

  /**
   * Calls of ours have a deadline always, and the suite has calls that want none: there it is taken away, so that all
   * else of them is judged.
   */
  interceptor({ timeoutMs }: Ask): Interceptor {
    return ({ deadline, ...options }, nextCall) => {
      const bounded = timeoutMs === undefined || deadline === undefined ? options : { ...options, deadline };
      return new InterceptingCall(nextCall(bounded), {
        start: (metadata, _, next) =>
          next(metadata, {
            onReceiveMetadata: (received, pass) => {
              this.headers = received;
              pass(received);
            },
            onReceiveStatus: (status, pass) => {
              this.trailers = status.metadata;
              pass(status);
            },
          }),
      });
    };
  }
}

function credentialsOf({ serverTlsCert, clientTlsCreds }: Ask): Credentials {
  const ca = fileWith(serverTlsCert);
  if (!clientTlsCreds) return { ca };
  return { ca, cert: fileWith(clientTlsCreds.cert), key: fileWith(clientTlsCreds.key) };
}

function fileWith(bytes: Buffer): string {
  const path = join(folder, String(files++));
  writeFileSync(path, bytes);
  return path;
}

/** An error of our clients, in the words of the suite. */
function wireError(error: unknown): WireError {
  if (!(error instanceof ScalingnoteError)) throw error;
  const cause = error.cause as ServiceError | undefined;
  const [packed] = cause?.metadata?.get(STATUS_DETAILS_TRAILER) ?? [];
  const details = Buffer.isBuffer(packed) ? detailsIn(packed) : [];
  return { code: `CODE_${error.code.replace('CANCELLED', 'CANCELED')}`, message: error.message, details };
}

function detailsIn(packed: Buffer): Any[] {
  try {
    return statusType.deserialize(packed).details;
  } catch {
    return [];
  }
}
