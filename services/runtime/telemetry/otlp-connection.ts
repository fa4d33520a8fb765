import { Agent as HttpAgent } from 'node:http';
import { Agent } from 'node:https';
import type { TLSSocket } from 'node:tls';
import type { ChannelCredentials } from '@grpc/grpc-js';
import { reloadingCredentials } from '../../../calls/outgoing-credentials.ts';
import { OutgoingTls } from '../../../calls/outgoing-tls.ts';
import { EnvironmentError, type ExportTarget } from './otel-environment.ts';

/** Options of an exporter that say how to connect. */
export interface OtlpConnection {
  httpAgentOptions?: (protocol: string) => HttpAgent | Agent;
  credentials?: ChannelCredentials;
}

type Signal = 'TRACES' | 'METRICS';

/** Whitespace around a pair of `OTEL_EXPORTER_OTLP_HEADERS`, and a name and a value of W3C Baggage in it. */
const HEADER = /^\s*[!#$%&'*+.^_`|~0-9A-Za-z-]+\s*=\s*[!#-+\--:<-[\]-~]*\s*$/;

/**
 * How to connect to a receiver, as `OTEL_EXPORTER_OTLP_CERTIFICATE`, `_CLIENT_CERTIFICATE` and `_CLIENT_KEY` say, or their
 * forms for one signal. The exporters read these themselves, but once; and of a file that is not there, or of headers that
 * can't be read, they say nothing that stops anybody.
 *
 * @throws {EnvironmentError} which names the variable, and no secret
 */
export function otlpConnection(env: NodeJS.ProcessEnv, signal: Signal, target: ExportTarget): OtlpConnection {
  checkHeaders(env, signal);
  const ca = variableOf(env, signal, 'CERTIFICATE');
  const cert = variableOf(env, signal, 'CLIENT_CERTIFICATE');
  const key = variableOf(env, signal, 'CLIENT_KEY');
  const first = ca ?? cert ?? key;
  if (!first) return {};
  const endpoint = variableOf(env, signal, 'ENDPOINT');
  const isPlain =
    /^http:/i.test(endpoint?.value ?? '') ||
    (target === 'grpc' &&
      !/^https:/i.test(endpoint?.value ?? '') &&
      variableOf(env, signal, 'INSECURE')?.value === 'true');
  if (isPlain) {
    throw new EnvironmentError(
      `${first.name}: is for TLS, and ${endpoint?.name} names an address without; give https://, or leave it out`,
    );
  }
  let tls: OutgoingTls;
  try {
    tls = new OutgoingTls(
      { ca: ca?.value, cert: cert?.value, key: key?.value },
      {
        ca: ca?.name ?? '',
        cert: cert?.name ?? 'OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE',
        key: key?.name ?? 'OTEL_EXPORTER_OTLP_CLIENT_KEY',
      },
    );
  } catch (error) {
    throw new EnvironmentError((error as Error).message, { cause: error });
  }
  if (target === 'grpc') return { credentials: reloadingCredentials(tls) };
  return httpConnection(tls);
}

/** How to connect by HTTP with such files. */
export function httpConnection(tls: OutgoingTls): OtlpConnection {
  return {
    httpAgentOptions: (protocol) =>
      protocol === 'https:' ? new ReloadingAgent(tls) : new HttpAgent({ keepAlive: true }),
  };
}

/** Each new connection uses the files as they are. */
class ReloadingAgent extends Agent {
  readonly #tls: OutgoingTls;

  constructor(tls: OutgoingTls) {
    // No sessions of before: the old certificates have made them.
    super({ keepAlive: true, maxCachedSessions: 0 });
    this.#tls = tls;
  }

  override createConnection(...[options, callback]: Parameters<Agent['createConnection']>): TLSSocket {
    return super.createConnection({ ...options, ...this.#tls.texts }, callback) as TLSSocket;
  }
}

function variableOf(
  env: NodeJS.ProcessEnv,
  signal: Signal,
  what: string,
): { name: string; value: string } | undefined {
  for (const name of [`OTEL_EXPORTER_OTLP_${signal}_${what}`, `OTEL_EXPORTER_OTLP_${what}`]) {
    const value = env[name]?.trim();
    if (value) return { name, value };
  }
  return undefined;
}

function checkHeaders(env: NodeJS.ProcessEnv, signal: Signal): void {
  for (const name of [`OTEL_EXPORTER_OTLP_${signal}_HEADERS`, 'OTEL_EXPORTER_OTLP_HEADERS']) {
    const text = env[name]?.trim();
    if (!text) continue;
    const bad = text.split(',').findIndex((pair) => !HEADER.test(pair.split(';', 1)[0]!));
    if (bad === -1) continue;
    throw new EnvironmentError(
      `${name}: its part ${bad + 1} is not NAME=VALUE; give pairs with commas between, and other characters as %20`,
    );
  }
}
