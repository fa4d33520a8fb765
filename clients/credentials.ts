import { readFileSync, statSync } from 'node:fs';
import {
  type ChannelCredentials,
  credentials as grpcCredentials,
  experimental,
  InterceptingCall,
  type Interceptor,
} from '@grpc/grpc-js';
import { isLoopback } from './channel.ts';
import { invalidArgument } from './errors.ts';

/** Who a client is, and whom it trusts. Files are read again when they change. */
export interface Credentials {
  /** An API key: `sn_...`. Give one of `apiKey`, `apiKeyFile` and `token`. */
  apiKey?: string;
  /** A file that holds the API key, or a token, and nothing else. */
  apiKeyFile?: string;
  /**
   * A token of an issuer that the services trust (`--jwt-issuer`), or that what stands before them does; or what gives
   * the current one to each call.
   */
  token?: string | (() => string);
  /** Speak TLS. @default whether `ca` or `cert` is given */
  tls?: boolean;
  /** PEM file with the CAs of the services. @default those of Node */
  ca?: string;
  /** PEM file with the certificate of the client and its chain; `key` goes with it. */
  cert?: string;
  /** PEM file with its private key. */
  key?: string;
  /** Send a key or token without TLS to another machine, where everybody on the way can read it. @default false */
  plaintext?: boolean;
}

/** What a client does with its credentials. */
export interface OpenCredentials {
  channel: ChannelCredentials;
  /** Adds the key or token to each call. */
  interceptors: readonly Interceptor[];
}

/** How often files are looked at, in milliseconds. */
const LOOK_EVERY_MS = 1_000;
/** What a header can carry. */
const HEADER_VALUE = /^[!-~]+$/;

/** Names that were too near to those of the services' own keys. */
const OLD_VARIABLES = [
  ['SCALINGNOTE_CERT', 'SCALINGNOTE_CLIENT_CERT'],
  ['SCALINGNOTE_KEY', 'SCALINGNOTE_CLIENT_KEY'],
] as const;

/** What the environment names; `undefined` for nothing. @throws {ScalingnoteError} for a value that is not one */
export function credentialsOf(env: NodeJS.ProcessEnv): Credentials | undefined {
  for (const [old, now] of OLD_VARIABLES) {
    if ((env[old] ?? '') !== '') throw invalidArgument(`environment.${old}`, `has another name now: ${now}`);
  }
  const found: Credentials = {};
  const take = (name: 'apiKey' | 'apiKeyFile' | 'ca' | 'cert' | 'key', variable: string): void => {
    const value = env[variable];
    if (value !== undefined && value !== '') found[name] = value;
  };
  take('apiKey', 'SCALINGNOTE_API_KEY');
  take('apiKeyFile', 'SCALINGNOTE_API_KEY_FILE');
  take('ca', 'SCALINGNOTE_CA');
  take('cert', 'SCALINGNOTE_CLIENT_CERT');
  take('key', 'SCALINGNOTE_CLIENT_KEY');
  if (Object.keys(found).length === 0) return undefined;
  const plaintext = env['SCALINGNOTE_PLAINTEXT'] ?? '';
  if (!['', 'true', 'false'].includes(plaintext)) {
    throw invalidArgument(
      'credentials.plaintext',
      'comes from SCALINGNOTE_PLAINTEXT; set that to true or false',
    );
  }
  if (plaintext === 'true') found.plaintext = true;
  return found;
}

/**
 * Makes credentials usable.
 *
 * @param given - what the caller of the client says; the environment counts where that is nothing
 * @param addresses - of the services
 * @throws {ScalingnoteError} `INVALID_ARGUMENT` that names what does not fit
 */
