import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { Heartbeat } from './heartbeat.ts';
import type { LivenessData, LivenessReport, Readiness } from './liveness.ts';

// A thread of its own: it answers while the main thread can't, and says since when it can't.

/** Probes come one at a time; whoever opens more than this does not want to know. */
const MAX_CONNECTIONS = 64;
/** Time for a request to come. */
const REQUEST_MS = 2_000;

const { host, port, blockedMs, memory } = workerData as LivenessData;
const heart = new Heartbeat(memory);
let notReady: string | undefined = 'it starts';
parentPort!.on('message', ({ reason }: Readiness) => (notReady = reason));

const server = createServer(
  {
    headersTimeout: REQUEST_MS,
    requestTimeout: REQUEST_MS,
    connectionsCheckingInterval: REQUEST_MS / 2,
    keepAliveTimeout: REQUEST_MS,
    maxHeaderSize: 8 * 1024,
  },
  ({ url, method }, response) => {
    const asked = method === 'GET' || method === 'HEAD' ? url?.split('?', 1)[0] : undefined;
    if (asked !== '/livez' && asked !== '/readyz') {
      response.writeHead(404, { 'content-type': 'text/plain' });
      response.end('GET /livez and GET /readyz are here\n');
      return;
    }
    const { ageMs } = heart;
    const blocked =
      ageMs > blockedMs
        ? `the event loop has not turned for ${(ageMs / 1000).toFixed(1)} s, where ${blockedMs / 1000} s are allowed`
        : undefined;
    const reason = blocked ?? (asked === '/readyz' ? notReady : undefined);
    response.writeHead(reason === undefined ? 200 : 503, {
      'content-type': 'application/json',
      'cache-control': 'no-store',
    });
    const status = reason === undefined ? 'OK' : blocked === undefined ? 'NOT_READY' : 'BLOCKED';
    response.end(`${JSON.stringify({ status, reason, sinceLastTurnMs: Math.round(ageMs) })}\n`);
  },
);
server.maxConnections = MAX_CONNECTIONS;
const report = (told: LivenessReport): void => parentPort!.postMessage(told, []);
server.once('error', ({ message }) => report({ failure: message }));
server.listen(port, host, () => report({ port: (server.address() as AddressInfo).port }));
