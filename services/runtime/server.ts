import { setMaxListeners } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import type { FileRegistry } from '@bufbuild/protobuf';
import {
  setLogger,
  type Server,
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import type { Logger } from 'pino';
import { Access } from './access/access.ts';
import { accessHooks } from './access/hooks.ts';
import { budgetsOf } from './admission/budgets.ts';
import {
  serverStream,
  stream,
  unary,
  type Implementation,
  type Scope,
  type ServerStreamHandler,
  type StreamHandler,
  type UnaryHandler,
} from './handler.ts';
import { authority } from './listen-address.ts';
import type { OpenDoor } from './listener/door.ts';
import { BODY_TIMEOUT_MS, HeldBytes, type ExchangeLimits } from './listener/exchange.ts';
import { httpListener } from './listener/http.ts';
import { http2Port } from './listener/http2.ts';
import { listen } from './listener/listener.ts';
import { methodsOf, type BoundService } from './listener/methods.ts';
import type { AddRoutes } from './listener/routes.ts';
import type { Hooks } from './listener/seams.ts';
import { reflection } from './reflection.ts';
import type { Telemetry } from './telemetry/telemetry.ts';
import { guarded, type Salvage } from './request-guard.ts';
import type { ServiceError } from './errors.ts';

export { StartError } from './start-error.ts';

/**
 * How long connections may stay open after our own calls have ended, in milliseconds: long enough for their last answers to go
 * out, where there were calls, but not longer, because health watch streams never end by themselves.
 */
const FLUSH_MS = { idle: 250, busy: 2_000 } as const;

/** A service with its handlers; see {@link service}. */
export interface Service {
  definition: ServiceDefinition;
  bind(scope: Scope): UntypedServiceImplementation;
  /**
   * Why no more streams of a method are taken now, before anything of a new one is read. @default nobody says
   *
   * @param ofPeer how many of the method the same peer has open
   */
  refuseStream?: (method: string, ofPeer: number) => ServiceError | undefined;
  /**
   * Brings into memory what the first calls would wait for. It is called once the service serves. @default there is nothing
   *
   * @param signal aborts when the service stops
   */
  warm?: (signal: AbortSignal) => Promise<void>;
  /** Bounds of its own, by name, for the metrics. @default none */
  limits?: Readonly<Record<string, number>>;
  /** Descriptors of the service, for JSON. @default those of our contract */
  registry?: FileRegistry;
}

/**
 * Puts a service of the wire contract and our handlers of it together.
 *
 * @param salvage by name of a method: what can be read of a request that does not decode. @default none
 */
export function service<Handlers extends UntypedServiceImplementation>(
  definition: ServiceDefinition,
  implementation: Implementation<Handlers>,
  salvage?: Readonly<Record<string, Salvage>>,
): Service {
  const handlers = implementation as Readonly<Record<string, unknown>>;
  return {
    definition: guarded(definition, salvage),
    bind: (scope) =>
      Object.fromEntries(
        Object.entries(definition).map(([name, { path, requestStream, responseStream }]) => [
          name,
          requestStream
            ? stream(path, handlers[name] as StreamHandler<object, unknown>, scope)
            : responseStream
              ? serverStream(path, handlers[name] as ServerStreamHandler<object, unknown>, scope)
              : unary(path, handlers[name] as UnaryHandler<object, unknown>, scope),
        ]),
      ) as Record<string, GrpcHandler>,
  };
}

type GrpcHandler =
  | handleUnaryCall<object, unknown>
  | handleServerStreamingCall<object, unknown>
  | handleBidiStreamingCall<object, unknown>;

/** Where and what to serve. */
export interface ServerOptions {
  /** Host name or address to listen at. */
  host: string;
  /** Port to listen at; 0 for any free one. */
  port: number;
  /** How to choose another port, for the error that says that this one is taken. */
  portSetting: string;
  /** See `ListenerOptions`. */
  openDoor?: OpenDoor | undefined;
  services: readonly Service[];
  /** Largest message that is taken, in bytes. What is larger ends its call with RESOURCE_EXHAUSTED. */
  maxReceiveBytes: number;
  log: Logger;
  /** Sees every call, where there is any. */
  telemetry?: Pick<Telemetry, 'watch'> | undefined;
  /** Origins of browsers' pages that may call with JSON. @default none */
  corsOrigins?: readonly string[] | undefined;
  /** Looks at the header `Host` of requests that are no gRPC. @throws {ServiceError} @default every host is good */
  checkHost?: ((host: string | undefined) => void) | undefined;
  /** Who may do what. @default everybody everything */
  access?: Access | undefined;
  /** Routes beside those of the methods, for HTTP. @default none */
  routes?: readonly AddRoutes[] | undefined;
  /** Who looks at connections and calls as they come in. @default nobody */
  hooks?: Hooks | undefined;
  /**
   * Errors of the port itself go without details, for the conformance suite, which knows none of ours. @default false
   */
  bareErrors?: boolean | undefined;
  /** See `ListenerOptions`. */
  headTimeoutMs?: number | undefined;
  /** See `ExchangeLimits`. */
  bodyTimeoutMs?: number | undefined;
}

/** A server that listens. */
export interface RunningServer {
  /** `host:port`, with the port that was really bound. */
  readonly address: string;
  /** Sets the health of all our services, and of the server as a whole. They begin as not serving. */
  setServing(serving: boolean): void;
  /** Sets the health of a part by a name of its own; it does not serve where the server does not. */
  setPartServing(part: string, serving: boolean): void;
  /**
   * Says "not serving", takes no more calls, lets streams finish what is in flight, and ends when all calls have
   * ended or the time is over.
   */
  shutdown(graceMs: number): Promise<void>;
}

/**
 * Starts a server with the given services, the standard health service (`grpc.health.v1`) and server reflection.
 *
 * @throws {StartError} where the address can't be bound
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { host, port, portSetting, services, log, telemetry } = options;
  setLogger(grpcLogger(log));
  const draining = new AbortController();
  // Every open stream listens.
  setMaxListeners(0, draining.signal);
  const active = new ActiveCalls();
  const access = options.access ?? new Access(undefined, undefined);
  const scope: Scope = {
    log,
    access: (path) => access.method(path),
    draining: draining.signal,
    enter: active.enter,
    ...(telemetry && { watch: telemetry.watch }),
  };
  const bound: BoundService[] = [];
  /** Binds a service for all protocols. */
  const addService = (
    definition: ServiceDefinition,
    handlers: UntypedServiceImplementation,
    registry?: FileRegistry,
  ): void => {
    bound.push({ definition, handlers, registry });
  };
  for (const { definition, bind, registry } of services) addService(definition, bind(scope), registry);

  const names = services.map(({ definition }) => serviceName(definition));
  const health = new HealthImplementation();
  const parts = new Map<string, boolean>();
  let isServing = false;
  const setServing = (serving: boolean): void => {
    isServing = serving;
    for (const name of ['', ...names]) health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING');
    for (const [name, able] of parts) health.setStatus(name, serving && able ? 'SERVING' : 'NOT_SERVING');
  };
  setServing(false);
  const everywhere = { addService } as unknown as Server;
  health.addToServer(everywhere);
  reflection([...names, 'grpc.health.v1.Health']).addToServer(everywhere);

  const { beforeCall, onConnection, onSession } = accessHooks(access, options.hooks);
  const methods = methodsOf(bound);
  const budgets = budgetsOf(options.maxReceiveBytes);
  const limits: ExchangeLimits = {
    maxReceiveBytes: options.maxReceiveBytes,
    bodyTimeoutMs: options.bodyTimeoutMs ?? BODY_TIMEOUT_MS,
    held: new HeldBytes(budgets.bodies),
    draining: draining.signal,
    log,
    bareErrors: options.bareErrors ?? false,
  };
  const http = httpListener({
    methods,
    routes: options.routes,
    limits,
    corsOrigins: options.corsOrigins ?? [],
    checkHost: options.checkHost,
    beforeCall,
    isServing: () => isServing,
  });
  // Where there is an admission, it has the same bound, and counts more exactly.
  const held = new HeldBytes(Math.max(budgets.bodies, budgets.requests));
  const http2 = http2Port({ methods, limits: { ...limits, held }, http, beforeCall, onSession });
  const { headTimeoutMs, openDoor } = options;
  const listening = { host, port, portSetting, openDoor, headTimeoutMs, onConnection };
  const listener = await listen({ ...listening, http2: http2.accept, http1: http });
  return {
    address: authority(host, listener.port),
    setServing: (serving) => setServing(serving && !draining.signal.aborted),
    setPartServing: (part, serving) => {
      parts.set(part, serving);
      setServing(isServing);
    },
    shutdown: async (graceMs) => {
      setServing(false);
      draining.abort();
      const flushMs = active.count > 0 ? FLUSH_MS.busy : FLUSH_MS.idle;
      const closed = Promise.all([listener.close(), http2.close()]);
      if (!(await settlesWithin(active.idle(), graceMs))) {
        log.warn({ calls: active.count, graceMs }, 'calls did not end in time and are aborted');
      } else await settlesWithin(closed, flushMs);
      http2.destroy();
      listener.destroy();
    },
  };
}

/** Counts the calls that are being served. */
class ActiveCalls {
  count = 0;
  #idle: (() => void)[] = [];

  readonly enter = (): (() => void) => {
    this.count++;
    return this.#leave;
  };

  readonly #leave = (): void => {
    this.count--;
    if (this.count === 0) for (const resolve of this.#idle.splice(0)) resolve();
  };

  idle(): Promise<void> {
    return this.count === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }
}

/** `scalingnote.v1.QueryService`, from the path of any of its methods. */
function serviceName(definition: ServiceDefinition): string {
  const path = Object.values(definition)[0]?.path ?? '';
  return path.slice(1, path.lastIndexOf('/'));
}

/** Clients of grpc-js would write to the console; this sends its lines to the log, at debug level. */
function grpcLogger(log: Logger): Partial<Console> {
  const write = (...parts: unknown[]): void => log.debug({ from: 'grpc-js' }, parts.join(' '));
  return { error: write, info: write, debug: write };
}

async function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController();
  const late = setTimeout(ms, false, { signal: timer.signal }).catch(() => false);
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    timer.abort();
  }
}
