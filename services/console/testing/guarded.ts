import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { hashOf, makeKey } from '../../../keys/key.ts';
import { changeKeyFile } from '../../../keys/key-file.ts';
import { v1 } from '../../../proto/load.ts';
import { openAccess } from '../../runtime/access/open.ts';
import { Settings } from '../../runtime/config.ts';
import { service, startServer } from '../../runtime/server.ts';
import { NOTHING } from '../../runtime/testing/harness.ts';
import { openIssuer, type Issuer } from '../login/issuer.ts';
import { CLIENT, OpenIdProvider } from './openid-provider.ts';

/** A query service in this process that asks for a key, or for a token of a provider of OpenID Connect. */
export interface Guarded {
  provider: OpenIdProvider;
  address: string;
  /** A key with the scopes search and encode. */
  key: string;
  /** An issuer of a console by the settings that lead to the provider, and these. */
  issuer(settings?: object, isTls?: boolean): Issuer;
  stop(): Promise<void>;
}

const log = pino({ level: 'silent' });

export async function startGuarded(): Promise<Guarded> {
  const folder = mkdtempSync(join(tmpdir(), 'scalingnote-guarded-'));
  const provider = await OpenIdProvider.start();
  const { id, text } = makeKey();
  const keys = join(folder, 'keys.json');
  await changeKeyFile(keys, () => [
    {
      id,
      name: '',
      sha256: hashOf(text).toString('hex'),
      scopes: ['search', 'encode'],
      tenants: ['*'],
      collections: ['*'],
      createdAt: new Date().toISOString(),
    },
  ]);
  const { address, issuer } = provider;
  const settings = { keys, jwtIssuer: address, jwtAudience: issuer.audience, jwtJwks: `${address}/jwks` };
  const open = openAccess(Settings.parse(settings), log);
  const handlers = {
    ...NOTHING,
    Describe: () => Promise.resolve({}),
    Search: () => Promise.resolve({ hits: [] }),
    Encode: () => Promise.resolve({ embeddings: [{ values: [1, 0] }], queryTower: {} }),
  };
  const server = await startServer({
    host: '127.0.0.1',
    port: 0,
    portSetting: '--port',
    services: [service(v1.QueryService.service, handlers as never)],
    maxReceiveBytes: 1024 * 1024,
    log,
    access: open.access,
  });
  server.setServing(true);
  return {
    provider,
    address: server.address,
    key: text,
    issuer: (more = {}, isTls = false) => {
      const own = { oidcIssuer: address, oidcClientId: CLIENT.id, oidcClientSecret: CLIENT.secret };
      return openIssuer(Settings.parse({ ...own, ...more }), isTls, log)!;
    },
    stop: async () => {
      await server.shutdown(0);
      open.close();
      provider.stop();
      rmSync(folder, { recursive: true });
    },
  };
}
