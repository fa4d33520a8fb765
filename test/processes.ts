import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import type { ServiceReport } from '../services/runtime/run-service.ts';

const children = new Set<ChildProcess>();

/** A service that runs as a process of its own. */
export interface Started {
  /** `host:port` that it listens at. */
  address: string;
  /** `host:port` of its metrics; empty where it serves none. */
  metrics: string;
  /** Asks it to end, and waits for it. */
  stop(): Promise<void>;
}

/** Starts a service with such flags, and waits until it serves. */
export async function startService(
  name: 'document' | 'query' | 'console',
  ...flags: readonly string[]
): Promise<Started> {
  const child = fork(new URL(`../services/${name}/main.js`, import.meta.url), flags, {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: { ...process.env, SCALINGNOTE_LOG_LEVEL: 'warn' },
  });
  children.add(child);
  const [report] = (await once(child, 'message')) as [ServiceReport];
  if (report.type === 'failed') throw new Error(report.message);
  return { address: report.address, metrics: report.metrics ?? '', stop: () => stop(child) };
}

/** Ends all that were started. */
export async function stopServices(): Promise<void> {
  await Promise.all([...children].map(stop));
}

/** A port that nothing listens at now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function stop(child: ChildProcess): Promise<void> {
  children.delete(child);
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}
