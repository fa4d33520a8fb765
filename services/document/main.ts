import { runTowerService } from '../runtime/tower-service.ts';
import { StorageQuotas } from '../runtime/tenants/storage.ts';
import { IngestPipeline } from './ingest/pipeline.ts';
import { documentService, MAX_RECEIVE_BYTES } from './service.ts';

await runTowerService({
  name: 'document',
  port: 'portDocument',
  metricsPort: 'metricsPortDocument',
  livenessPort: 'livenessPortDocument',
  tower: 'documentTower',
  access: 'writes',
  settings: ['sessions', 'ingestTokens', 'ingestStreams', 'ingestIdleMs', 'driftCheckS'],
  maxReceiveBytes: MAX_RECEIVE_BYTES,
  serve: ({ tower, store, config, log, telemetry, describe, drift, quotas }) => {
    const storage = new StorageQuotas(store, quotas);
    const pipeline = new IngestPipeline(
      { store, tower, log, telemetry, drift, quotas, storage },
      { budgetTokens: config.ingestTokens, maxStreams: config.ingestStreams, idleMs: config.ingestIdleMs },
    );
    return documentService({ store, pipeline, describe, quotas, storage });
  },
});
