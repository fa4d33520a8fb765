import { setTimeout as delay } from 'node:timers/promises';
import type { EnvHttpProxyAgent, Response } from 'undici';
import { backoffMs } from '../calls/backoff.ts';
import { TowerError } from './errors.ts';

/** How long a server may take to accept a connection. */
const CONNECT_TIMEOUT_MS = 15_000;

/** How long a server may send nothing, before its answer and within it. */
const SILENCE_TIMEOUT_MS = 60_000;

/** Attempts in all, and the waits between them: a hiccup is over by then, an outage is not. */
const RETRIES = { attempts: 3, firstMs: 1_000, longestMs: 3_000 };

/** Statuses that another attempt may get past. */
const TRANSIENT = new Set([408, 425, 429, 500, 502, 503, 504]);

/** A request to a source of towers. */
export interface SourceRequest {
  url: string;
  headers?: Readonly<Record<string, string>>;
  /** What to do if the source does not answer; the error's message ends with it. */
  advice: string;
}

/** HTTP as the environment wants it: through the proxies of `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`. */
export class Http {
  readonly #retries: typeof RETRIES;
  #dispatcher: EnvHttpProxyAgent | undefined;

  constructor(retries = RETRIES) {
    this.#retries = retries;
  }

  /**
   * Makes a request and passes on the answer if its status is 2xx or accepted. A broken connection or a transient status
   * is retried.
   *
   * @param use reads the answer to its end; may be called again after it broke
   * @throws {TowerError} `TOWER_NOT_FOUND`, `TOWER_SOURCE_UNREACHABLE`
   */
  async get<T>(
    request: () => SourceRequest | Promise<SourceRequest>,
    use: (response: Response) => Promise<T>,
    accepted: readonly number[] = [],
  ): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const { url, headers, advice } = await request();
      const outcome = await this.#attempt(url, { ...headers }, use, accepted);
      if ('value' in outcome) return outcome.value;
      if (!outcome.transient || attempt >= this.#retries.attempts) {
        throw new TowerError('TOWER_SOURCE_UNREACHABLE', `${url}: ${outcome.why}; ${advice}`, {
          metadata: { url },
          cause: outcome.cause,
        });
      }
      await delay(this.#retries.firstMs / 2 + backoffMs(attempt, this.#retries));
    }
  }

  async json(request: SourceRequest): Promise<unknown> {
    return this.get(
      () => request,
      (response) => response.json(),
    );
  }

  async close(): Promise<void> {
    await this.#dispatcher?.destroy();
  }

  async #attempt<T>(
    url: string,
    headers: Record<string, string>,
    use: (response: Response) => Promise<T>,
    accepted: readonly number[],
  ): Promise<{ value: T } | { why: string; transient: boolean; cause?: unknown }> {
    try {
      // Loaded here: a tower that is on this machine needs none of it, and its service starts the sooner.
      const { EnvHttpProxyAgent, fetch } = await import('undici');
      this.#dispatcher ??= new EnvHttpProxyAgent({
        connect: { timeout: CONNECT_TIMEOUT_MS },
        headersTimeout: SILENCE_TIMEOUT_MS,
        bodyTimeout: SILENCE_TIMEOUT_MS,
      });
      const response = await fetch(url, { headers, dispatcher: this.#dispatcher });
      const { status } = response;
      if (response.ok || accepted.includes(status)) return { value: await use(response) };
      await response.body?.cancel();
      if (status === 404 || status === 410) {
        throw new TowerError('TOWER_NOT_FOUND', `${url} is not there (${status})`, { metadata: { url } });
      }
      if (status === 401 || status === 403) return { why: `access is refused (${status})`, transient: false };
      return { why: `the server answers with status ${status}`, transient: TRANSIENT.has(status) };
    } catch (error) {
      const why = networkFailure(error);
      if (why === undefined) throw error;
      return { why, transient: true, cause: error };
    }
  }
}

/** What went wrong on the network, undefined where it was something else (our own error, the disk). */
function networkFailure(error: unknown): string | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
    if (
      /^(E(AI_AGAIN|CONN|HOST|NET|NOTFOUND|PIPE|PROTO|TIMEDOUT)|UND_ERR|CERT_|DEPTH_|SELF_SIGNED|UNABLE_TO|ERR_SSL|ERR_TLS)/.test(
        code,
      )
    ) {
      return cause.message === '' ? code : cause.message;
    }
  }
  if (error instanceof TypeError && /fetch failed|terminated/.test(error.message)) return error.message;
  if (error instanceof SyntaxError) return `the answer is no JSON: ${error.message}`;
  return undefined;
}
