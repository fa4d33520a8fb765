import { once } from 'node:events';
import {
  type handleUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  status as Code,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { DocumentServiceHandlers } from '../../proto/generated/scalingnote/v1/DocumentService.ts';
import type { IngestRequest__Output } from '../../proto/generated/scalingnote/v1/IngestRequest.ts';
import type { IngestResponse } from '../../proto/generated/scalingnote/v1/IngestResponse.ts';
import type { QueryServiceHandlers } from '../../proto/generated/scalingnote/v1/QueryService.ts';
import { v1 } from '../../proto/load.ts';
import { encodeStatus, type RichStatus, STATUS_DETAILS_TRAILER } from '../../proto/status.ts';

/** What a fake service answers; a method that is not given answers UNIMPLEMENTED. */
export type Handlers = Partial<DocumentServiceHandlers & QueryServiceHandlers>;

/** A server that says what a test tells it to. */
export interface FakeService {
  address: string;
  close(): void;
  /** For `using`: closes it, also when the test fails, so that nothing keeps the process alive. */
  [Symbol.dispose](): void;
}

/** `grpc.health.v1.Health`, as far as clients of ours ask. */
const HEALTH = {
  Check: {
    path: '/grpc.health.v1.Health/Check',
    requestStream: false,
    responseStream: false,
    requestSerialize: () => Buffer.alloc(0),
    requestDeserialize: () => ({}),
    responseSerialize: (isServing: boolean) => Buffer.from([0x08, isServing ? 1 : 2]),
    responseDeserialize: (bytes: Buffer) => bytes,
  },
} as const;

/**
 * Serves both services of the contract on a free port of the loopback interface, or on a given one.
 *
 * @param more - `isServing`: what its health service answers, where it is to have one
 */
export async function serve(
  handlers: Handlers,
  port = 0,
  { host = '127.0.0.1', isServing }: { host?: string; isServing?: () => boolean } = {},
): Promise<FakeService> {
  const server = new Server();
  if (isServing) {
    const Check: handleUnaryCall<object, boolean> = (_, callback) => callback(null, isServing());
    server.addService(HEALTH, { Check });
  }
  server.addService(v1.DocumentService.service, handlers as UntypedServiceImplementation);
  server.addService(v1.QueryService.service, handlers as UntypedServiceImplementation);
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${host}:${port}`, ServerCredentials.createInsecure(), (error, at) =>
      error ? reject(error) : resolve(at),
    );
  });
  const close = (): void => server.forceShutdown();
  return { address: `${host}:${bound}`, close, [Symbol.dispose]: close };
}

/** An error as a handler of grpc-js gives it, with its details in the trailer. */
export function failure(status: RichStatus): Error & { code: number; details: string; metadata: Metadata } {
  const metadata = new Metadata();
  metadata.set(STATUS_DETAILS_TRAILER, encodeStatus(status));
  return Object.assign(new Error(status.message), { code: status.code, details: status.message, metadata });
}

/** The server's side of an ingest stream. */
export type IngestCall = ServerDuplexStream<IngestRequest__Output, IngestResponse>;

/** What a connection does wrong, and when. */
export interface Fault {
  /** Operations that it reads before. */
  after: number;
  /** Whether it sends outcomes for these. */
  outcomes: boolean;
  /** How far it sends watermarks, counted in operations of this connection. */
  durable: number;
  /** How it ends. */
  end: (call: IngestCall) => void;
}

/** Document service in memory: applies what it reads, keeps the watermark, and breaks where it is told to. */
export class MemoryIngest {
  /** Applied operations, by document id: the last sequence that wrote it. */
  readonly documents = new Map<string, number>();
  /** Identity of its collection; a test may replace it between two connections. */
  identity = `col_${'1'.repeat(32)}`;
  /** What each connection expected it to be. */
  readonly expected: string[] = [];
  /** Sequences as they arrived, by connection. */
  readonly arrivals: number[][] = [];
  readonly #faults: Fault[];

  /** @param faults - one for each connection, until there are none left; then all goes well */
  constructor(faults: readonly Fault[] = []) {
    this.#faults = [...faults];
  }

  readonly handle = async (call: IngestCall): Promise<void> => {
    const fault = this.#faults.shift();
    const arrivals: number[] = [];
    this.arrivals.push(arrivals);
    call.on('error', () => {});
    // Plain iteration would destroy the call at its end, before it has sent its status.
    const requests = call.iterator({ destroyOnReturn: false }) as AsyncIterable<IngestRequest__Output>;
    for await (const request of requests) {
      if (request.begin) {
        if (fault?.after === 0) break;
        const { expectedIdentity } = request.begin;
        this.expected.push(expectedIdentity);
        if (expectedIdentity !== '' && expectedIdentity !== this.identity) {
          call.emit('error', replaced());
          return;
        }
        call.write({ ready: { collection: { identity: this.identity } } });
        continue;
      }
      const sequence = Number(request.sequence);
      const id = request.document?.id ?? request.delete?.id ?? '';
      arrivals.push(sequence);
      const known = this.documents.get(id) === sequence;
      this.documents.set(id, sequence);
      const kind = known ? 'OUTCOME_KIND_UNCHANGED' : 'OUTCOME_KIND_INDEXED';
      if (fault?.outcomes !== false) await send(call, { outcome: { sequence, documentId: id, kind } });
      if (fault === undefined || arrivals.length <= fault.durable) {
        await send(call, { watermark: { sequence, freshnessToken: `${this.identity}.${sequence}` } });
      }
      if (fault !== undefined && arrivals.length >= fault.after) break;
    }
    if (fault === undefined) call.end();
    else fault.end(call);
  };
}

/** The collection is another one than the client expects. */
export function replaced(): ReturnType<typeof failure> {
  const message = 'the collection is another one now; begin at the beginning';
  return failure({ code: Code.FAILED_PRECONDITION, message, reason: 'COLLECTION_REPLACED' });
}

async function send(call: IngestCall, response: IngestResponse): Promise<void> {
  if (!call.write(response)) await once(call, 'drain');
}
