import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Attributes } from '@opentelemetry/api';
import type { Logger } from 'pino';
import { authority, bindFailure } from '../listen-address.ts';
import { exposition, jsonMetrics, OPEN_METRICS, PROMETHEUS_TEXT } from './exposition.ts';
import type { Instruments } from './instruments.ts';

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
  instruments: Instruments;
  log: Logger;
}): Promise<MetricsEndpoint> {
  const { host, port, portSetting, resource, instruments, log } = options;
  const read = (path: string, accept: string): { type: string; text: string } | undefined => {
    if (path === '/metrics.json') {
      return { type: 'application/json', text: JSON.stringify(jsonMetrics(instruments.all)) };
    }
    if (path !== '/metrics') return undefined;
    const type = accept.includes('application/openmetrics-text') ? OPEN_METRICS : PROMETHEUS_TEXT;
    return { type, text: exposition(resource, instruments.all, type) };
  };
  const server = createServer((request, response) => {
    const [path = ''] = (request.url ?? '').split('?', 1);
    try {
      const answer = request.method === 'GET' ? read(path, request.headers.accept ?? '') : undefined;
      response.writeHead(answer ? 200 : 404, { 'content-type': answer?.type ?? 'text/plain' });
      response.end(answer?.text ?? 'metrics are at /metrics and /metrics.json\n');
    } catch (error) {
      log.error({ err: error }, 'the metrics can’t be read');
      response.writeHead(500).end();
    }
  });
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
        server.closeAllConnections();
      }),
  };
}
