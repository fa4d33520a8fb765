import type { Logger } from 'pino';
import type { Store } from '../../store/store.ts';
import { openTower } from '../../towers/open.ts';
import { openReranker, type Reranker } from '../../towers/reranker/reranker.ts';
import type { Tower } from '../../towers/tower.ts';
import type { Config } from '../runtime/config.ts';
import type { Metrics } from '../runtime/telemetry/metrics.ts';
import { runTowerService } from '../runtime/tower-service.ts';
import { LiveQuality } from './live-quality.ts';
import { MAX_RECEIVE_BYTES, queryService } from './service.ts';
import { towerFiles } from './tower-files.ts';

await runTowerService({
  name: 'query',
  port: 'portQuery',
  metricsPort: 'metricsPortQuery',
  livenessPort: 'livenessPortQuery',
  processes: 'queryProcesses',
  tower: 'queryTower',
  access: 'reads',
  settings: [
    'querySlots',
    'queryQueue',
    'queryCache',
    'defaultCollection',
    'fusion',
    'reranker',
    'serveTower',
    'liveShare',
    'liveTower',
    'maxTokensSpent',
    'remoteCa',
    'remoteClientCert',
    'remoteClientKey',
  ],
  maxReceiveBytes: MAX_RECEIVE_BYTES,
  routes: async (tower, { serveTower }) => (serveTower ? [await towerFiles(tower)] : []),
  serve: async ({ tower, store, config, log, telemetry, describe, quotas }) => {
    await store.prepare(tower.manifest.space.fingerprint);
    return queryService({
      tower,
      store,
      // Counting the words of a remote store's documents takes it a while; its searches ask when they need them.
      ...(store.kind === 'embedded' && { warmFrom: store }),
      slots: config.querySlots,
      queue: config.queryQueue,
      cache: config.queryCache,
      defaultCollection: config.defaultCollection,
      fusion: config.fusion,
      reranker: await rerankerOf(config, log),
      log,
      telemetry,
      describe,
      quotas,
      live: liveQuality({ tower, store, log, metrics: telemetry?.metrics }, config),
    });
  },
});

function rerankerOf(
  {
    reranker,
    remoteCa: ca,
    remoteClientCert: cert,
    remoteClientKey: key,
  }: Config<'reranker' | 'remoteCa' | 'remoteClientCert' | 'remoteClientKey'>,
  log: Logger,
): Promise<Reranker> | undefined {
  if (reranker === '') return undefined;
  return openReranker(reranker, { log: (message) => log.info(message), tls: { ca, cert, key } });
}

/** Off by default: it needs a teacher, which may have to be fetched, and part of a core. */
function liveQuality(
  parts: { tower: Tower; store: Store; log: Logger; metrics: Metrics | undefined },
  {
    liveShare: share,
    liveTower,
    maxTokensSpent,
    remoteCa: ca,
    remoteClientCert: cert,
    remoteClientKey: key,
  }: Config<
    'liveShare' | 'liveTower' | 'maxTokensSpent' | 'remoteCa' | 'remoteClientCert' | 'remoteClientKey'
  >,
): LiveQuality | undefined {
  const { tower, store, log, metrics } = parts;
  const reference = liveTower || tower.manifest.distillation?.teacher;
  if (share === 0 || !metrics || reference === undefined) return undefined;
  // One thread, of its own: searches go first.
  const teacher = openTower(reference, {
    threads: 1,
    inline: false,
    log: (message) => log.info(message),
    remote: { maxTokensSpent: maxTokensSpent || undefined, tls: { ca, cert, key } },
  });
  return new LiveQuality(tower, teacher, { store, metrics, log, share });
}
