import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Pool } from 'undici';
import type { RestRequest } from './load.ts';

/**
 * A proxy in front of Qdrant that records the store's requests, so that they can be repeated without the
 * store.
 */
export interface Recorder {
  url: string;
  /** The requests since the last call, in order. */
  take(): RestRequest[];
  close(): Promise<void>;
}

export async function startRecorder(target: string): Promise<Recorder> {
  const pool = new Pool(new URL(target).origin);
  let requests: RestRequest[] = [];
  const server = createServer((request, response) => {
    void (async () => {
      const body = await read(request);
      const method = request.method as RestRequest['method'];
      const path = request.url ?? '/';
      requests.push({ method, path, body });
      const { host: _, connection: __, 'content-length': ___, ...headers } = request.headers;
      const answer = await pool.request({ method, path, headers, body: body === '' ? null : body });
      response.writeHead(answer.statusCode, { 'content-type': 'application/json' });
      response.end(await answer.body.text());
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    take: () => requests.splice(0),
    close: async () => {
      server.closeAllConnections();
      server.close();
      await pool.close();
    },
  };
}

async function read(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += String(chunk);
  return text;
}
