import type { Context } from 'hono';
import { Agent, buildConnector, fetch, type Response } from 'undici';
import { OutgoingTls, reloadingConnector } from '../../calls/outgoing-tls.ts';
import { fileSecret } from '../../calls/secret.ts';
import { credentialsOf, type Credentials } from '../../clients/credentials.ts';
import { DocumentClient } from '../../clients/index.ts';
import { Ingests } from './ingest/ingests.ts';
import { QueryServices } from './search/query-services.ts';

/** Where the services are. */
export interface Addresses {
  document: string;
  /** The first answers searches, all can be compared. */
  queries: readonly string[];
}

/** The desk of whoever made a request. */
export type DeskOf = (context: Context) => Desk;

/** The services as somebody with one credential sees them: their calls, streams and ingests are nobody else's. */
export class Desk {
  readonly documents: { address: string; client: DocumentClient };
  readonly queries: QueryServices;
  readonly ingests: Ingests;
  readonly #credentials: Credentials | undefined;
  readonly #secret: (() => string) | undefined;
  #agent: Agent | undefined;

  /** @param credential - key or token that all is done with, or what gives it. @default that of the console's own environment */
  constructor(
    { document: address, queries }: Addresses,
    credential?: string | (() => string),
    env = process.env,
  ) {
    const own = credentialsOf(env);
    this.#credentials = credential === undefined ? own : withCredential(own, credential);
    this.#secret = secretOf(this.#credentials);
    const given = this.#credentials && { credentials: this.#credentials };
    this.documents = { address, client: new DocumentClient({ address, attempts: 1, ...given }) };
    this.queries = new QueryServices(queries, this.#credentials);
    this.ingests = new Ingests(this.documents);
  }

  /** Asks for a page of a service's metrics. */
  metrics(address: string, timeoutMs: number): Promise<Response> {
    const { ca, cert, key, tls } = this.#credentials ?? {};
    const isTls = tls ?? (ca !== undefined || cert !== undefined);
    this.#agent ??= new Agent({
      connect: reloadingConnector(buildConnector, new OutgoingTls({ ca, cert, key }), { timeout: timeoutMs }),
    });
    const secret = this.#secret?.();
    return fetch(`${isTls ? 'https' : 'http'}://${address}/metrics.json`, {
      dispatcher: this.#agent,
      redirect: 'error',
      headers: secret === undefined ? {} : { authorization: `Bearer ${secret}` },
      signal: AbortSignal.timeout(timeoutMs),
    });
  }

  async close(): Promise<void> {
    await this.ingests.close();
    this.queries.close();
    this.documents.client.close();
    await this.#agent?.destroy();
  }
}

function secretOf({ apiKey, apiKeyFile, token }: Credentials = {}): (() => string) | undefined {
  if (apiKeyFile !== undefined) return fileSecret(apiKeyFile, () => {});
  const secret = apiKey ?? token;
  if (typeof secret === 'function') return secret;
  return secret === undefined ? undefined : () => secret;
}

/** Somebody's own credential beside the files of TLS: whatever key the console has does not count for them. */
function withCredential(own: Credentials | undefined, token: string | (() => string)): Credentials {
  const { ca, cert, key, tls, plaintext } = own ?? {};
  return {
    token,
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(tls !== undefined && { tls }),
    ...(plaintext !== undefined && { plaintext }),
  };
}
