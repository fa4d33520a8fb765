import { checkWhole, type QdrantConfig, qdrantIdentity } from '../config.ts';
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
  const { url, timeoutMs = 30_000, connections = 32, hedgeMs } = config;
  checkWhole('timeoutMs', timeoutMs, 1);
  checkWhole('connections', connections, 1);
  checkWhole('hedgeMs', hedgeMs, 1);
  const addresses = parseAddresses(url);
  const open = addresses.find(({ protocol, hostname }) => protocol === 'http:' && !LOOPBACK.test(hostname));
  const { apiKey, tls } = qdrantIdentity(config);
  if (apiKey && open) {
    log?.warn(`the Qdrant API key goes to ${open.host} unencrypted; use https where others can listen`);
  }
  return new Transport({ addresses, apiKey, tls, timeoutMs, connections, hedgeMs });
}
