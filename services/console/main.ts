import { namesOf, Settings } from '../runtime/config.ts';
import { runService } from '../runtime/process.ts';
import { startHttp } from './http.ts';
import { traceRoutes } from './traces/routes.ts';
import { TraceStore } from './traces/store.ts';

const ConsoleSettings = Settings.pick({
  host: true,
  portConsole: true,
  consoleTraces: true,
  consoleMemory: true,
  logLevel: true,
});

const MIB = 1024 * 1024;

await runService('console', ConsoleSettings, async (config, log) => {
  const traces = new TraceStore({
    maxTraces: config.consoleTraces,
    maxBytes: config.consoleMemory * MIB,
  });
  const server = await startHttp({
    host: config.host,
    port: config.portConsole,
    portSetting: namesOf('portConsole'),
    routes: traceRoutes(traces),
    log,
  });
  return { address: server.address, stop: () => server.close() };
});
