import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { ServiceReport } from '../run-service.ts';

const running = new Set<Process>();

/** A service that runs as a process of its own. */
export interface Process {
  child: ChildProcess;
  /** `host:port` that it listens at. */
  address: string;
  /** `host:port` of its metrics; empty where it serves none. */
  metrics: string;
  /** `host:port` that says whether it lives; empty where there is none. */
  liveness: string;
  /** How long the parts of its start took, in milliseconds; empty where it does not say. */
  startMs: Readonly<Record<string, number>>;
  /** Asks it to end, and waits for it. @param signal - @default SIGTERM */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/**
 * Starts a service for a test or a bench, and waits until it serves. The product's own starter is
 * `cli/service-processes.ts`.
 *
 * @param environment - overrides that of this process
 * @throws where it can't start
 */
export async function startProcess(
  module: URL,
  flags: readonly string[],
  environment: NodeJS.ProcessEnv = {},
  nodeFlags: readonly string[] = [],
): Promise<Process> {
  const child = fork(module, flags, {
    env: { ...process.env, SCALINGNOTE_LOG_LEVEL: 'warn', ...environment },
    execArgv: [...nodeFlags],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<void> => {
    running.delete(started);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  };
  const started: Process = { child, address: '', metrics: '', liveness: '', startMs: {}, stop };
  running.add(started);
  const [report] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [
    ServiceReport | number | null,
  ];
  if (report === null || typeof report === 'number') throw new Error(`${module.pathname} did not start`);
  if (report.type === 'failed') throw new Error(report.message);
  return Object.assign(started, {
    address: report.address,
    metrics: report.metrics ?? '',
    liveness: report.liveness ?? '',
    startMs: report.startMs ?? {},
  });
}

/** Starts one of the services with such flags. */
export function startService(
  name: 'document' | 'query' | 'console',
  ...flags: readonly string[]
): Promise<Process> {
  return startProcess(new URL(`../../${name}/main.js`, import.meta.url), flags);
}

/** Ends all that were started. */
export async function stopServices(): Promise<void> {
  await Promise.all([...running].map(({ stop }) => stop()));
}
