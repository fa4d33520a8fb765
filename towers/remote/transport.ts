import { isIP } from 'node:net';
import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import { type OutgoingTls, reloadingConnector } from '../../calls/outgoing-tls.ts';

/** How long a server may take to accept a connection. */
const CONNECT_TIMEOUT_MS = 10_000;

/** A longer answer is none to what we ask: 32 vectors of 8 192 numbers in decimal are 6 MB. */
const MOST_ANSWER_BYTES = 256 * 1024 * 1024;

/** What a server answered. */
export interface HttpAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

/** A request of JSON, or of nothing. */
export interface HttpRequest {
  url: string;
  body?: unknown;
  /** @default {} */
  headers?: Readonly<Record<string, string>>;
  signal: AbortSignal;
}

/** Who we are to a server, and whom we trust. */
export interface RemoteIdentity {
  /** The key at this moment. */
  key: (() => string) | undefined;
  tls: OutgoingTls;
}

/** Connections to one server, kept open. Redirects are not followed: the key is for that server. */
export class Transport {
  readonly #key: (() => string) | undefined;
  readonly #url: string;
  readonly #tls: OutgoingTls;
  #dispatcher: Dispatcher | undefined;

  /** @param url that will be asked: a server on this machine is never behind a proxy */
  constructor(url: string, { key, tls }: RemoteIdentity) {
    this.#url = url;
    this.#key = key;
    this.#tls = tls;
  }

  /** Sends a request, a POST where it has a body. @throws what the network or the signal says */
  async send({ url, body, headers = {}, signal }: HttpRequest): Promise<HttpAnswer> {
    // Loaded here: most services have a tower of their own, and start the sooner without.
    const { Agent, buildConnector, EnvHttpProxyAgent, request } = await import('undici');
    const options = {
      connect: reloadingConnector(buildConnector, this.#tls, { timeout: CONNECT_TIMEOUT_MS }),
      maxResponseSize: MOST_ANSWER_BYTES,
      // The signal of each request ends it.
      headersTimeout: 0,
      bodyTimeout: 0,
    };
    this.#dispatcher ??= isLoopback(this.#url)
      ? new Agent(options)
      : // Behind a proxy, the connection to the server is within the one to the proxy.
        new EnvHttpProxyAgent({ ...options, requestTls: this.#tls.texts });
    const response = await request(url, {
      dispatcher: this.#dispatcher,
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        accept: 'application/json',
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...(this.#key !== undefined && { authorization: `Bearer ${this.#key()}` }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal,
    });
    return {
      status: response.statusCode,
      headers: response.headers,
      text: await response.body.text(),
    };
  }

  /** The text without the key, should the server have repeated it. */
  redact(text: string): string {
    return redactKey(text, this.#key?.());
  }

  async close(): Promise<void> {
    await this.#dispatcher?.destroy();
  }
}

/** A text without a key. */
export function redactKey(text: string, key: string | undefined): string {
  return key === undefined ? text : text.replaceAll(key, '[key]');
}

/** Whether an address is this machine's own. */
export function isLoopback(url: string): boolean {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, '');
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
