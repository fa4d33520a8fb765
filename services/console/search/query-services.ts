import { setTimeout as sleep } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { Credentials } from '../../../clients/credentials.ts';
import { QueryClient, type SearchRequest, type SearchStream } from '../../../clients/index.ts';
import { newTraceContext } from '../../runtime/telemetry/trace-context.ts';
import { callProblem, fromCallError, HttpError } from '../http/errors.ts';
import { unsampled } from '../unsampled.ts';
import type { CosinesAnswer, SearchAnswer } from '../shared/wire.ts';

/** A person who types waits no longer than this. */
const CALL_TIMEOUT_MS = 10_000;

/** Search boxes in use at the same time, times the towers that each compares. */
const MAX_SESSIONS = 256;

/** The stream of a box that nobody types into closes after this; the next query opens another. */
const SESSION_IDLE_MS = 60_000;

/** The query services of the console, by address: the first answers searches, all can be compared. */
export class QueryServices {
  readonly #clients: ReadonlyMap<string, QueryClient>;
  readonly #sessions = new LRUCache<string, SearchStream>({
    max: MAX_SESSIONS,
    ttl: SESSION_IDLE_MS,
    ttlAutopurge: true,
    updateAgeOnGet: true,
    dispose: (stream) => stream.close(),
  });

  /** @param credentials - of all calls. @default those of the environment */
  constructor(addresses: readonly string[], credentials?: Credentials) {
    this.#clients = new Map(
      [...new Set(addresses)].map((address) => [
        address,
        new QueryClient({
          address,
          timeoutMs: CALL_TIMEOUT_MS,
          attempts: 1,
          ...(credentials && { credentials }),
        }),
      ]),
    );
  }

  /** By address, in the order in which they were named. */
  get clients(): ReadonlyMap<string, QueryClient> {
    return this.#clients;
  }

  /**
   * Searches over the stream of a session, on which a newer query supersedes the older one. Each query is a trace of
   * its own, which begins here.
   *
   * @throws {HttpError}
   */
  async search(session: string, service: string, request: SearchRequest): Promise<SearchAnswer> {
    const { traceId, traceparent } = newTraceContext();
    const stream = this.#stream(session, service);
    const started = performance.now();
    const timer = new AbortController();
    const late = sleep(CALL_TIMEOUT_MS, undefined, { signal: timer.signal }).then(() => {
      // The answer may still come, but nobody waits for it on this stream.
      this.#sessions.delete(key(session, service));
      throw new HttpError(504, 'DEADLINE_EXCEEDED', `${service} did not answer in ${CALL_TIMEOUT_MS} ms`);
    });
    try {
      const result = await Promise.race([stream.search(request, { traceparent }), late]);
      if (result === undefined) return { superseded: true };
      return { superseded: false, ...result, traceId, callMs: performance.now() - started };
    } catch (error) {
      throw fromCallError(error, service);
    } finally {
      late.catch(() => {});
      timer.abort();
    }
  }

  /** The cosines between the vectors of several services for one text. */
  async cosines(text: string, services: readonly string[]): Promise<CosinesAnswer> {
    const encoded = await Promise.allSettled(
      services.map(async (service) => {
        const { embeddings, queryTower } = await this.#client(service).encode([text], unsampled());
        return { vector: embeddings[0]!, space: queryTower.space.fingerprint };
      }),
    );
    const vectors = encoded.map((each) => (each.status === 'fulfilled' ? each.value : undefined));
    return {
      cosines: vectors.map((a) =>
        vectors.map((b) => (a && b && a.space === b.space ? cosine(a.vector, b.vector) : null)),
      ),
      errors: encoded.map((each, index) =>
        each.status === 'fulfilled' ? null : callProblem(each.reason, services[index]!),
      ),
    };
  }

  /** Ends all streams and connections. */
  close(): void {
    this.#sessions.clear();
    for (const client of this.#clients.values()) client.close();
  }

  #stream(session: string, service: string): SearchStream {
    const client = this.#client(service);
    const found = this.#sessions.get(key(session, service));
    if (found !== undefined) return found;
    const stream = client.searchStream(unsampled());
    this.#sessions.set(key(session, service), stream);
    return stream;
  }

  #client(service: string): QueryClient {
    const client = this.#clients.get(service);
    if (client !== undefined) return client;
    const known = [...this.#clients.keys()].join(', ');
    throw new HttpError(
      404,
      'SERVICE_NOT_FOUND',
      `the console knows no query service at ${service}: ${known}`,
    );
  }
}

function key(session: string, service: string): string {
  return `${session} ${service}`;
}

function cosine(a: readonly number[], b: readonly number[]): number {
  let dot = 0;
  let aa = 0;
  let bb = 0;
  for (const [index, x] of a.entries()) {
    const y = b[index] ?? 0;
    dot += x * y;
    aa += x * x;
    bb += y * y;
  }
  return aa === 0 || bb === 0 ? 0 : dot / Math.sqrt(aa * bb);
}
