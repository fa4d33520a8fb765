import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { OutgoingTls } from '../../calls/outgoing-tls.ts';
import { openStore } from '../../store/open.ts';
import type { Store } from '../../store/store.ts';
import { readGolden } from '../../towers/golden/golden.ts';
import { openTower } from '../../towers/open.ts';
import type { Tower } from '../../towers/tower.ts';
import type { ServiceInfo } from '../../proto/generated/scalingnote/v1/ServiceInfo.ts';
import { admit } from './admission/admit.ts';
import { namesOf, settingsOf, type Config, type SettingName } from './config.ts';
import { ACCESS_SETTINGS } from './access/access-settings.ts';
import { openAccess } from './access/open.ts';
import { requireOwnHost } from './access/own-host.ts';
import { DriftGuard, REMOTE_CHECK_S } from './drift/guard.ts';
import { isLoopback } from './listen-address.ts';
import type { AddRoutes } from './listener/routes.ts';
import { packageVersion, serviceInfo } from './service-info.ts';
import { startFleetService } from './fleet/fleet-service.ts';
import { ownSeat } from './fleet/seat.ts';
import { ownShares } from './fleet/shares.ts';
import { HEALTH_INTERVAL_MS, monitorHealth } from './health.ts';
import { startLiveness } from './liveness/liveness.ts';
import { runService } from './run-service.ts';
import { startServer, type RunningServer, type Service } from './server.ts';
import { STORE_SETTINGS, storeConfig } from './store-settings.ts';
import { outgoingTls } from './tls/outgoing.ts';
import { openTls } from './tls/tls.ts';
import { Quotas } from './tenants/quotas.ts';
import { measuredStore } from './telemetry/measured-store.ts';
import { startTelemetry, type Telemetry } from './telemetry/telemetry.ts';
import { measureTower, type Metrics } from './telemetry/metrics.ts';
import { remoteWatch } from './telemetry/remote-calls.ts';
import { watchedStore } from './wrapped-store.ts';

/** Whose health says whether documents are taken: they are not while the tower has drifted. */
const INGEST = 'scalingnote.v1.DocumentService/Ingest';

/** Settings of every service that has a tower and the store. */
const SHARED = [
  'host',
  'corsOrigins',
  'device',
  'threads',
  'metricsHost',
  'livenessHost',
  'livenessMs',
  'slowMs',
  'drainMs',
  'lameDuckMs',
  'connectionIdleS',
  'connectionAgeS',
  'consoleAddress',
  'consoleCa',
  'consoleClientCert',
  'consoleClientKey',
  'logLevel',
  'maxTokensSpent',
  'tenantQuotas',
  'remoteCa',
  'remoteClientCert',
  'remoteClientKey',
  ...ACCESS_SETTINGS,
] as const;

/** A service of one tower and the store. */
export interface TowerService<Own extends SettingName> {
  name: string;
  /** Which setting has the port, which that of the metrics, and which names the tower. */
  port: 'portDocument' | 'portQuery';
  metricsPort: 'metricsPortDocument' | 'metricsPortQuery';
  livenessPort: 'livenessPortDocument' | 'livenessPortQuery';
  /** Which setting has the number of its processes. @default it is one */
  processes?: 'queryProcesses';
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
    /** What the service is at this moment. */
    describe: () => ServiceInfo;
    /** Where documents are encoded: refuses writes while the tower does not encode as it did. */
    drift: DriftGuard | undefined;
    /** How much each tenant may have and do. */
    quotas: Quotas;
  }): Service | Promise<Service>;
  /** What it serves over HTTP besides. @default nothing */
  routes?(tower: Tower, config: Config<Own>): Promise<AddRoutes[]>;
}

