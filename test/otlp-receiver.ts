import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import {
  type OtlpMetric,
  type OtlpSpan,
  readMetricRequest,
  readSpanRequest,
} from '../services/runtime/telemetry/testing/otlp.ts';

/** Receives OTLP over HTTP and over gRPC, reads it by its published schema, and keeps it. */
export class Receiver {
  readonly spans: OtlpSpan[] = [];
  /** Over which protocols the spans of each service came. */
  readonly ways = new Map<string, Set<string>>();
  /** The last state of each metric, by service and name. */
  readonly metrics = new Map<string, OtlpMetric>();
  readonly #http: HttpServer;
  readonly #grpc = new Server();
  #wake = (): void => {};

  constructor() {
    this.#http = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        if (request.url === '/v1/traces') this.#take(Buffer.concat(chunks), 'http');
        else this.#takeMetrics(Buffer.concat(chunks));
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
            else this.#takeMetrics(call.request);
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

  /** Resolves to the spans of a trace when at least these have come. */
  async trace(traceId: string, ...names: string[]): Promise<OtlpSpan[]> {
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

  #takeMetrics(body: Buffer): void {
    for (const metric of readMetricRequest(body)) {
      this.metrics.set(`${metric.service} ${metric.name}`, metric);
    }
  }

  #take(body: Buffer, way: string): void {
    const spans = readSpanRequest(body);
    for (const { service } of spans) {
      this.ways.set(service, (this.ways.get(service) ?? new Set()).add(way));
    }
    this.spans.push(...spans);
    this.#wake();
  }
}
