import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { ServiceReport } from '../../services/runtime/run-service.ts';

/** A process under test. */
export interface Process {
  address: string;
  /** Address of its metrics, if it has any. */
  metrics: string | undefined;
  pid: number;
  stop(): Promise<void>;
}

/** Starts a service as a process, with environment and flags added to this process's own. */
export async function startProcess(
  module: URL,
  flags: readonly string[],
  environment: Readonly<Record<string, string>>,
  nodeFlags: readonly string[] = [],
): Promise<Process> {
  const child = fork(module, flags, {
    env: { ...process.env, ...environment },
    execArgv: [...nodeFlags],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const [report] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [
    ServiceReport | number | null,
  ];
  if (report === null || typeof report === 'number') throw new Error(`${module.pathname} did not start`);
  if (report.type === 'failed') throw new Error(report.message);
  return {
    address: report.address,
    metrics: report.metrics,
    pid: report.pid,
    stop: async () => {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    },
  };
}
