import type { TlsFiles } from '../../calls/outgoing-tls.ts';
import { remoteIdentity } from './key.ts';
import { OpenAiWire } from './openai.ts';
import type { RemoteRuntime } from './runtime.ts';
import { TeiWire } from './tei.ts';
import { Transport } from './transport.ts';
import type { Wire } from './wire.ts';

/**
 * How to talk to a server.
 *
 * @param tls - files. @default those that the environment names
 * @throws {TowerError} where its key or a file can't be read
 */
export function wireOf({
  protocol,
  url,
  model,
  dimensions,
  keyEnv,
  tls,
}: Pick<RemoteRuntime, 'protocol' | 'url' | 'model'> & {
  dimensions?: number | undefined;
  keyEnv?: string | undefined;
  tls?: TlsFiles | undefined;
}): Wire {
  const identity = remoteIdentity(keyEnv, tls);
  switch (protocol) {
    case 'openai':
      return new OpenAiWire(new Transport(url, identity), { url, model, dimensions });
    case 'tei':
      return new TeiWire(url, { ...identity, dimensions });
  }
}
