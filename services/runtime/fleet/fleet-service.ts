import type { Logger } from 'pino';
import { openAuditLog } from '../access/audit-file.ts';
import { openAccess } from '../access/open.ts';
import type { Config } from '../config.ts';
import { type Liveness, startLiveness } from '../liveness/liveness.ts';
import type { RunningService } from '../run-service.ts';
import { packageVersion } from '../service-info.ts';
import type { StartPhases } from '../start-phases.ts';
import { Instruments } from '../telemetry/instruments.ts';
import { measureProcess } from '../telemetry/process-metrics.ts';
import { startMetricsEndpoint } from '../telemetry/telemetry.ts';
import { openTls } from '../tls/tls.ts';
import { Fleet } from './fleet.ts';
import { requireShares } from './shares.ts';

/** What the service is called, and where. */
export interface FleetService {
  name: string;
  processes: number;
  port: number;
  portSetting: string;
  metricsPort: number;
  metricsPortSetting: string;
  livenessPort: number | undefined;
  livenessPortSetting: string;
}

/**
 * Runs a service as several processes: this one has the ports of the service, its metrics and its liveness, and writes its
 * audit log; the others are started from the same file with the same flags.
 *
 * @throws {ConfigError} where the settings can't be shared by so many processes, or can't be used
 */
export async function startFleetService(
  service: FleetService,
  config: Config,
  log: Logger,
  phases: StartPhases,
): Promise<RunningService> {
  const { processes, name } = service;
  requireShares(config, processes);
  // The processes say the rest, when they open the same.
  const errors = log.child({}, { level: 'error' });
  const audit = openAuditLog(config, log);
  const access = openAccess(config, errors, undefined, audit);
  const tls = openTls(config, [config.host, config.metricsHost], ['http/1.1'], errors);
  const instruments = new Instruments();
  const stopMeasuring = measureProcess(instruments);
  let liveness: Liveness | undefined;
  const setServing = (reason: string | undefined): void => liveness?.setReady(reason);
  const fleet = await Fleet.start({
    ...config,
    processes,
    port: service.port,
    portSetting: service.portSetting,
    log,
    onAudit: (lines) => {
      for (const line of lines) audit?.append(line);
    },
    onServing: setServing,
  });
  phases.end('processes');
  if (audit) {
    instruments.observeTotal(
      'scalingnote.audit.lost',
      '{line}',
      'Lines of the audit log that could not be written',
      () => audit.lost,
    );
  }
  instruments.observe(
    'scalingnote.processes',
    '{process}',
    'Processes of the service that take connections',
    () => fleet.counts.running,
  );
  instruments.observeTotal(
    'scalingnote.processes.died',
    '{process}',
    'Processes of the service that ended while it ran',
    () => fleet.counts.died,
  );
  const endpoint = await startMetricsEndpoint(
    {
      name: `scalingnote-${name}`,
      version: packageVersion,
      metricsHost: config.metricsHost,
      metricsPort: service.metricsPort,
      metricsPortSetting: service.metricsPortSetting,
      access: access.access,
      tls,
    },
    process.env,
    { collect: () => fleet.measure(instruments.all), log },
  );
  if (service.livenessPort !== undefined) {
    liveness = await startLiveness({
      host: config.livenessHost,
      port: service.livenessPort,
      portSetting: service.livenessPortSetting,
      blockedMs: config.livenessMs,
      turns: fleet.turns,
      log,
    });
    setServing(fleet.notServing);
  }
  return {
    address: fleet.address,
    metricsAddress: endpoint?.address,
    livenessAddress: liveness?.address,
    stop: async () => {
      await fleet.stop();
      stopMeasuring();
      await endpoint?.close();
      await liveness?.close();
      access.close();
      tls?.close();
    },
  };
}
