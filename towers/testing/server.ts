import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

/** What a server answers: contents, or whatever it does with the response. */
export type Answer =
  | string
  | Uint8Array
  | object
  | ((request: IncomingMessage, response: ServerResponse) => void);

/** A request that came in. */
export interface SeenRequest {
  path: string;
  range: string | undefined;
  authorization: string | undefined;
}

/** An HTTP server on this machine, with byte ranges. It ends with the test. */
export interface TestServer {
  url: string;
  /** Path → answer; may be changed at any time. */
  answers: Map<string, Answer>;
  seen: SeenRequest[];
}

/** Starts a server. */
export async function startServer(
  context: Pick<TestContext, 'after'>,
  answers: Readonly<Record<string, Answer>> = {},
): Promise<TestServer> {
  const byPath = new Map(Object.entries(answers));
  const seen: SeenRequest[] = [];
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    const { range, authorization } = request.headers;
    seen.push({ path, range, authorization });
    const answer = byPath.get(path);
    if (answer === undefined) response.writeHead(404).end();
    else if (typeof answer === 'function') answer(request, response);
    else sendBytes(request, response, bytesOf(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, answers: byPath, seen };
}

/** Sends contents, or the rest of them from the byte that is asked for. */
export function sendBytes(request: IncomingMessage, response: ServerResponse, bytes: Uint8Array): void {
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  if (start > 0 && start >= bytes.length) {
    response.writeHead(416).end();
    return;
  }
  const rest = bytes.subarray(start);
  response.writeHead(start > 0 ? 206 : 200, { 'content-length': rest.length });
  response.end(rest);
}

/** Sends some of the contents, and then breaks the connection. */
export function breakAfter(bytes: Uint8Array, count: number): Answer {
  return (request, response) => {
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(start > 0 ? 206 : 200, { 'content-length': bytes.length - start });
    response.write(bytes.subarray(start, start + count), () => {
      // The bytes are to arrive before the end does.
      setTimeout(() => response.destroy(), 50);
    });
  };
}

function bytesOf(answer: string | Uint8Array | object): Uint8Array {
  if (answer instanceof Uint8Array) return answer;
  return Buffer.from(typeof answer === 'string' ? answer : JSON.stringify(answer));
}
