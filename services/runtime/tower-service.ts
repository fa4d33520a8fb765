import type { Logger } from 'pino';
import { openStore } from '../../store/open.ts';
import type { Store } from '../../store/store.ts';
import { openTower } from '../../towers/open.ts';
import type { Tower } from '../../towers/tower.ts';
import { namesOf, settingsOf, type Config, type SettingName } from './config.ts';
import { packageVersion } from './service-info.ts';
import { monitorHealth } from './health.ts';
import { runService } from './run-service.ts';
import { startServer, type Service } from './server.ts';
import { STORE_SETTINGS, storeConfig } from './store-settings.ts';
import { measuredStore } from './telemetry/measured-store.ts';
import { startTelemetry, type Telemetry } from './telemetry/telemetry.ts';
import { measureTower } from './telemetry/metrics.ts';

/** Settings of every service that has a tower and the store. */
const SHARED = [
  'host',
  'device',
  'threads',
  'metricsHost',
  'slowMs',
  'drainMs',
  'consoleAddress',
  'logLevel',
] as const;

/** A service of one tower and the store. */
export interface TowerService<Own extends SettingName> {
  name: string;
  /** Which setting has the port, which that of the metrics, and which names the tower. */
  port: 'portDocument' | 'portQuery';
  metricsPort: 'metricsPortDocument' | 'metricsPortQuery';
  tower: 'documentTower' | 'queryTower';
  /** What it does with the store. */
  access: keyof typeof STORE_SETTINGS;
  /** Settings that no other service has. */
  settings: readonly Own[];
  /** See `ServerOptions`. */
  maxReceiveBytes: number;
  /** Resolves when it is ready to serve. */
  serve(parts: {
    tower: Tower;
    store: Store;
    config: Config<Own>;
    log: Logger;
    telemetry: Telemetry | undefined;
  }): Service | Promise<Service>;
}

/** Runs a service of one tower and the store as a process. It serves only while the store answers. */
export async function runTowerService<Own extends SettingName>(service: TowerService<Own>): Promise<void> {
  const schema = settingsOf([
    ...SHARED,
    service.port,
    service.metricsPort,
    service.tower,
    ...STORE_SETTINGS[service.access],
    ...service.settings,
  ]);
  await runService(service.name, schema, async (values, log) => {
    const config = values as Config;
    const telemetry = await startTelemetry(
      {
        name: `scalingnote-${service.name}`,
        version: packageVersion,
        consoleAddress: config.consoleAddress,
        metricsHost: config.metricsHost,
        metricsPort: config[service.metricsPort],
        metricsPortSetting: namesOf(service.metricsPort),
        slowMs: config.slowMs,
      },
      process.env,
      log,
    );
    const [tower, opened] = await Promise.all([
      openTower(config[service.tower], {
        device: config.device,
        log: (message) => log.info(message),
        ...(config.threads === 0 ? {} : { threads: config.threads }),
      }),
      openStore(storeConfig(config), { log }),
    ]);
    const metrics = telemetry?.metrics;
    const store = metrics ? measuredStore(opened, metrics) : opened;
    if (metrics) measureTower(tower, metrics);
    const server = await startServer({
      host: config.host,
      port: config[service.port],
      portSetting: namesOf(service.port),
      services: [await service.serve({ tower, store, config, log, telemetry })],
      maxReceiveBytes: service.maxReceiveBytes,
      log,
      telemetry,
    });
    let serving = false;
    metrics?.observe('scalingnote.serving', '{service}', 'Whether the service serves: 1 or 0', () =>
      Number(serving),
    );
    const health = monitorHealth({
      check: async (options) => {
        await store.probe(options);
        // What was written since is brought into memory here, so that no search waits for it.
        if (service.access === 'reads') await store.prepare(tower.manifest.space.fingerprint, options);
      },
      setServing: (now) => server.setServing((serving = now)),
      log,
    });
    await health.probe();
    return {
      address: server.address,
      metricsAddress: telemetry?.metricsAddress,
      stop: async () => {
        health.stop();
        await server.shutdown(config.drainMs);
        await Promise.all([tower.close(), store.close()]);
        await telemetry?.close();
      },
    };
  });
}