/** Runs a service of one tower and the store as a process. It serves only while the store answers. */
export async function runTowerService<Own extends SettingName>(service: TowerService<Own>): Promise<void> {
  const schema = settingsOf([
    ...SHARED,
    service.port,
    service.metricsPort,
    service.livenessPort,
    service.tower,
    ...(service.processes ? [service.processes] : []),
    ...STORE_SETTINGS[service.access],
    ...service.settings,
  ]);
  await runService(service.name, schema, async (values, log, phases) => {
    const seat = ownSeat();
    const whole = values as Config;
    const processes = service.processes ? whole[service.processes] : 1;
    if (processes > 1 && !seat) {
      const fleet = {
        name: service.name,
        processes,
        port: whole[service.port],
        portSetting: namesOf(service.port),
        metricsPort: whole[service.metricsPort],
        metricsPortSetting: namesOf(service.metricsPort),
        livenessPort: whole[service.livenessPort],
        livenessPortSetting: namesOf(service.livenessPort),
      };
      return startFleetService(fleet, whole, log, phases);
    }
    const config = seat ? ownShares(whole, seat) : whole;
    // What all processes of a service would say, one of them says.
    const openLog = seat?.isFirst === false ? log.child({}, { level: 'error' }) : log;
    const access = openAccess(
      config,
      openLog,
      undefined,
      config.auditLog === undefined ? undefined : seat?.audit(),
    );
    const quotas = new Quotas(config.tenantQuotas, openLog);
    seat?.share(quotas);
    const hosts = [config.host, config.metricsHost];
    const tls = openTls(config, hosts, ['h2', 'http/1.1'], openLog);
    const metricsTls = seat
      ? undefined
      : openTls(
          { ...config, plaintext: tls === undefined },
          hosts,
          ['http/1.1'],
          log.child({}, { level: 'error' }),
        );
    const livenessPort = seat ? undefined : config[service.livenessPort];
    const liveness =
      livenessPort === undefined
        ? undefined
        : await startLiveness({
            host: config.livenessHost,
            port: livenessPort,
            portSetting: namesOf(service.livenessPort),
            blockedMs: config.livenessMs,
            log,
          });
    const telemetry = await startTelemetry(
      {
        name: `scalingnote-${service.name}`,
        version: packageVersion,
        consoleAddress: config.consoleAddress,
        consoleTls: consoleTlsOf(config),
        metricsHost: config.metricsHost,
        metricsPort: seat ? undefined : config[service.metricsPort],
        metricsPortSetting: namesOf(service.metricsPort),
        slowMs: config.slowMs,
        access: access.access,
        tls: metricsTls,
      },
      process.env,
      log,
    );
    phases.end('settings');
    const towerOptions = {
      device: config.device,
      log: (message: string) => log.info(message),
      ...(config.threads === 0 ? {} : { threads: config.threads }),
      // A service without the setting answers single queries, and each is soonest done on all threads.
      ...(service.access === 'writes' && { sessions: config.sessions || ('measured' as const) }),
      remote: {
        maxTokensSpent: config.maxTokensSpent || undefined,
        watch: remoteWatch(telemetry?.tracer),
        tls: { ca: config.remoteCa, cert: config.remoteClientCert, key: config.remoteClientKey },
      },
    };
    const [tower, opened] = await Promise.all([
      phases.of('tower', openTower(config[service.tower], towerOptions)),
      phases.of('store', openStore(storeConfig(config), { log })),
    ]);
    phases.end('tower and store');
    const metrics = telemetry?.metrics;
    if (metrics) {
      measureTower(tower, metrics);
      access.measure(metrics);
      quotas.measure(metrics);
      seat?.measure(metrics);
    }
    let server: RunningServer | undefined;
    let serving = false;
    const health = monitorHealth({
      check: async (options) => {
        await store.probe(options);
        await tower.probe?.(options);
      },
      setServing: (now) => {
        server?.setServing((serving = now));
        liveness?.setReady(serving ? undefined : health.reason);
        seat?.setServing(serving ? undefined : health.reason);
      },
      log,
    });
    const store = watchedStore(metrics ? measuredStore(opened, metrics) : opened, health);
    const drift = service.access === 'writes' ? await guardOf(tower, config, log, metrics) : undefined;
    const describe = (): ServiceInfo => ({
      ...serviceInfo(tower, store, health.reason),
      writesRefusedReason: drift?.refusal ?? '',
    });
    const made = await service.serve({ tower, store, config, log, telemetry, describe, drift, quotas });
    phases.end('prepared');
    const admission = admit(made, service, config, telemetry);
    server = await startServer({
      host: config.host,
      port: config[service.port],
      portSetting: namesOf(service.port),
      openDoor: seat?.openDoor,
      services: [made],
      hooks: {
        beforeCall: admission.beforeCall,
        onSession: admission.onSession,
        onRefusal: admission.onRefusal,
        onConnection: (socket) => {
          const counted = admission.onConnection(socket);
          return counted && tls ? tls.wrap(counted) : counted;
        },
      },
      maxReceiveBytes: service.maxReceiveBytes,
      corsOrigins: config.corsOrigins,
      checkHost:
        isLoopback(config.host) && !access.access.asks
          ? (host) => requireOwnHost(host, config.corsOrigins)
          : undefined,
      routes: await service.routes?.(tower, config),
      log,
      telemetry,
      access: access.access,
    });
    metrics?.observe('scalingnote.serving', '{service}', 'Whether the service serves: 1 or 0', () =>
      Number(serving),
    );
    const shown = (): void => server?.setPartServing(INGEST, drift?.refusal === '');
    if (drift) {
      shown();
      drift.onCheck(shown);
      drift.start();
    }
    await health.probe();
    const stopping = new AbortController();
    if (service.access === 'reads') {
      // Of a store that can't, the health check and the calls tell.
      made.warm?.(stopping.signal).catch(() => {});
      void keepPrepared(store, tower.manifest.space.fingerprint, stopping.signal);
    }
    return {
      address: server.address,
      metricsAddress: telemetry?.metricsAddress,
      livenessAddress: liveness?.address,
      stop: async () => {
        health.stop();
        drift?.stop();
        stopping.abort();
        server.setServing((serving = false));
        liveness?.setReady(health.reason);
        seat?.setServing(health.reason);
        if (seat) await seat.released();
        else if (config.lameDuckMs > 0) await sleep(config.lameDuckMs);
        await server.shutdown(config.drainMs);
        admission.close();
        await Promise.all([tower.close(), store.close()]);
        seat?.close();
        await telemetry?.close();
        await liveness?.close();
        access.close();
        quotas.close();
        tls?.close();
        metricsTls?.close();
      },
    };
  });
}

