import { credentials, Metadata, type CallOptions, type ServiceError } from '@grpc/grpc-js';
import { pino, type Logger } from 'pino';
import type {
  QueryServiceClient,
  QueryServiceHandlers,
} from '../../../proto/generated/scalingnote/v1/QueryService.ts';
import type { SearchStreamRequest } from '../../../proto/generated/scalingnote/v1/SearchStreamRequest.ts';
import type { SearchStreamResponse__Output } from '../../../proto/generated/scalingnote/v1/SearchStreamResponse.ts';
import { v1 } from '../../../proto/load.ts';
import { decodeStatus, STATUS_DETAILS_TRAILER, type RichStatus } from '../../../proto/status.ts';
import type { Implementation } from '../handler.ts';
import { service, startServer, type RunningServer, type ServerOptions, type Service } from '../server.ts';

/** What a test does not say: a call of it fails. */
export const NOTHING: Implementation<QueryServiceHandlers> = {
  Search: () => Promise.reject(new Error('not part of this test')),
  SearchByVector: () => Promise.reject(new Error('not part of this test')),
  SearchStream: () => Promise.reject(new Error('not part of this test')),
  Encode: () => Promise.reject(new Error('not part of this test')),
  MeasureFamiliarity: () => Promise.reject(new Error('not part of this test')),
  Describe: () => Promise.reject(new Error('not part of this test')),
};

/** A log that keeps its lines. */
export function recordingLog(): { log: Logger; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const write = (line: string): void => {
    lines.push(JSON.parse(line) as Record<string, unknown>);
  };
  return { log: pino({ level: 'info' }, { write }), lines };
}

/** A server in this process, on a port of its own, with a client of the query service. */
export interface Harness {
  server: RunningServer;
  client: QueryServiceClient;
  stop(): Promise<void>;
}

export async function serveService(
  served: Service,
  options: Partial<
    Pick<
      ServerOptions,
      'log' | 'maxReceiveBytes' | 'telemetry' | 'corsOrigins' | 'headTimeoutMs' | 'hooks' | 'routes'
    >
  > = {},
): Promise<Harness> {
  const server = await startServer({
    host: '127.0.0.1',
    port: 0,
    portSetting: '--port',
    services: [served],
    maxReceiveBytes: options.maxReceiveBytes ?? 16 * 1024 * 1024,
    log: options.log ?? pino({ level: 'silent' }),
    telemetry: options.telemetry,
    corsOrigins: options.corsOrigins,
    headTimeoutMs: options.headTimeoutMs,
    hooks: options.hooks,
    routes: options.routes,
  });
  server.setServing(true);
  const client = new v1.QueryService(server.address, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_send_message_length': -1,
  });
  return {
    server,
    client,
    stop: async () => {
      client.close();
      await server.shutdown(100);
    },
  };
}

/** Serves the query service with handlers of the test. */
export function serve(
  implementation: Partial<Implementation<QueryServiceHandlers>>,
  options: Parameters<typeof serveService>[1] = {},
): Promise<Harness> {
  return serveService(
    service<QueryServiceHandlers>(v1.QueryService.service, { ...NOTHING, ...implementation }),
    options,
  );
}

/** Calls a unary method by name; the request goes through `serialize`, so a test may send any bytes. */
export function callUnary<Response>(
  client: QueryServiceClient,
  method: 'Search' | 'SearchByVector' | 'Encode' | 'MeasureFamiliarity' | 'Describe',
  request: object,
  options: CallOptions & { serialize?: (request: object) => Buffer } = {},
  metadata = new Metadata(),
): Promise<Response> {
  const definition = v1.QueryService.service[method];
  const { serialize = definition.requestSerialize, ...rest } = options;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      definition.path,
      serialize,
      definition.responseDeserialize as (bytes: Buffer) => object,
      request,
      metadata,
      rest,
      (error, response) => (error ? reject(error) : resolve(response as Response)),
    );
  });
}

/** The status that a call failed with. */
export async function failure(call: Promise<unknown>): Promise<RichStatus> {
  try {
    await call;
  } catch (error) {
    return statusOf(error as ServiceError);
  }
  throw new Error('the call went through');
}

/** The status of a call's error, from its trailer where there is one. */
export function statusOf(error: ServiceError): RichStatus {
  const [trailer] = error.metadata?.get(STATUS_DETAILS_TRAILER) ?? [];
  return trailer instanceof Buffer
    ? decodeStatus(trailer)
    : { code: error.code, message: error.details, reason: '' };
}

/** The client's end of a SearchStream. */
export class TestStream {
  readonly answers: SearchStreamResponse__Output[] = [];
  /** How the stream ended: code 0 for a proper end. */
  readonly ended: Promise<RichStatus>;
  readonly call: ReturnType<QueryServiceClient['searchStream']>;
  #wake: () => void = () => {};

  constructor(client: QueryServiceClient, options: CallOptions = {}) {
    this.call = client.searchStream(options);
    this.call.on('data', (answer: SearchStreamResponse__Output) => {
      this.answers.push(answer);
      this.#wake();
    });
    this.ended = new Promise((resolve) => {
      this.call.on('end', () => resolve({ code: 0, message: '', reason: '' }));
      this.call.on('error', (error: ServiceError) => resolve(statusOf(error)));
    });
  }

  send(request: SearchStreamRequest): void {
    this.call.write(request);
  }

  end(): void {
    this.call.end();
  }

  /** Waits until so many answers have come. */
  async untilAnswers(count: number): Promise<SearchStreamResponse__Output[]> {
    while (this.answers.length < count) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.answers;
  }
}

/** Waits until a condition holds, a turn of the event loop at a time. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 2));
}
