import { openStore } from '../../store/open.ts';
import { openTower } from '../../towers/open.ts';
import { namesOf, Settings } from '../runtime/config.ts';
import { serviceInfo } from '../runtime/describe.ts';
import { monitorHealth } from '../runtime/health.ts';
import { runService } from '../runtime/process.ts';
import { startServer } from '../runtime/server.ts';
import { IngestPipeline } from './ingest/pipeline.ts';
import { documentService, MAX_RECEIVE_BYTES } from './service.ts';

const DocumentSettings = Settings.pick({
  host: true,
  portDocument: true,
  data: true,
  documentTower: true,
  device: true,
  threads: true,
  ingestTokens: true,
  ingestStreams: true,
  drainMs: true,
  logLevel: true,
});

await runService('document', DocumentSettings, async (config, log) => {
  const [tower, store] = await Promise.all([
    openTower(config.documentTower, {
      device: config.device,
      log: (message) => log.info(message),
      ...(config.threads === 0 ? {} : { threads: config.threads }),
    }),
    openStore({ kind: 'embedded', directory: config.data }, { log }),
  ]);
  const pipeline = new IngestPipeline(
    { store, tower, log },
    { budgetTokens: config.ingestTokens, maxStreams: config.ingestStreams },
  );
  const server = await startServer({
    host: config.host,
    port: config.portDocument,
    portSetting: namesOf('portDocument'),
    services: [documentService({ store, pipeline, describe: () => serviceInfo(tower, store) })],
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
