import { openStore } from '../../store/open.ts';
import { openTower } from '../../towers/open.ts';
import { namesOf, Settings } from '../runtime/config.ts';
import { monitorHealth } from '../runtime/health.ts';
import { runService } from '../runtime/process.ts';
import { startServer } from '../runtime/server.ts';
import { MAX_RECEIVE_BYTES, queryService } from './service.ts';

const QuerySettings = Settings.pick({
  host: true,
  portQuery: true,
  data: true,
  queryTower: true,
  device: true,
  threads: true,
  querySlots: true,
  queryQueue: true,
  queryCache: true,
  drainMs: true,
  logLevel: true,
});

await runService('query', QuerySettings, async (config, log) => {
  const [tower, store] = await Promise.all([
    openTower(config.queryTower, {
      device: config.device,
      log: (message) => log.info(message),
      ...(config.threads === 0 ? {} : { threads: config.threads }),
    }),
    openStore({ kind: 'embedded', directory: config.data }, { log }),
  ]);
  const server = await startServer({
    host: config.host,
    port: config.portQuery,
    portSetting: namesOf('portQuery'),
    services: [
      queryService({
        tower,
        store,
        slots: config.querySlots,
        queue: config.queryQueue,
        cache: config.queryCache,
        log,
      }),
    ],
    maxReceiveBytes: MAX_RECEIVE_BYTES,
    log,
  });
  const health = monitorHealth({
    check: (options) => store.check(options),
    setServing: server.setServing,
    log,
  });
  await health.probe();
  return {
    address: server.address,
    stop: async () => {
      health.stop();
      await server.shutdown(config.drainMs);
      await Promise.all([tower.close(), store.close()]);
    },
  };
});
