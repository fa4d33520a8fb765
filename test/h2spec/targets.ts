import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { pino } from 'pino';
import { Authority } from '../../keys/certificates.ts';
import { v1 } from '../../proto/load.ts';
import { Settings } from '../../services/runtime/config.ts';
import type { AddRoutes } from '../../services/runtime/listener/routes.ts';
import { service, startServer, type RunningServer } from '../../services/runtime/server.ts';
import { NOTHING } from '../../services/runtime/testing/harness.ts';
import { openTls } from '../../services/runtime/tls/tls.ts';
import type { Target } from './judge.ts';

/** Where the servers read a request to its end and answer it. */
export const PATH = '/h2spec';

/** Longer than the windows that cases set. */
const ANSWER = 'answered '.repeat(100);

/**
 * Time until it is answered, in milliseconds. Cases send a second frame for a stream whose request has ended: were it
 * answered between the two, the stream would have closed, and the frame be another case.
 */
const ANSWER_AFTER_MS = 50;

/** The servers that h2spec is run against, all in this process. */
export interface Targets {
  servers: readonly { name: Target; port: number }[];
  stop(): Promise<void>;
}

const route: AddRoutes = (routes) =>
  routes.add(PATH, {
    verbs: ['GET', 'HEAD', 'POST'],
    // What a route of a method needs of its callers is known.
    method: '/scalingnote.v1.QueryService/Describe',
    serve: async (exchange) => {
      await exchange.body();
      await wait(ANSWER_AFTER_MS);
      exchange.send(200, { 'content-type': 'text/plain' }, ANSWER);
    },
  });

/** @param folder - for the certificate */
export async function startTargets(folder: string): Promise<Targets> {
  const log = pino({ level: 'silent' });
  const identity = await (await Authority.make(1)).issue({ server: ['127.0.0.1'] });
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  writeFileSync(cert, identity.certificate);
  writeFileSync(key, identity.key);
  const settings = Settings.parse({ tlsCert: [cert], tlsKey: [key] });
  const tls = openTls(settings, ['127.0.0.1'], ['h2', 'http/1.1'], log)!;
  const start = (onConnection?: (socket: Socket) => Promise<Socket | undefined>): Promise<RunningServer> =>
    startServer({
      host: '127.0.0.1',
      port: 0,
      portSetting: '--port',
      services: [service(v1.QueryService.service, NOTHING)],
      maxReceiveBytes: 1024 * 1024,
      routes: [route],
      ...(onConnection && { hooks: { onConnection } }),
      log,
    });
  const ours = [await start(), await start((socket) => tls.wrap(socket))];
  const bare = await startBare();
  const [plain, secure] = ours.map(({ address }) => Number(address.split(':').at(-1)));
  return {
    servers: [
      { name: 'h2c', port: plain! },
      { name: 'tls', port: secure! },
      { name: 'node', port: bare.port },
    ],
    stop: async () => {
      bare.close();
      await Promise.all(ours.map((server) => server.shutdown(100)));
      tls.close();
    },
  };
}

/** The same answer by `node:http2` alone. */
async function startBare(): Promise<{ port: number; close(): void }> {
  const server = createServer();
  server.on('sessionError', () => {});
  server.on('stream', (stream) => {
    stream.on('error', () => {});
    stream.resume();
    const answer = (): void => {
      if (stream.destroyed || stream.closed) return;
      stream.respond({ ':status': 200, 'content-type': 'text/plain' });
      stream.end(ANSWER);
    };
    stream.once('end', () => setTimeout(answer, ANSWER_AFTER_MS));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { port: (server.address() as AddressInfo).port, close: () => void server.close() };
}
