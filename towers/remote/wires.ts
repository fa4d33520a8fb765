import { readKey } from './key.ts';
import { OpenAiWire } from './openai.ts';
import type { RemoteRuntime } from './runtime.ts';
import { TeiWire } from './tei.ts';
import { Transport } from './transport.ts';
import type { Wire } from './wire.ts';

/** How to talk to a server. @throws {TowerError} where its key can't be read */
export function wireOf({
  protocol,
  url,
  model,
  dimensions,
  keyEnv,
}: Pick<RemoteRuntime, 'protocol' | 'url' | 'model'> & {
  dimensions?: number | undefined;
  keyEnv?: string | undefined;
}): Wire {
  const key = readKey(keyEnv);
  switch (protocol) {
    case 'openai':
      return new OpenAiWire(new Transport(url, key), { url, model, dimensions });
    case 'tei':
      return new TeiWire(url, { key, dimensions });
  }
}