/** What the console is reached with; `undefined` for plain text. @throws {ConfigError} where a file can't be used */
function consoleTlsOf({
  consoleCa: ca,
  consoleClientCert: cert,
  consoleClientKey: key,
}: Config): OutgoingTls | undefined {
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  const names = { ca: '--console-ca', cert: '--console-client-cert', key: '--console-client-key' };
  return outgoingTls({ ca, cert, key }, names);
}

/** @throws {TowerError} for golden vectors that can't be read */
async function guardOf(
  tower: Tower,
  { driftCheckS }: Pick<Config, 'driftCheckS'>,
  log: Logger,
  metrics: Metrics | undefined,
): Promise<DriftGuard> {
  const runsElsewhere = tower.manifest.space.golden !== undefined;
  const intervalMs = 1000 * (driftCheckS ?? (runsElsewhere ? REMOTE_CHECK_S : 0));
  return new DriftGuard({ tower, golden: await readGolden(tower), intervalMs, log, metrics });
}

/**
 * Brings terms, and what was written, into memory, so that no search waits for it. With much of it that takes its time, during
 * which the service serves.
 */
async function keepPrepared(store: Store, space: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    // Of a store that can't, the health check and the searches tell.
    await store.prepare(space, { signal, fully: true }).catch(() => {});
    await sleep(HEALTH_INTERVAL_MS, undefined, { signal, ref: false }).catch(() => {});
  }
}
