import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import type { Logger } from 'pino';
import { authority, bindFailure } from '../server.ts';
import { exposition, jsonMetrics, OPEN_METRICS, PROMETHEUS_TEXT } from './exposition.ts';
import type { Histogram } from './metrics.ts';

/** Where metrics are to be had. */
export interface MetricsEndpoint {
  /** `host:port`; absent where it could not be had. */
  readonly address: string | undefined;
  close(): Promise<void>;
}

/**
 * Serves the metrics at `/metrics`, as Prometheus scrapes them, and at `/metrics.json`. A port that is taken is told of
 * in the log and no reason not to serve calls.
 */
export async function serveMetrics(options: {
  host: string;
  port: number;
  /** How to choose another port. */
  portSetting: string;
  collect: () => Promise<ResourceMetrics>;
  histograms: readonly Histogram[];
  log: Logger;
}): Promise<MetricsEndpoint> {
  const { host, port, portSetting, collect, histograms, log } = options;
  const read = async (path: string, accept: string): Promise<{ type: string; text: string } | undefined> => {
    if (path === '/metrics.json') {
      return { type: 'application/json', text: JSON.stringify(jsonMetrics(await collect())) };
    }
    if (path !== '/metrics') return undefined;
    const type = accept.includes('application/openmetrics-text') ? OPEN_METRICS : PROMETHEUS_TEXT;
    return { type, text: exposition(await collect(), histograms, type) };
  };
  const server = createServer((request, response) => {
    const [path = ''] = (request.url ?? '').split('?', 1);
    const found =
      request.method === 'GET' ? read(path, request.headers.accept ?? '') : Promise.resolve(undefined);
    found.then(
      (answer) => {
        response.writeHead(answer ? 200 : 404, { 'content-type': answer?.type ?? 'text/plain' });
        response.end(answer?.text ?? 'metrics are at /metrics and /metrics.json\n');
      },
      (error: unknown) => {
        log.error({ err: error }, 'the metrics can’t be read');
        response.writeHead(500).end();
      },
    );
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
