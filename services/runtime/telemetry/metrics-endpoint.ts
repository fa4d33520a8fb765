import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createNetServer, type AddressInfo } from 'node:net';
import { status as grpcStatus } from '@grpc/grpc-js';
import type { Attributes } from '@opentelemetry/api';
import type { Logger } from 'pino';
import type { Access } from '../access/access.ts';
import { hostOf } from '../access/own-host.ts';
import { toServiceError } from '../errors.ts';
import { authority, bindFailure, isLoopback } from '../listen-address.ts';
import type { Tls } from '../tls/tls.ts';
import { exposition, jsonMetrics, OPEN_METRICS, PROMETHEUS_TEXT } from './exposition.ts';
import type { Instrument } from './instruments.ts';

/** How refusals of a reader go out; all others are 403. */
const HTTP_STATUSES: Partial<Record<grpcStatus, number>> = {
  [grpcStatus.UNAUTHENTICATED]: 401,
  [grpcStatus.RESOURCE_EXHAUSTED]: 429,
  [grpcStatus.UNAVAILABLE]: 503,
};

const PATHS: ReadonlySet<string> = new Set(['/metrics', '/metrics.json']);

/** An HTTP server for the metrics. */
export interface MetricsEndpoint {
  /** `host:port`; absent where the port could not be bound. */
  readonly address: string | undefined;
  close(): Promise<void>;
}

/**
 * Serves the metrics at `/metrics`, as Prometheus scrapes them, and at `/metrics.json`. If the port
 * is taken, the log says so and the service starts without this endpoint.
 */
export async function serveMetrics(options: {
  host: string;
  port: number;
  /** How to choose another port. */
  portSetting: string;
  /** Attributes of the process. */
  resource: Attributes;
  /** All that is measured, as of now. */
  collect: () => Iterable<Instrument> | Promise<Iterable<Instrument>>;
  log: Logger;
  /** Who may read them. @default everybody */
  access?: Access | undefined;
  /** @default plain text */
  tls?: Tls | undefined;
}): Promise<MetricsEndpoint> {
  const { host, port, portSetting, resource, collect, log, access, tls } = options;
  const read = async (path: string, accept: string): Promise<{ type: string; text: string }> => {
    const all = await collect();
    if (path === '/metrics.json') return { type: 'application/json', text: JSON.stringify(jsonMetrics(all)) };
    const type = accept.includes('application/openmetrics-text') ? OPEN_METRICS : PROMETHEUS_TEXT;
    return { type, text: exposition(resource, all, type) };
  };
  const answer = async (
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<{ code: number; type: string; text: string }> => {
    const [path = ''] = (request.url ?? '').split('?', 1);
    const { headers, socket, method } = request;
    if (isLoopback(host) && !isLoopback(hostOf(headers.host))) {
      // A page of another site reaches this address by a name of its own that leads here.
      const text = `the host ${JSON.stringify(headers.host ?? '')} is not this machine; use ${host}\n`;
      return { code: 403, type: 'text/plain', text };
    }
    if (method !== 'GET' || !PATHS.has(path))
      return { code: 404, type: 'text/plain', text: 'metrics are at /metrics and /metrics.json\n' };
    try {
      await access?.arrive({ protocol: 'http', method: path, headers, socket, answer: response });
    } catch (error) {
      const { code, message } = toServiceError(error);
      return { code: HTTP_STATUSES[code] ?? 403, type: 'text/plain', text: `${message}\n` };
    }
    return { code: 200, ...(await read(path, headers.accept ?? '')) };
  };
  const http = createServer((request, response) => {
    answer(request, response).then(
      ({ code, type, text }) => response.writeHead(code, { 'content-type': type }).end(text),
      (error: unknown) => {
        log.error({ err: error }, 'the metrics can’t be read');
        response.writeHead(500).end();
      },
    );
  });
  const server = tls
    ? createNetServer((socket) => {
        socket.on('error', () => socket.destroy());
        void tls.wrap(socket).then((secure) => secure && http.emit('connection', secure));
      })
    : http;
  const failure = await new Promise<Error | undefined>((resolve) => {
    server.once('error', resolve);
    server.listen(port, host, () => resolve(undefined));
  });
  if (failure) {
    log.warn(`no metrics endpoint: ${bindFailure(failure, host, port, portSetting)}`);
    return { address: undefined, close: () => Promise.resolve() };
  }
  server.unref();
  return {
    address: authority(host, (server.address() as AddressInfo).port),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        http.closeAllConnections();
      }),
  };
}
