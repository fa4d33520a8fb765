import { EventEmitter } from 'node:events';
import { LRUCache } from 'lru-cache';
import { status } from '@grpc/grpc-js';
import { invalidArgument } from '../errors.ts';
import { parseSequence, quoted } from '../validate.ts';
import { callUnary } from './calls.ts';
import { codecOf } from './codec.ts';
import { connectDeadline, sendConnectError } from './connect-unary.ts';
import { HttpError, type Exchange } from './exchange.ts';
import type { Method } from './methods.ts';
import type { AddRoutes } from './routes.ts';
import { SEARCH_STREAM_PATH, SESSION_NAME } from './session-name.ts';
import { errorJson, type GrpcError } from './wire-error.ts';

/** Most sessions that are remembered. One that is forgotten works on: only what it asked before is not superseded. */
const MAX_SESSIONS = 10_000;
/** How long a session is remembered in which nobody types, in milliseconds. */
const SESSION_TTL_MS = 60_000;

/** The newest query of a session. */
interface Session {
  sequence: number;
  /** Answers it as superseded, where it has no answer yet. */
  supersede: ((bySequence: number) => void) | undefined;
}

/** As the decoder makes a `SearchStreamRequest`. */
interface StreamRequest {
  sequence: string;
  search: object | null;
  traceparent: string;
}

/**
 * Adds `SearchStream` for those who can't keep a stream open in both directions: each query is a POST with the name of
 * its session in the address, and a newer query supersedes the one before it. That one is answered as superseded at once,
 * and its search is given up; so it is where its caller goes away. The answer is JSON, or one server-sent event.
 */
export function searchSessions(): AddRoutes {
  return (routes, methods) => {
    const search = methods.get('/scalingnote.v1.QueryService/Search');
    const stream = methods.get('/scalingnote.v1.QueryService/SearchStream');
    if (!search || !stream) return;
    const sessions = new LRUCache<string, Session>({ max: MAX_SESSIONS, ttl: SESSION_TTL_MS });
    routes.add(SEARCH_STREAM_PATH, {
      verbs: ['POST'],
      method: search.path,
      takesQuery: true,
      serve: (exchange) => serveQuery(exchange, { search, stream, sessions }),
    });
  };
}

async function serveQuery(
  exchange: Exchange,
  { search, stream, sessions }: { search: Method; stream: Method; sessions: LRUCache<string, Session> },
): Promise<void> {
  const name = sessionOf(exchange);
  requireJson(exchange);
  const deadline = connectDeadline(exchange);
  const request = codecOf(stream, 'json')!.decode(await exchange.body()) as StreamRequest;
  if (!request.search) throw invalidArgument('search', 'is not set; set the search');
  const { traceparent } = request;
  const headers = traceparent === '' ? exchange.headers : { ...exchange.headers, traceparent };

  // Nothing waits between the look at the session and its change. Whoever knows the name of another's session supersedes nothing there without their credential.
  const key = JSON.stringify([exchange.headers.authorization ?? '', name]);
  const before = sessions.get(key);
  const sequence = parseSequence(request.sequence, before?.sequence ?? 0);
  const output = wantsEvents(exchange) ? new EventOutput(exchange) : new JsonOutput(exchange);
  const answer = new EventEmitter();
  const session: Session = { sequence, supersede: undefined };
  session.supersede = (bySequence) => {
    session.supersede = undefined;
    const superseded = { sequence: String(sequence), superseded: { bySequence: String(bySequence) } };
    output.answer('superseded', JSON.stringify(superseded));
    answer.emit('close');
  };
  sessions.set(key, session);
  output.begin(sequence);
  before?.supersede?.(sequence);
  try {
    const found = await callUnary(
      search,
      request.search,
      { head: { headers, arrived: exchange.arrived, visitor: exchange.visitor }, deadline },
      {
        onGone: (listener) => {
          answer.once('close', listener);
          exchange.onGone(() => answer.emit('close'));
        },
        failure: (error) => exchange.failure(error),
      },
    );
    if (!found || !session.supersede) return;
    if (found.error) {
      output.fail(codecOf(search, 'json')!.named(found.error));
      return;
    }
    const result = search.json!.encode(found.value!, search.encode);
    output.answer('result', `{"sequence":"${sequence}","result":${result}}`);
  } finally {
    session.supersede = undefined;
  }
}

/** How a query is answered. */
interface Output {
  /** The query has been taken, and has its place in the session. */
  begin(sequence: number): void;
  /** @param json on one line */
  answer(kind: 'result' | 'superseded', json: string): void;
  fail(error: GrpcError): void;
}

/** One document of JSON. */
class JsonOutput implements Output {
  readonly #exchange: Exchange;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  begin(): void {}

  answer(_kind: string, json: string): void {
    this.#exchange.send(200, { 'content-type': 'application/json' }, json);
  }

  fail(error: GrpcError): void {
    sendConnectError(this.#exchange, error, undefined);
  }
}

/** Server-sent events: the head goes out as soon as the query is taken, then one event. */
class EventOutput implements Output {
  readonly #response: Exchange['response'];
  #sequence = 0;

  constructor({ response }: Exchange) {
    this.#response = response;
  }

  begin(sequence: number): void {
    this.#sequence = sequence;
    this.#response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    this.#response.flushHeaders();
  }

  answer(kind: string, json: string): void {
    const response = this.#response;
    if (response.destroyed || response.writableEnded) return;
    response.end(`event: ${kind}\nid: ${this.#sequence}\ndata: ${json}\n\n`);
  }

  fail(error: GrpcError): void {
    this.answer('error', JSON.stringify(errorJson(error)));
  }
}

/** Whether a request asks for events: it names their type, and does not refuse it. */
function wantsEvents({ headers }: Exchange): boolean {
  return (headers.accept ?? '').split(',').some((each) => {
    const [type = '', ...parameters] = each.split(';').map((part) => part.trim().toLowerCase());
    return type === 'text/event-stream' && !parameters.some((part) => /^q=0(\.0*)?$/.test(part));
  });
}

/** The name of the session. @throws {ServiceError} for anything else in the address */
function sessionOf({ query }: Exchange): string {
  const parameters = [...new URLSearchParams(query)];
  const unknown = parameters.find(([name]) => name !== 'session')?.[0];
  if (unknown !== undefined) {
    throw invalidArgument(unknown.slice(0, 64), 'is no parameter of this address; there is session');
  }
  const [first, second] = parameters;
  const name = first?.[1] ?? '';
  if (second || !SESSION_NAME.test(name)) {
    const what = second ? 'is given twice' : `is ${quoted(name)}`;
    throw invalidArgument(
      'session',
      `${what}; send 16 to 64 of a-z, A-Z, 0-9, "_" and "-", a UUID for example`,
    );
  }
  return name;
}

function requireJson({ headers }: Exchange): void {
  const given = headers['content-type'] ?? '';
  if (/^application\/json\s*(?:;\s*charset="?utf-8"?\s*)?$/i.test(given)) return;
  throw new HttpError(
    415,
    status.INVALID_ARGUMENT,
    `content-type is ${JSON.stringify(given)}; send application/json`,
  );
}
