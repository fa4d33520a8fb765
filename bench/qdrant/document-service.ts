import { readFileSync } from 'node:fs';
import { IngestPipeline } from '../../services/document/ingest/pipeline.ts';
import type { IngestTower } from '../../services/document/ingest/encoder.ts';
import { documentService, MAX_RECEIVE_BYTES } from '../../services/document/service.ts';
import { settingsOf, type Config } from '../../services/runtime/config.ts';
import { runService } from '../../services/runtime/run-service.ts';
import { startServer } from '../../services/runtime/server.ts';
import { STORE_SETTINGS, storeConfig } from '../../services/runtime/store-settings.ts';
import { openStore } from '../../store/open.ts';
import type { TowerManifest } from '../../towers/manifest.ts';

/** The file of the vectors that replace the encoder's work, and their space. */
interface Prepared {
  vectors: string;
  manifest: TowerManifest;
}

// The document service with another tower: each document is one passage and gets a vector that was made
// before.
const { vectors, manifest } = JSON.parse(process.env['BENCH_PREPARED'] ?? '{}') as Prepared;
const bytes = readFileSync(vectors);
const table = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
const { dimensions } = manifest;
let row = 0;
const tower: IngestTower = {
  manifest,
  async *eachPassage({ text }) {
    yield { text, span: { start: 0, end: text.length }, tokens: { ids: [], truncated: false } };
  },
  recut: (document) => tower.eachPassage(document),
  encode: async () => {
    const vector = table.subarray(row * dimensions, (row + 1) * dimensions);
    row = (row + 1) % (table.length / dimensions);
    const batch = { startedAt: performance.now(), size: 1, tokens: 0, paddingRatio: 0, encodeMs: 0 };
    return { vector, queueMs: 0, encodeMs: 0, batch };
  },
};

await runService('document', settingsOf([...STORE_SETTINGS.writes, 'logLevel']), async (config, log) => {
  const store = await openStore(storeConfig(config as Config), { log });
  const pipeline = new IngestPipeline({ store, tower, log }, { budgetTokens: 262_144, maxStreams: 32 });
  const server = await startServer({
    host: '127.0.0.1',
    port: 0,
    portSetting: 'a free one',
    services: [documentService({ store, pipeline, describe: () => ({ store: store.kind }) })],
    maxReceiveBytes: MAX_RECEIVE_BYTES,
    log,
  });
  return {
    address: server.address,
    stop: async () => {
      await server.shutdown(1000);
      await store.close();
    },
  };
});
