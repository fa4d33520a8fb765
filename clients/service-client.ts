import type { ClientDuplexStream, ClientReadableStream, ServiceDefinition } from '@grpc/grpc-js';
import type { ServiceInfo__Output } from '../proto/generated/scalingnote/v1/ServiceInfo.ts';
import type { Health, ServiceInfo } from './answers.ts';
import {
  type CallBounds,
  type CallOptions,
  type ClientOptions,
  type Resolved,
  resolve,
  unary,
  type UnaryMethod,
} from './call.ts';
import { fromServiceInfo } from './from-wire.ts';
import { type Server, Servers } from './servers.ts';
import { checkBounds, checkClientOptions } from './strict/tables.ts';
import { metadataOf } from './tracing-interceptor.ts';

/** Names of a service's methods; the generated definitions admit every other name as well. */
type MethodName<Methods> = keyof { [Name in keyof Methods as string extends Name ? never : Name]: unknown };

/** What grpc-js makes of a service of the contract: the client is our own, the methods count. */
interface Stub<Methods> {
  service: Methods;
}

/**
 * `grpc.health.v1.Health/Check`. The messages are so small that they are written out here: the request for the server
 * as a whole is empty, and the answer SERVING is field 1 (tag 0x08) with value 1.
 */
const CHECK_HEALTH: UnaryMethod<object, Health> = {
  path: '/grpc.health.v1.Health/Check',
  requestSerialize: () => Buffer.alloc(0),
  responseDeserialize: (bytes) => (bytes[0] === 0x08 && bytes[1] === 1 ? 'SERVING' : 'NOT_SERVING'),
};

/** What a stream carries besides its messages. */
export type StreamBounds = Pick<CallBounds, 'traceparent' | 'metadata'>;

type RequestOf<Method> = Method extends { requestSerialize(request: infer Request): Buffer }
  ? Request
  : never;
type ResponseOf<Method> = Method extends { responseDeserialize(bytes: Buffer): infer Response }
  ? Response
  : never;

/** What clients of both services have in common: the servers, calls with retries, `Describe` and health. */
export abstract class ServiceClient<Methods extends ServiceDefinition> {
  protected readonly servers: Servers;
  protected readonly options: Resolved;
  readonly #methods: Methods;

  protected constructor(
    { service }: Stub<Methods>,
    options: ClientOptions | undefined,
    defaultAddress: string,
  ) {
    this.options = resolve(checkClientOptions(options), defaultAddress);
    this.servers = new Servers(this.options);
    this.#methods = service;
  }

  /** What the service is and which tower it runs. @throws {ScalingnoteError} */
  async describe(bounds?: CallBounds): Promise<ServiceInfo> {
    const method = this.#methods['Describe'] as UnaryMethod<object, { service: ServiceInfo__Output | null }>;
    const { service } = await unary(this.servers, method, {}, this.options, checkBounds(bounds));
    return fromServiceInfo(service);
  }

  /** What the server says of its own health. @throws {ScalingnoteError} where the server does not answer */
  async health(bounds?: CallBounds): Promise<Health> {
    return await unary(this.servers, CHECK_HEALTH, {}, this.options, checkBounds(bounds));
  }

  /** Takes no more calls and closes the connections; what is under way is still answered. */
  close(): void {
    this.servers.close();
  }

  /** For `using client = ...`: closes the client when the block ends. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** For `await using client = ...`: closes the client, and waits for the answers that are under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.servers.idle();
  }

  /** Calls a unary method. @throws {ScalingnoteError} */
  protected async call<Name extends MethodName<Methods>>(
    name: Name,
    request: Parameters<Methods[Name]['requestSerialize']>[0],
    bounds: CallBounds | undefined,
    own: Partial<CallOptions> = {},
  ): Promise<ReturnType<Methods[Name]['responseDeserialize']>> {
    const options = { ...this.options, ...own };
    return await unary(this.servers, this.#methods[name]!, request, options, checkBounds(bounds));
  }

  /** Opens a stream to a server that takes one. */
  protected duplex<Name extends MethodName<Methods>>(
    name: Name,
    server: Server,
    bounds: StreamBounds,
  ): ClientDuplexStream<RequestOf<Methods[Name]>, ResponseOf<Methods[Name]>> {
    const { path, requestSerialize, responseDeserialize } = this.#methods[name]!;
    const metadata = metadataOf(bounds.traceparent, bounds.metadata);
    return this.#counted(server, () =>
      server.client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata),
    );
  }

  /** Opens a stream of answers to one request, from a server that takes it. */
  protected answers<Name extends MethodName<Methods>>(
    name: Name,
    server: Server,
    request: RequestOf<Methods[Name]>,
    bounds: StreamBounds,
  ): ClientReadableStream<ResponseOf<Methods[Name]>> {
    const { path, requestSerialize, responseDeserialize } = this.#methods[name]!;
    const metadata = metadataOf(bounds.traceparent, bounds.metadata);
    return this.#counted(server, () =>
      server.client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, metadata),
    );
  }

  /** Whether a call waits for a server where none is connected. */
  protected get mayWait(): boolean {
    return this.options.waitForReady && this.options.attempts > 1;
  }

  /** The server that the next stream goes to; waits for one no longer than a call may take. */
  protected pick(signal: AbortSignal | undefined): Promise<Server> {
    return this.servers.pick(Date.now() + this.options.timeoutMs, signal);
  }

  #counted<Stream extends ClientReadableStream<unknown>>(server: Server, open: () => Stream): Stream {
    const leave = this.servers.enter(server, () => stream.cancel());
    const stream = open();
    stream.once('status', leave);
    return stream;
  }
}
