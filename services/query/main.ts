import { runTowerService } from '../runtime/tower-service.ts';
import { MAX_RECEIVE_BYTES, queryService } from './service.ts';

await runTowerService({
  name: 'query',
  port: 'portQuery',
  metricsPort: 'metricsPortQuery',
  tower: 'queryTower',
  access: 'reads',
  settings: ['querySlots', 'queryQueue', 'queryCache'],
  maxReceiveBytes: MAX_RECEIVE_BYTES,
  serve: async ({ tower, store, config, log, telemetry }) => {
    await store.prepare(tower.manifest.space.fingerprint);
    return queryService({
      tower,
      store,
      slots: config.querySlots,
      queue: config.queryQueue,
      cache: config.queryCache,
      log,
      telemetry,
    });
  },
});
