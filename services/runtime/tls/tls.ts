import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import {
  createSecureContext,
  createServer,
  type SecureContextOptions,
  type Server,
  type TLSSocket,
} from 'node:tls';
import type { Logger } from 'pino';
import { WatchedFiles } from '../access/watched-file.ts';
import { isLoopback } from '../listen-address.ts';
import { ConfigError } from '../setting-types.ts';

/** Time for a client to finish its handshake. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Certificates that end within so many days are worth a warning. */
const ENDS_SOON_DAYS = 14;
const DAY_MS = 24 * 3600 * 1000;

/** The intermediate profile of Mozilla's guidelines, 5.7: every client of the last ten years has one of these. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/** Settings of a listener that speaks TLS. */
export interface TlsConfig {
  tlsCert: readonly string[];
  tlsKey: readonly string[];
  tlsClientCa?: string | undefined;
  plaintext: boolean;
}

/** Speaks TLS on connections that were accepted. */
export interface Tls {
  /** The same connection after its handshake; `undefined` where that failed. */
  wrap(socket: Socket): Promise<TLSSocket | undefined>;
  close(): void;
}

/**
 * TLS as the settings have it. Certificates, keys and CAs are read again when their files change; connections that are
 * open stay as they are.
 *
 * @param hosts - addresses that are listened at
 * @param protocols - what the listener speaks, by its names in ALPN
 * @returns `undefined` for plain text
 * @throws {ConfigError} where files don't fit together, or plain text would leave this machine without a word
 */
export function openTls(
  { tlsCert, tlsKey, tlsClientCa, plaintext }: TlsConfig,
  hosts: readonly string[],
  protocols: readonly ('h2' | 'http/1.1')[],
  log: Logger,
): Tls | undefined {
  if (tlsCert.length !== tlsKey.length) {
    throw new ConfigError(
      `--tls-cert names ${tlsCert.length} files and --tls-key ${tlsKey.length}; name a key for each`,
    );
  }
  if (tlsCert.length === 0) {
    if (tlsClientCa !== undefined) throw new ConfigError('--tls-client-ca needs --tls-cert and --tls-key');
    const far = hosts.find((host) => !isLoopback(host));
    if (far === undefined) return undefined;
    if (!plaintext) {
      throw new ConfigError(
        `${far} is no loopback address, and everybody on the way could read along; name a certificate with --tls-cert ` +
          'and --tls-key ("scalingnote certs" makes some), or allow it with --plaintext',
      );
    }
    log.warn({ host: far }, '--plaintext: everybody on the way can read along');
    return undefined;
  }
  if (plaintext) throw new ConfigError('--plaintext does not go with --tls-cert; drop one of them');
  const waiting = new Map<string, (socket: TLSSocket | undefined) => void>();
  const files = [...tlsCert, ...tlsKey, ...(tlsClientCa === undefined ? [] : [tlsClientCa])];
  const read = (): Server =>
    serverOf(contextsOf(tlsCert, tlsKey, tlsClientCa, log), tlsClientCa !== undefined);
  const serverOf = ([first, ...more]: readonly Identity[], mutual: boolean): Server => {
    const server = createServer({
      ...first!.options,
      ALPNProtocols: [...protocols],
      requestCert: mutual,
      rejectUnauthorized: mutual,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    });
    for (const { options, names } of more) for (const name of names) server.addContext(name, options);
    server.on('secureConnection', (socket) => {
      const key = keyOf(socket);
      const taken = waiting.get(key);
      waiting.delete(key);
      if (taken) taken(socket);
      else socket.destroy();
    });
    server.on('tlsClientError', (error, socket) => {
      log.debug({ err: error, peer: socket.remoteAddress }, 'a handshake failed');
      socket.destroy();
    });
    return server;
  };
  const current = new WatchedFiles(files, read, log);
  return {
    wrap: (socket) =>
      new Promise((resolve) => {
        const key = keyOf(socket);
        waiting.set(key, resolve);
        socket.once('close', () => {
          // Another connection may have the address by now, but not before this one has ended.
          if (waiting.get(key) === resolve) waiting.delete(key);
          resolve(undefined);
        });
        current.value.emit('connection', socket);
      }),
    close: () => current.close(),
  };
}

/** Names a connection: no two that are open have the same addresses and ports. */
function keyOf({ localAddress, localPort, remoteAddress, remotePort }: Socket): string {
  return `${localAddress} ${localPort} ${remoteAddress} ${remotePort}`;
}

interface Identity {
  options: SecureContextOptions;
  /** Host names that the certificate is for. */
  names: readonly string[];
}

/** @throws {ConfigError} where a file can't be used */
function contextsOf(
  certificates: readonly string[],
  keys: readonly string[],
  clientCa: string | undefined,
  log: Logger,
): Identity[] {
  const ca = clientCa === undefined ? undefined : fileOf(clientCa);
  return certificates.map((path, index) => {
    const options: SecureContextOptions = {
      cert: fileOf(path),
      key: fileOf(keys[index]!),
      ...(ca && { ca }),
      minVersion: 'TLSv1.2',
      ciphers: CIPHERS,
      honorCipherOrder: false,
    };
    try {
      createSecureContext(options);
      const { validTo, subjectAltName = '' } = new X509Certificate(options.cert as Buffer);
      const daysLeft = (Date.parse(validTo) - Date.now()) / DAY_MS;
      if (daysLeft < ENDS_SOON_DAYS)
        log.warn({ file: path, validTo }, 'the certificate ends soon, or has ended');
      return { options, names: [...subjectAltName.matchAll(/DNS:([^,\s]+)/g)].map(([, name]) => name!) };
    } catch (error) {
      const why = (error as Error).message;
      throw new ConfigError(`${path} with ${keys[index]}: ${why}; give a PEM certificate and its key`, {
        cause: error,
      });
    }
  });
}

function fileOf(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new ConfigError(`TLS: ${(error as Error).message}`, { cause: error });
  }
}
