import { runTowerService } from '../runtime/tower-service.ts';
import { IngestPipeline } from './ingest/pipeline.ts';
import { documentService, MAX_RECEIVE_BYTES } from './service.ts';

await runTowerService({
  name: 'document',
  port: 'portDocument',
  metricsPort: 'metricsPortDocument',
  livenessPort: 'livenessPortDocument',
  tower: 'documentTower',
  access: 'writes',
  settings: ['ingestTokens', 'ingestStreams', 'ingestIdleMs', 'driftCheckS'],
  maxReceiveBytes: MAX_RECEIVE_BYTES,
  serve: ({ tower, store, config, log, telemetry, describe, drift }) => {
    const pipeline = new IngestPipeline(
      { store, tower, log, telemetry, drift },
      { budgetTokens: config.ingestTokens, maxStreams: config.ingestStreams, idleMs: config.ingestIdleMs },
    );
    return documentService({ store, pipeline, describe });
  },
});
