import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { readSpans, type ReceivedSpan } from '../services/console/traces/otlp.ts';

/** Receives OTLP over HTTP and over gRPC, and keeps every span that is sent to it. */
export class Receiver {
  readonly spans: ReceivedSpan[] = [];
  /** Over which way each service's spans came. */
  readonly ways = new Map<string, Set<string>>();
  /** Over which ways metrics of calls came. */
  readonly metrics = new Set<string>();
  readonly #http: HttpServer;
  readonly #grpc = new Server();
  #wake = (): void => {};

  constructor() {
    this.#http = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        if (request.url === '/v1/traces') this.#take(Buffer.concat(chunks), 'http');
        else this.#takeMetrics(Buffer.concat(chunks), 'http');
        response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
      });
    });
    const bytes = (value: Buffer): Buffer => value;
    for (const signal of ['trace', 'metrics'] as const) {
      const Name = signal === 'trace' ? 'Trace' : 'Metrics';
      this.#grpc.addService(
        {
          Export: {
            path: `/opentelemetry.proto.collector.${signal}.v1.${Name}Service/Export`,
            requestStream: false,
            responseStream: false,
            requestSerialize: bytes,
            requestDeserialize: bytes,
            responseSerialize: bytes,
            responseDeserialize: bytes,
          },
        },
        {
          Export: (call: { request: Buffer }, callback: (error: null, value: Buffer) => void) => {
            if (signal === 'trace') this.#take(call.request, 'grpc');
            else this.#takeMetrics(call.request, 'grpc');
            callback(null, Buffer.alloc(0));
          },
        },
      );
    }
  }

  async listen(): Promise<{ http: string; grpc: string }> {
    await new Promise<void>((resolve) => this.#http.listen(0, '127.0.0.1', resolve));
    const port = await new Promise<number>((resolve, reject) => {
      this.#grpc.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    return {
      http: `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`,
      grpc: `http://127.0.0.1:${port}`,
    };
  }

  /** The spans of a trace, when there are so many with these names. */
  async trace(traceId: string, ...names: string[]): Promise<ReceivedSpan[]> {
    for (;;) {
      const spans = this.spans.filter((span) => span.traceId === traceId);
      const count = (name: string): number => spans.filter((span) => span.name === name).length;
      const isThere = (name: string): boolean => count(name) >= names.filter((each) => each === name).length;
      if (names.every(isThere)) return spans;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  close(): void {
    this.#http.close();
    this.#http.closeAllConnections();
    this.#grpc.forceShutdown();
  }

  #takeMetrics(body: Buffer, way: string): void {
    if (body.includes('rpc.server.call.duration')) this.metrics.add(way);
    this.#wake();
  }

  #take(body: Buffer, way: string): void {
    const spans = readSpans(body, 'protobuf');
    for (const { service } of spans) {
      this.ways.set(service, (this.ways.get(service) ?? new Set()).add(way));
    }
    this.spans.push(...spans);
    this.#wake();
  }
}
