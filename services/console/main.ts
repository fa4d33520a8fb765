import { OIDC_SETTINGS } from '../runtime/access/oidc-settings.ts';
import { Settings, namesOf } from '../runtime/config.ts';
import { isLoopback } from '../runtime/listen-address.ts';
import { runService } from '../runtime/run-service.ts';
import { ConfigError } from '../runtime/setting-types.ts';
import { openTls } from '../runtime/tls/tls.ts';
import { Desk } from './desk.ts';
import { pageRoutes } from './http/files.ts';
import { startHttpServer } from './http/server.ts';
import { ingestRoutes } from './ingest/routes.ts';
import { openIssuer } from './login/issuer.ts';
import { loginRoutes } from './login/routes.ts';
import { Sessions } from './login/sessions.ts';
import { measureRoutes } from './measures.ts';
import { searchRoutes } from './search/routes.ts';
import { systemRoutes } from './system.ts';
import { traceRoutes } from './traces/routes.ts';
import { TraceStore } from './traces/store.ts';

const OIDC = Object.fromEntries(OIDC_SETTINGS.map((name) => [name, true])) as Record<
  (typeof OIDC_SETTINGS)[number],
  true
>;

const ConsoleSettings = Settings.pick({
  host: true,
  portConsole: true,
  documentAddress: true,
  queryAddress: true,
  compareAddresses: true,
  documentMetrics: true,
  queryMetrics: true,
  consoleHosts: true,
  consoleTraces: true,
  consoleMemory: true,
  drainMs: true,
  logLevel: true,
  consoleLogin: true,
  anonymous: true,
  plaintext: true,
  tlsCert: true,
  tlsKey: true,
  tlsClientCa: true,
  ...OIDC,
});

const MIB = 1024 * 1024;

await runService('console', ConsoleSettings, async (config, log) => {
  if (config.anonymous && config.consoleLogin) {
    throw new ConfigError('--anonymous does not go with --login; drop one of them');
  }
  if (config.anonymous && config.oidcIssuer !== undefined) {
    throw new ConfigError('--anonymous does not go with --oidc-issuer; drop one of them');
  }
  const isFar = !isLoopback(config.host);
  const tls = openTls(config, [config.host], ['http/1.1'], log);
  const issuer = openIssuer(config, tls !== undefined, log);
  const asks = config.consoleLogin || issuer !== undefined || (isFar && !config.anonymous);
  if (isFar && !asks)
    log.warn({ host: config.host }, '--anonymous: whoever reaches this address may use the console');
  const addresses = {
    document: config.documentAddress,
    queries: [config.queryAddress, ...config.compareAddresses],
  };
  const metrics = { document: config.documentMetrics, query: config.queryMetrics };
  const isTls = issuer?.isTls ?? tls !== undefined;
  const sessions = asks ? new Sessions(addresses, Object.values(metrics), isTls) : undefined;
  const own = asks ? undefined : new Desk(addresses);
  const deskOf = sessions ? sessions.deskOf : (): Desk => own!;
  const traces = new TraceStore({
    maxTraces: config.consoleTraces,
    maxBytes: config.consoleMemory * MIB,
  });
  const server = await startHttpServer({
    host: config.host,
    port: config.portConsole,
    portSetting: namesOf('portConsole'),
    names: config.consoleHosts,
    routes: [
      loginRoutes(sessions, addresses, issuer),
      searchRoutes(deskOf),
      ingestRoutes(deskOf),
      systemRoutes(deskOf),
      measureRoutes(metrics, deskOf),
      traceRoutes(traces),
      pageRoutes(),
    ],
    log,
    tls,
  });
  return {
    address: server.address,
    stop: async () => {
      await Promise.all([own?.close(), sessions?.close(), server.shutdown(config.drainMs)]);
      await issuer?.close();
      tls?.close();
    },
  };
});