export function openCredentials(
  given: ChannelCredentials | Credentials | undefined,
  addresses: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): OpenCredentials {
  if (given && isChannelCredentials(given)) return { channel: given, interceptors: [] };
  const own = given ?? credentialsOf(env);
  if (!own) return { channel: grpcCredentials.createInsecure(), interceptors: [] };
  const secrets = [own.apiKey, own.apiKeyFile, own.token].filter((each) => each !== undefined);
  if (secrets.length > 1) {
    throw invalidArgument('credentials', 'has more than one of apiKey, apiKeyFile and token; give one');
  }
  if ((own.cert === undefined) !== (own.key === undefined)) {
    throw invalidArgument('credentials', 'has one of cert and key; give both');
  }
  const isTls = own.tls ?? (own.ca !== undefined || own.cert !== undefined);
  if (!isTls && (own.ca !== undefined || own.cert !== undefined)) {
    throw invalidArgument('credentials.tls', 'is false beside ca or cert; leave one out');
  }
  const far = addresses.find((address) => !isLoopback(address) && !address.startsWith('unix:'));
  if (secrets.length > 0 && !isTls && far !== undefined && own.plaintext !== true) {
    throw invalidArgument(
      'credentials',
      `would go to ${far} in plain text, for everybody on the way to read; name the CA of the service with "ca" ` +
        '(SCALINGNOTE_CA), set "tls" for a public one, or allow it with "plaintext"',
    );
  }
  return {
    channel: isTls ? channelOf(own) : grpcCredentials.createInsecure(),
    interceptors: secrets.length > 0 ? [authorizing(secretOf(own))] : [],
  };
}

function isChannelCredentials(given: ChannelCredentials | Credentials): given is ChannelCredentials {
  return 'compose' in given;
}

/** Adds the header that every protocol of the services takes: `authorization: Bearer KEY`. */
function authorizing(secret: () => string): Interceptor {
  return (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start: (metadata, listener, next) => {
        metadata.set('authorization', `Bearer ${secret()}`);
        next(metadata, listener);
      },
    });
}

function secretOf({ apiKey, apiKeyFile, token }: Credentials): () => string {
  if (apiKeyFile !== undefined) return fileSecret(apiKeyFile);
  const name = apiKey === undefined ? 'credentials.token' : 'credentials.apiKey';
  if (typeof token === 'function') {
    checkedSecret(token(), name);
    return () => checkedSecret(token(), name);
  }
  const secret = checkedSecret(apiKey ?? token ?? '', name);
  return () => secret;
}

/** The text of a file, read again when it has changed; what can't be read then leaves the text as it was. */
function fileSecret(path: string): () => string {
  const read = (): string => {
    try {
      return checkedSecret(readFileSync(path, 'utf8').trim(), `credentials.apiKeyFile: ${path}`);
    } catch (error) {
      if ((error as { code?: string }).code === 'INVALID_ARGUMENT') throw error;
      throw invalidArgument('credentials.apiKeyFile', `can't be read: ${(error as Error).message}`);
    }
  };
  const stamp = (): string => {
    const found = statSync(path, { throwIfNoEntry: false });
    return found ? `${found.ino} ${found.size} ${found.mtimeMs}` : '';
  };
  let seen = stamp();
  let secret = read();
  let lookedAt = Date.now();
  return () => {
    const now = Date.now();
    if (now - lookedAt < LOOK_EVERY_MS) return secret;
    lookedAt = now;
    const current = stamp();
    if (current === seen || current === '') return secret;
    try {
      secret = read();
      seen = current;
    } catch {
      // It is being written; the next look finds it whole.
    }
    return secret;
  };
}

/** @throws {ScalingnoteError} which does not repeat the secret */
function checkedSecret(secret: string, name: string): string {
  if (HEADER_VALUE.test(secret)) return secret;
  throw invalidArgument(name, 'must be characters of ASCII without white space');
}

/** A channel that speaks TLS; where files name its parts, it takes new ones for its next connection. */
function channelOf({ ca, cert, key }: Credentials): ChannelCredentials {
  const pem = (path: string, name: string): Buffer => {
    try {
      return readFileSync(path);
    } catch (error) {
      throw invalidArgument(`credentials.${name}`, `can't be read: ${(error as Error).message}`);
    }
  };
  // What can't be read is told now; the provider below would wait for it.
  const root = ca === undefined ? null : pem(ca, 'ca');
  const chain = cert === undefined ? null : pem(cert, 'cert');
  const secret = key === undefined ? null : pem(key, 'key');
  if (ca === undefined) return grpcCredentials.createSsl(root, secret, chain);
  const provider = new experimental.FileWatcherCertificateProvider({
    caCertificateFile: ca,
    ...(cert !== undefined && { certificateFile: cert }),
    ...(key !== undefined && { privateKeyFile: key }),
    refreshIntervalMs: LOOK_EVERY_MS,
  });
  return experimental.createCertificateProviderChannelCredentials(
    provider,
    cert === undefined ? null : provider,
  );
}
