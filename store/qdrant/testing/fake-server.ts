import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { request } from 'undici';
import type { Recorded } from './recorded.ts';

/** A request that the server received. */
export interface Seen {
  method: string;
  /** The path, without the query. */
  path: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  /** The body as text; empty if there is none. */
  body: string;
}

/**
 * An answer: a result to send with status 200, a recorded answer, or a function that handles the response.
 */
export type Answer = { result: unknown } | Recorded | ((response: ServerResponse, seen: Seen) => void);

/** A local server with answers that the test gives. It ends with the test. */
export interface FakeServer {
  url: string;
  seen: Seen[];
}

export async function startFakeServer(
  context: { after(end: () => void): void },
  answer: (seen: Seen, number: number) => Answer,
): Promise<FakeServer> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { pathname, searchParams } = new URL(request.url ?? '/', 'http://x');
      seen.push({
        method: request.method ?? '',
        path: pathname,
        query: searchParams,
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
      });
      respond(response, seen.at(-1)!, answer(seen.at(-1)!, seen.length));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

/** Ends the connection without an answer. */
export const reset: Answer = (response) => response.socket?.resetAndDestroy();

/** Forwards the request to another server and returns its answer. */
export function forwardTo(url: string): Answer {
  return (response, seen) => {
    void ask(url, seen).then(({ status, text }) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(text);
    });
  };
}

/** Forwards the request to another server, then loses the answer: ends the connection. */
export function loseAnswerOf(url: string): Answer {
  return (response, seen) => {
    void ask(url, seen).then(() => response.socket?.resetAndDestroy());
  };
}

async function ask(
  url: string,
  { method, path, query, headers, body }: Seen,
): Promise<{ status: number; text: string }> {
  const key = headers['api-key'];
  const answer = await request(url + path + (query.size > 0 ? `?${query.toString()}` : ''), {
    method: method as 'POST',
    headers: { 'content-type': 'application/json', ...(typeof key === 'string' && { 'api-key': key }) },
    body: body === '' ? null : body,
  });
  return { status: answer.statusCode, text: await answer.body.text() };
}

/** Never answers. */
export const silence: Answer = () => undefined;

function respond(response: ServerResponse, seen: Seen, answer: Answer): void {
  if (typeof answer === 'function') return answer(response, seen);
  if ('result' in answer) {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ result: answer.result, status: 'ok', time: 0 }));
    return;
  }
  const { status, headers, body } = answer;
  response.writeHead(status, { ...headers });
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
}
