import type { Logger } from 'pino';
import type * as z from 'zod';
import { KeyFileError } from '../../keys/key-file.ts';
import { limits } from '../../machine/limits.ts';
import { StoreError } from '../../store/errors.ts';
import { TowerError } from '../../towers/errors.ts';
import { isMember, ownSeat, type Seat } from './fleet/seat.ts';
import { helpText, loadConfig, type SettingsSchema } from './config.ts';
import { createLog, type LogLevel } from './log.ts';
import { StartError } from './server.ts';
import { StartPhases } from './start-phases.ts';
import { ConfigError } from './setting-types.ts';
import { EnvironmentError } from './telemetry/otel-environment.ts';

/** Exit code for wrong usage. */
const EXIT_USAGE = 2;

/** What a service sends to the process that started it, where there is one to talk to. */
export type ServiceReport =
  | {
      type: 'ready';
      /** `host:port` that it listens at. */
      address: string;
      pid: number;
      /** `host:port` of its metrics, where it serves any. */
      metrics?: string;
      /** `host:port` that says whether it lives, where there is one. */
      liveness?: string;
      /** How long the parts of its start took, in milliseconds. */
      startMs?: Readonly<Record<string, number>>;
    }
  | {
      type: 'failed';
      /** Why it could not start, in one line. */
      message: string;
    };

/** A service that serves. */
export interface RunningService {
  /** `host:port` that it listens at. */
  address: string;
  /** `host:port` of its metrics, where it serves any. */
  metricsAddress?: string | undefined;
  /** `host:port` that says whether it lives, where there is one. */
  livenessAddress?: string | undefined;
  /** Answers what is in flight, and releases everything. */
  stop(): Promise<void>;
}

/**
 * Runs a service as a process: reads its settings, starts it, reports that it is ready, and stops it on SIGTERM, on
 * SIGINT, and when the process that started it is gone, so that nothing is left running. A second signal ends it at
 * once.
 *
 * Exit codes: 0 after a stop, 1 where it could not start or broke, 2 where it was called wrongly.
 */
export async function runService<Schema extends SettingsSchema>(
  name: string,
  schema: Schema,
  start: (config: z.infer<Schema>, log: Logger, phases: StartPhases) => Promise<RunningService>,
): Promise<void> {
  const argv = process.argv.slice(2);
  if (argv.includes('--help')) {
    process.stdout.write(helpText(name, schema));
    return;
  }
  const phases = new StartPhases();
  phases.end('modules');
  try {
    const seat = ownSeat();
    const { config, unknownVariables } = loadConfig(schema, argv, process.env);
    const log = createLog(name, (config as { logLevel: LogLevel }).logLevel);
    if (unknownVariables.length > 0 && !seat) {
      log.warn(
        { unknownVariables },
        'these environment variables are not settings of any service; "--help" lists the settings',
      );
    }
    process.on('uncaughtException', (error) => {
      log.fatal({ err: error }, 'the service failed');
      process.exit(1);
    });
    changeLevelOnSignal(log);
    process.once('disconnect', abandon);
    // Whoever started this process may have gone before it could listen for that.
    if (process.send && !process.connected) abandon();
    const service = await start(config, log, phases);
    phases.end('listening');
    process.off('disconnect', abandon);
    stopOnSignal(service, log, seat);
    log.info({ address: service.address, limits: limits().found, startMs: phases.ms }, 'ready');
    const { address, metricsAddress, livenessAddress } = service;
    const metrics = metricsAddress === undefined ? {} : { metrics: metricsAddress };
    const liveness = livenessAddress === undefined ? {} : { liveness: livenessAddress };
    await report({ type: 'ready', address, pid: process.pid, ...metrics, ...liveness, startMs: phases.ms });
  } catch (error) {
    const message = startFailure(error);
    // Of several processes of a service, their parent says it once.
    if (!isMember()) process.stderr.write(`scalingnote ${name}: ${message}\n`);
    await report({ type: 'failed', message });
    process.exit(error instanceof ConfigError ? EXIT_USAGE : 1);
  }
}

/** Ends a process whose parent is gone before it served anything. */
function abandon(): void {
  process.exit(1);
}

/**
 * SIGUSR2 raises the log level step by step, and then resets it. So a process in trouble can be examined without a
 * restart, and only its owner can send it a signal. (SIGUSR1 is Node's own.)
 */
function changeLevelOnSignal(log: Logger): void {
  const levels = [...new Set([log.level, 'debug', 'trace'])];
  process.on('SIGUSR2', () => {
    log.level = levels[(levels.indexOf(log.level) + 1) % levels.length]!;
    log.info({ logLevel: log.level }, 'log level changed');
  });
}

function stopOnSignal(service: RunningService, log: Logger, seat: Seat | undefined): void {
  let stopping = false;
  const stop = (cause: string): void => {
    if (stopping) process.exit(1);
    stopping = true;
    log.info({ cause }, 'stopping');
    service.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log.fatal({ err: error }, 'the service failed while it stopped');
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  seat?.onStop(() => {
    if (!stopping) stop('the service stops');
  });
  process.once('disconnect', () => {
    if (!stopping) stop('the process that started this one is gone');
  });
}

/** Reports to the parent. It may have stopped listening, so errors are ignored. */
async function report(message: ServiceReport): Promise<void> {
  await new Promise<void>((resolve) => {
    if (process.send) process.send(message, undefined, undefined, () => resolve());
    else resolve();
  });
}

/** Expected errors need no stack: their message says everything. */
function startFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const expected = [ConfigError, EnvironmentError, KeyFileError, StartError, StoreError, TowerError];
  if (expected.some((kind) => error instanceof kind)) return error.message.replaceAll('\n', ' ');
  return error.stack ?? error.message;
}
