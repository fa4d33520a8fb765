import { buildConnector, Pool } from 'undici';
import { type OutgoingTls, reloadingConnector } from '../../../calls/outgoing-tls.ts';
import { StoreError } from '../../errors.ts';
import { Breaker } from './breaker.ts';
import { Exchange } from './exchange.ts';

/** How to reach the nodes. */
export interface NodeOptions {
  /** The key at this moment. */
  apiKey: (() => string) | undefined;
  tls: OutgoingTls;
  connections: number;
}

/**
 * Time for a connection and TLS, in milliseconds: far more than a network needs, less than a caller waits.
 */
const CONNECT_TIMEOUT_MS = 3000;

/**
 * Qdrant closes a connection after 5 s idle. Close it earlier, or a request may meet the closing connection.
 */
const KEEP_ALIVE_MS = 4000;

/** How long a node may take to say that it is there, in milliseconds; and how long that counts. */
const AWAKE_MS = 1000;

const DEFAULT_PORT = '6333';

/** One address of Qdrant's REST API: its connections, and whether it is worth trying. */
export class Node {
  /** The address in errors: no key, no path. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Prefix of every path, without a slash at the end. */
  readonly prefix: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #apiKey: (() => string) | undefined;
  readonly breaker = new Breaker();
  readonly pool: Pool;
  /** A connection that no call waits for: where all others are taken, the node may still be well. */
  readonly #spare: Pool;
  #awakeAt = -Infinity;
  #looking: Promise<boolean> | undefined;

  constructor(url: URL, { apiKey, tls, connections }: NodeOptions) {
    this.host = url.hostname;
    this.port = Number(url.port);
    this.name = url.origin;
    this.prefix = url.pathname.replace(/\/+$/, '');
    this.#apiKey = apiKey;
    this.#headers = {
      // Compressed answers come in chunks, which wait 40 ms for a delayed acknowledgement.
      'accept-encoding': 'identity',
      'content-type': 'application/json',
      'user-agent': 'scalingnote',
    };
    const options = {
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      // Each call has its own time limit.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: reloadingConnector(buildConnector, tls, { timeout: CONNECT_TIMEOUT_MS }),
    };
    this.pool = new Pool(url.origin, { ...options, connections });
    this.#spare = new Pool(url.origin, { ...options, connections: 1 });
  }

  /** Of a request, with the key as it is now. */
  get headers(): Record<string, string> {
    return this.#apiKey ? { ...this.#headers, 'api-key': this.#apiKey() } : { ...this.#headers };
  }

  /** Whether the node answered something just now. */
  get awake(): boolean {
    return performance.now() - this.#awakeAt < AWAKE_MS;
  }

  /** Asks the node for its version, which takes no work: a node that answers is busy, not broken. */
  look(): Promise<boolean> {
    this.#looking ??= this.#ask().finally(() => (this.#looking = undefined));
    return this.#looking;
  }

  async #ask(): Promise<boolean> {
    const request = { path: `${this.prefix}/`, method: 'GET' as const, headers: this.headers, body: null };
    const { text } = new Exchange(this.#spare, request, { signal: undefined, timeoutMs: AWAKE_MS });
    try {
      await text;
      this.#awakeAt = performance.now();
      return true;
    } catch {
      return false;
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.pool.destroy(), this.#spare.destroy()]);
  }
}

/**
 * Reads a list of addresses, separated by commas.
 *
 * @throws {StoreError} `STORE_INVALID_ARGUMENT` if one is not an http or https address
 */
export function parseAddresses(list: string): URL[] {
  return list.split(',').map((part) => {
    const text = part.trim();
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (
      !url ||
      !/^https?:$/.test(url.protocol) ||
      url.username !== '' ||
      url.search !== '' ||
      url.hash !== ''
    ) {
      throw new StoreError(
        'STORE_INVALID_ARGUMENT',
        `the Qdrant address ${JSON.stringify(withoutSecrets(text))} cannot be used; give http://HOST:PORT or https://HOST:PORT, ` +
          'and the key as QDRANT_API_KEY',
      );
    }
    // A URL drops its protocol's default port, so look in the text for a port.
    if (url.port === '' && !/^https?:\/\/[^/]*:\d+/.test(text)) url.port = DEFAULT_PORT;
    return url;
  });
}

function withoutSecrets(url: string): string {
  return url.replace(/\/\/[^/@]*@/, '//...@').replace(/[?#].*$/, '?...');
}
