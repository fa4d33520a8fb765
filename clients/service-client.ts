import type { Client, ServiceDefinition } from '@grpc/grpc-js';
import type { ServiceInfo__Output } from '../proto/generated/scalingnote/v1/ServiceInfo.ts';
import type { Health, ServiceInfo } from './answers.ts';
import {
  type CallBounds,
  channelOptions,
  type ClientOptions,
  type Resolved,
  resolve,
  unary,
  type UnaryMethod,
} from './call.ts';
import { fromServiceInfo } from './from-wire.ts';

/** Names of a service's methods; the generated definitions admit every other name as well. */
type MethodName<Methods> = keyof { [Name in keyof Methods as string extends Name ? never : Name]: unknown };

/** What grpc-js makes of a service of the contract. */
interface Stub<Connection extends Client, Methods> {
  new (
    address: string,
    credentials: Resolved['credentials'],
    options: ReturnType<typeof channelOptions>,
  ): Connection;
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

/** What clients of both services have in common: one connection, unary calls with retries, `Describe` and health. */
export abstract class ServiceClient<Connection extends Client, Methods extends ServiceDefinition> {
  protected readonly connection: Connection;
  readonly #options: Resolved;
  readonly #methods: Methods;

  protected constructor(
    ServiceStub: Stub<Connection, Methods>,
    options: ClientOptions,
    defaultAddress: string,
  ) {
    this.#options = resolve(options, defaultAddress);
    const { address, credentials } = this.#options;
    this.connection = new ServiceStub(address, credentials, channelOptions(address));
    this.#methods = ServiceStub.service;
  }

  /** What the service is and which tower it runs. @throws {ScalingnoteError} */
  async describe(bounds?: CallBounds): Promise<ServiceInfo> {
    const method = this.#methods['Describe'] as UnaryMethod<object, { service: ServiceInfo__Output | null }>;
    const { service } = await unary(this.connection, method, {}, this.#options, bounds);
    return fromServiceInfo(service);
  }

  /** What the server says of its own health. @throws {ScalingnoteError} where the server does not answer */
  health(bounds?: CallBounds): Promise<Health> {
    return unary(this.connection, CHECK_HEALTH, {}, this.#options, bounds);
  }

  /** Closes the connection. */
  close(): void {
    this.connection.close();
  }

  /** For `using client = ...`: closes the connection when the block ends. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** Calls a unary method. @throws {ScalingnoteError} */
  protected call<Name extends MethodName<Methods>>(
    name: Name,
    request: Parameters<Methods[Name]['requestSerialize']>[0],
    bounds: CallBounds | undefined,
    { attempts }: Pick<Resolved, 'attempts'> = this.#options,
  ): Promise<ReturnType<Methods[Name]['responseDeserialize']>> {
    return unary(this.connection, this.#methods[name]!, request, { ...this.#options, attempts }, bounds);
  }
}
