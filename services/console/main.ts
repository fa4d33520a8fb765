import { DocumentClient } from '../../clients/index.ts';
import { namesOf, Settings } from '../runtime/config.ts';
import { isLoopback } from '../runtime/listen-address.ts';
import { runService } from '../runtime/run-service.ts';
import { ConfigError } from '../runtime/setting-types.ts';
import { pageRoutes } from './http/files.ts';
import { startHttpServer } from './http/server.ts';
import { Ingests } from './ingest/ingests.ts';
import { ingestRoutes } from './ingest/routes.ts';
import { measureRoutes } from './measures.ts';
import { QueryServices } from './search/query-services.ts';
import { searchRoutes } from './search/routes.ts';
import { systemRoutes } from './system.ts';
import { traceRoutes } from './traces/routes.ts';
import { TraceStore } from './traces/store.ts';

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
  anonymous: true,
  plaintext: true,
});

const MIB = 1024 * 1024;

await runService('console', ConsoleSettings, async (config, log) => {
  if (!isLoopback(config.host) && !(config.anonymous && config.plaintext)) {
    throw new ConfigError(
      `--host ${config.host} is no loopback address, and the console has neither a login nor TLS; put a proxy that has ` +
        'both before it, or allow it with --anonymous and --plaintext',
    );
  }
  const address = config.documentAddress;
  const documents = { address, client: new DocumentClient({ address, attempts: 1 }) };
  const queries = new QueryServices([config.queryAddress, ...config.compareAddresses]);
  const ingests = new Ingests(documents);
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
      searchRoutes(queries),
      ingestRoutes(ingests),
      systemRoutes(documents, queries.clients),
      measureRoutes({ document: config.documentMetrics, query: config.queryMetrics }),
      traceRoutes(traces),
      pageRoutes(),
    ],
    log,
  });
  return {
    address: server.address,
    stop: async () => {
      await Promise.all([ingests.close(), server.shutdown(config.drainMs)]);
      queries.close();
      documents.client.close();
    },
  };
});
