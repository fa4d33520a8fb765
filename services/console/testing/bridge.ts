import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import type { Hono } from 'hono';
import { pino } from 'pino';
import { type Handlers, serve } from '../../../clients/testing/fake-service.ts';
import { Desk } from '../desk.ts';
import { startHttpServer } from '../http/server.ts';
import { ingestRoutes } from '../ingest/routes.ts';
import { searchRoutes } from '../search/routes.ts';
import { systemRoutes } from '../system.ts';

/** An answer of the bridge. */
export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  json: unknown;
}

/** What a test sends besides method and path. */
export interface Sent {
  headers?: Record<string, string>;
  body?: unknown;
}

/** A bridge in this process. */
export interface Bridge {
  address: string;
  /** Sends a body that is no Buffer as JSON. */
  ask(method: string, path: string, sent?: Sent): Promise<Answer>;
  stop(): Promise<void>;
}

/** A bridge with services behind it. */
export interface WholeBridge extends Bridge {
  /** Their addresses. */
  services: [first: string, second: string];
  /** Has the services go away. */
  leave(): void;
}

/** A bridge with the given routes and nothing behind it. */
export async function serveRoutes(routes: readonly Hono[], names: readonly string[] = []): Promise<Bridge> {
  const server = await startHttpServer({
    host: '127.0.0.1',
    port: 0,
    portSetting: '--port',
    names,
    routes,
    log: pino({ level: 'silent' }),
  });
  return {
    address: server.address,
    ask: (method, path, sent) => ask(server.address, method, path, sent),
    stop: () => server.shutdown(0),
  };
}

/** A whole bridge in front of services that say what a test tells them to: the document service and two query services. */
export async function serveBridge(handlers: Handlers, other: Handlers = handlers): Promise<WholeBridge> {
  const [first, second] = await Promise.all([serve(handlers), serve(other)]);
  const desk = new Desk({ document: first.address, queries: [first.address, second.address] });
  const deskOf = (): Desk => desk;
  const bridge = await serveRoutes([searchRoutes(deskOf), ingestRoutes(deskOf), systemRoutes(deskOf)]);
  return {
    ...bridge,
    services: [first.address, second.address],
    leave: () => {
      first.close();
      second.close();
    },
    stop: async () => {
      await desk.close();
      await bridge.stop();
      first.close();
      second.close();
    },
  };
}

function ask(
  address: string,
  method: string,
  path: string,
  { headers = {}, body }: Sent = {},
): Promise<Answer> {
  const bytes = body === undefined || Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
  return new Promise((resolve, reject) => {
    const call = httpRequest(
      `http://${address}${path}`,
      { method, agent: false, headers: { ...(bytes && { 'content-type': 'application/json' }), ...headers } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const json: unknown =
            response.headers['content-type'] === 'application/json' ? JSON.parse(text) : undefined;
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json });
        });
      },
    );
    call.on('error', reject);
    call.end(bytes);
  });
}
