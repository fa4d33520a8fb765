import { setTimeout } from 'node:timers/promises';
import { Metadata, status, type ServerErrorResponse, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { packageDefinition } from '../../proto/load.ts';
import { STATUS_DETAILS_TRAILER } from '../../proto/status.ts';
import { ServiceError } from '../../services/runtime/errors.ts';
import {
  serverStream,
  stream,
  unary,
  type Call,
  type Scope,
  type ServerStreamCall,
  type StreamCall,
} from '../../services/runtime/handler.ts';
import type { Service } from '../../services/runtime/server.ts';
import { guarded } from '../../services/runtime/request-guard.ts';
import {
  typeUrl,
  type Any,
  type Request,
  type StreamPlan,
  type Suite,
  type UnaryPlan,
  type WireError,
} from './messages.ts';
import { headersOf, metadataOf } from './metadata.ts';

/** What a call of grpc-js has, and those of our other protocols: see `calls.ts` of the listener. */
interface RawCall {
  metadata: Metadata;
  getDeadline(): Date | number;
  sendMetadata(metadata: Metadata): void;
  end(trailers?: Metadata): void;
  emit(event: string, ...parameters: unknown[]): boolean;
  write?(message: object): boolean;
}
type Answered = (error: Partial<ServerErrorResponse> | null, value?: object, trailers?: Metadata) => void;
type RawHandler = (call: RawCall, answered?: Answered) => void;

/** What our handlers have no words for: headers, trailers and foreign details of errors. */
interface Extras {
  call: RawCall;
  trailers: Metadata;
  details: readonly Any[] | undefined;
  /** What was left of the time when the call came. */
  timeoutMs: number;
}
const extras = new WeakMap<Metadata, Extras>();

const statusType = packageDefinition['google.rpc.Status'] as unknown as { serialize(value: object): Buffer };

/** The service of the suite, on our handlers: what they do to calls, errors and streams is under test. */
export function conformanceService(suite: Suite): Service {
  const definition = guarded(suite.service);
  return {
    definition,
    registry: suite.registry,
    bind: (scope: Scope) => {
      const handlers = new Handlers(suite);
      const path = (name: string): string => `/connectrpc.conformance.v1.ConformanceService/${name}`;
      const bound: Record<string, RawHandler> = {
        Unary: unary(path('Unary'), handlers.unary('UnaryRequest'), scope) as unknown as RawHandler,
        IdempotentUnary: unary(
          path('IdempotentUnary'),
          handlers.unary('IdempotentUnaryRequest'),
          scope,
        ) as unknown as RawHandler,
        ServerStream: serverStream(
          path('ServerStream'),
          handlers.serverStream,
          scope,
        ) as unknown as RawHandler,
        BidiStream: stream(path('BidiStream'), handlers.bidi, scope) as unknown as RawHandler,
        ClientStream: stream(path('ClientStream'), handlers.clientStream, scope) as unknown as RawHandler,
      };
      const all = Object.entries(bound).map(([name, handler]) => [
        name,
        withExtras(handler, name === 'ClientStream'),
      ]);
      const unimplemented: RawHandler = (_, answered) =>
        answered?.({ code: status.UNIMPLEMENTED, details: 'not implemented', metadata: new Metadata() });
      return Object.fromEntries([...all, ['Unimplemented', unimplemented]]) as UntypedServiceImplementation;
    },
  };
}

/** Lets a handler send what our own services never do. */
function withExtras(handler: RawHandler, answersOnce: boolean): RawHandler {
  return (call, answered) => {
    const known: Extras = {
      call,
      trailers: new Metadata(),
      details: undefined,
      timeoutMs: Number(call.getDeadline()) - Date.now(),
    };
    extras.set(call.metadata, known);
    const exact = (error: Partial<ServerErrorResponse>): Partial<ServerErrorResponse> => {
      if (known.details) {
        const { code, details: message } = error;
        error.metadata!.set(
          STATUS_DETAILS_TRAILER,
          statusType.serialize({ code, message, details: known.details }),
        );
      }
      error.metadata!.merge(known.trailers);
      return error;
    };
    const done: Answered | undefined =
      answered &&
      ((error, value) => (error ? answered(exact(error)) : answered(null, value, known.trailers)));
    const { emit } = call;
    if (answersOnce) {
      // A call with one answer has no way to write; our handler of streams does.
      let answer: object | undefined;
      call.write = (message) => ((answer = message), true);
      call.end = () => done?.(null, answer);
      call.emit = (event, ...rest) => {
        if (event !== 'error') return emit.call(call, event, ...rest);
        done?.(rest[0] as Partial<ServerErrorResponse>);
        return true;
      };
    } else if (!answered) {
      const { end } = call;
      call.end = () => end.call(call, known.trailers);
      call.emit = (event, ...rest) =>
        emit.call(
          call,
          event,
          ...(event === 'error' ? [exact(rest[0] as Partial<ServerErrorResponse>)] : rest),
        );
    }
    handler(call, answersOnce ? undefined : done);
  };
}

class Handlers {
  readonly #suite: Suite;

  constructor(suite: Suite) {
    this.#suite = suite;
  }

  unary(type: string) {
    return async (request: Request<UnaryPlan>, call: Call): Promise<object> =>
      this.#one(request.responseDefinition, [this.#packed(type, request)], call);
  }

  readonly clientStream = async (call: StreamCall<Request<UnaryPlan>, object>): Promise<void> => {
    const requests: Any[] = [];
    let plan: UnaryPlan | null | undefined;
    for await (const request of call.requests) {
      if (requests.length === 0) plan = request.responseDefinition;
      requests.push(this.#packed('ClientStreamRequest', request));
    }
    await call.write(await this.#one(plan, requests, call));
  };

  readonly serverStream = async (
    request: Request<StreamPlan>,
    call: ServerStreamCall<object>,
  ): Promise<void> => {
    const plan = request.responseDefinition;
    if (!plan) return;
    this.#begin(plan, call, plan.responseData.length > 0);
    const info = this.#info([this.#packed('ServerStreamRequest', request)], call);
    for (const [index, data] of plan.responseData.entries()) {
      if (plan.responseDelayMs > 0) await setTimeout(plan.responseDelayMs);
      await call.write({ payload: { data, ...(index === 0 && { requestInfo: info }) } });
    }
    if (plan.error) throw this.#failure(plan.error, call, plan.responseData.length === 0 ? info : undefined);
  };

  readonly bidi = async (call: StreamCall<Request<StreamPlan>, object>): Promise<void> => {
    let plan: StreamPlan | null | undefined;
    let fullDuplex = false;
    let isFirst = true;
    let sent = 0;
    let requests: Any[] = [];
    const send = async (requestInfo: object | undefined): Promise<void> => {
      if (plan!.responseDelayMs > 0) await setTimeout(plan!.responseDelayMs);
      await call.write({
        payload: { data: plan!.responseData[sent++], ...(requestInfo && { requestInfo }) },
      });
    };
    for await (const request of call.requests) {
      requests.push(this.#packed('BidiStreamRequest', request));
      if (isFirst) {
        isFirst = false;
        plan = request.responseDefinition;
        fullDuplex = request.fullDuplex ?? false;
        if (plan) this.#begin(plan, call, fullDuplex && plan.responseData.length > 0);
      }
      if (!fullDuplex) continue;
      if (sent >= (plan?.responseData.length ?? 0)) break;
      await send(sent === 0 ? this.#info(requests, call) : { requests });
      requests = [];
    }
    if (!plan) return;
    while (sent < plan.responseData.length) await send(sent === 0 ? this.#info(requests, call) : undefined);
    if (plan.error)
      throw this.#failure(plan.error, call, sent === 0 ? this.#info(requests, call) : undefined);
  };

  async #one(plan: UnaryPlan | null | undefined, requests: Any[], call: Call): Promise<object> {
    const requestInfo = this.#info(requests, call);
    if (!plan) return { payload: { requestInfo } };
    this.#begin(plan, call, plan.responseHeaders.length > 0);
    if (plan.responseDelayMs > 0) await setTimeout(plan.responseDelayMs);
    if (plan.error) throw this.#failure(plan.error, call, requestInfo);
    return { payload: { requestInfo, ...(plan.responseData && { data: plan.responseData }) } };
  }

  #begin(plan: UnaryPlan | StreamPlan, { metadata }: Call, sendNow: boolean): void {
    const known = extras.get(metadata)!;
    known.trailers.merge(metadataOf(plan.responseTrailers));
    if (sendNow || plan.responseHeaders.length > 0) known.call.sendMetadata(metadataOf(plan.responseHeaders));
  }

  #failure(
    { code, message, details }: WireError,
    { metadata }: Call,
    requestInfo: object | undefined,
  ): ServiceError {
    const info = requestInfo && [this.#packedInfo(requestInfo)];
    extras.get(metadata)!.details = [...details, ...(info ?? [])];
    const name = code.replace('CODE_', '').replace('CANCELED', 'CANCELLED') as keyof typeof status;
    return new ServiceError(status[name], 'CONFORMANCE', message ?? '');
  }

  #info(requests: readonly Any[], { metadata }: Call): object {
    const requestHeaders = headersOf(metadata);
    const left = extras.get(metadata)!.timeoutMs;
    const timeoutMs = Number.isFinite(left) ? Math.max(0, Math.ceil(left)) : undefined;
    return { requestHeaders, requests: [...requests], ...(timeoutMs !== undefined && { timeoutMs }) };
  }

  /** The loader has no nested types: their bytes are those of a field, after its tag and length. */
  #packedInfo(requestInfo: object): Any {
    const bytes = this.#suite.type('ConformancePayload').serialize({ requestInfo });
    let at = 1;
    while (bytes[at]! >= 0x80) at++;
    return { type_url: typeUrl('ConformancePayload.RequestInfo'), value: bytes.subarray(at + 1) };
  }

  #packed(type: string, request: object): Any {
    return { type_url: typeUrl(type), value: this.#suite.type(type).serialize(request) };
  }
}
