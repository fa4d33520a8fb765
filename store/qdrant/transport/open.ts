import { checkWhole, type QdrantConfig, readCertificates } from '../config.ts';
import { parseAddresses } from './node.ts';
import { Transport } from './transport.ts';

/** Addresses of this machine. */
const LOOPBACK = /^(localhost|127\..*|\[::1\])$/;

/**
 * The way to the server that a configuration names. Sends nothing yet.
 *
 * @throws {StoreError} `STORE_INVALID_ARGUMENT`, naming the setting, if the configuration cannot be used
 */
export function openTransport(config: QdrantConfig, log?: { warn(message: string): void }): Transport {
  const { url, apiKey, ca, timeoutMs = 30_000, connections = 32, hedgeMs } = config;
  checkWhole('timeoutMs', timeoutMs, 1);
  checkWhole('connections', connections, 1);
  checkWhole('hedgeMs', hedgeMs, 1);
  const addresses = parseAddresses(url);
  const open = addresses.find(({ protocol, hostname }) => protocol === 'http:' && !LOOPBACK.test(hostname));
  if (apiKey !== undefined && open) {
    log?.warn(`the Qdrant API key goes to ${open.host} unencrypted; use https where others can listen`);
  }
  const pem = readCertificates(ca);
  return new Transport({ addresses, apiKey, ca: pem, timeoutMs, connections, hedgeMs });
}
