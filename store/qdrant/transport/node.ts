import { Pool } from 'undici';
import { StoreError } from '../../errors.ts';
import { Breaker } from './breaker.ts';

/** How to reach the nodes. */
export interface NodeOptions {
  apiKey: string | undefined;
  /** PEM. */
  ca: string | undefined;
  connections: number;
}

/** Time for a connection, TLS included, in milliseconds: far more than any network needs, less than a caller waits. */
const CONNECT_TIMEOUT_MS = 3000;

/** Qdrant closes a connection that was idle for 5 s: it has to be let go before, or a request runs into the end of it. */
const KEEP_ALIVE_MS = 4000;

const DEFAULT_PORT = '6333';

/** One address that Qdrant's REST API is at: its connections, and whether it is worth trying. */
export class Node {
  /** As in errors: no key, no path. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Before every path; without a slash at the end. */
  readonly prefix: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly breaker = new Breaker();
  readonly pool: Pool;

  constructor(url: URL, { apiKey, ca, connections }: NodeOptions) {
    this.host = url.hostname;
    this.port = Number(url.port);
    this.name = url.origin;
    this.prefix = url.pathname.replace(/\/+$/, '');
    this.headers = {
      // Compressed answers come in chunks, and those wait 40 ms for a delayed acknowledgement.
      'accept-encoding': 'identity',
      'content-type': 'application/json',
      'user-agent': 'scalingnote',
      ...(apiKey !== undefined && { 'api-key': apiKey }),
    };
    this.pool = new Pool(url.origin, {
      connections,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      // How long an answer may take is decided call by call.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: { timeout: CONNECT_TIMEOUT_MS, ...(ca !== undefined && { ca }) },
    });
  }
}

/**
 * Reads a list of addresses, separated by commas.
 *
 * @throws {StoreError} `STORE_INVALID_ARGUMENT` where one is not an http or https address
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
    // A URL forgets a port that is its protocol's own, so whether one was given is read from the text.
    if (url.port === '' && !/^https?:\/\/[^/]*:\d+/.test(text)) url.port = DEFAULT_PORT;
    return url;
  });
}

function withoutSecrets(url: string): string {
  return url.replace(/\/\/[^/@]*@/, '//...@').replace(/[?#].*$/, '?...');
}
