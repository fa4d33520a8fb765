import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { CliError } from './output/print.ts';

/** Lines of a service's log that are shown when it dies. */
const LAST_LINES = 5;

/** How long a service may take to stop before it is killed: its own drain takes up to 10 s. */
const STOP_TIMEOUT_MS = 15_000;

/** A service that runs as a process of its own. */
export interface ServiceProcess {
  name: 'document' | 'query' | 'console';
  /** `host:port` that it listens at. */
  address: string;
  pid: number;
  /** `host:port` of its metrics, where it serves any. */
  metrics: string | undefined;
  /** Resolves with a message for people when the process ends unasked. */
  died: Promise<string>;
  stop(): Promise<void>;
}

type Report =
  | { type: 'ready'; address: string; pid: number; metrics?: string }
  | { type: 'failed'; message: string };

/**
 * Starts a service and waits until it serves. It watches the channel to this process, so it also ends when this process
 * ends for any reason.
 *
 * @param signal - aborts the start; stop a running service with {@link ServiceProcess.stop}
 * @throws {CliError} in one line, where it can't start
 */
export async function startService(
  name: ServiceProcess['name'],
  flags: readonly string[],
  signal?: AbortSignal,
): Promise<ServiceProcess> {
  const entry = fileURLToPath(new URL(`../services/${name}/main.js`, import.meta.url));
  const child = fork(entry, flags, {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    // Ctrl-C reaches the whole process group of the terminal. In its own group, a service is stopped once, by us.
    detached: true,
  });
  const lines: string[] = [];
  createInterface({ input: child.stderr! }).on('line', (line) => {
    lines.push(line);
    if (lines.length > LAST_LINES) lines.shift();
  });
  let stopping = false;
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const giveUp = (): void => void child.kill();
  signal?.addEventListener('abort', giveUp);
  const ready = await firstReport(child, exited);
  signal?.removeEventListener('abort', giveUp);
  if (ready.type === 'failed') {
    child.kill();
    throw new CliError(
      `the ${name} service: ${ready.message || `it did not start (${ending(child)}); ${lastWords(lines)}`}`,
    );
  }
  return {
    name,
    address: ready.address,
    pid: ready.pid,
    metrics: ready.metrics,
    died: new Promise((resolve) => {
      void exited.then(() => {
        if (!stopping) resolve(`the ${name} service died (${ending(child)}); ${lastWords(lines)}`);
      });
    }),
    stop: async () => {
      stopping = true;
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      await exited;
      clearTimeout(timer);
    },
  };
}

function ending({ exitCode, signalCode }: ChildProcess): string {
  return signalCode ?? `exit ${exitCode}`;
}

/** The messages of the last lines of its log, which are JSON objects, and whatever else it wrote. */
function lastWords(lines: readonly string[]): string {
  const words = lines.map((line) => {
    try {
      const { msg, err } = JSON.parse(line) as { msg?: string; err?: { message?: string } };
      return err?.message === undefined ? (msg ?? line) : `${msg ?? ''}: ${err.message}`;
    } catch {
      return line;
    }
  });
  return words.length === 0 ? 'it wrote no log' : `the end of its log: ${words.join(' | ')}`;
}

function firstReport(child: ChildProcess, exited: Promise<void>): Promise<Report> {
  return new Promise((resolve) => {
    child.once('message', (message) => resolve(message as Report));
    void exited.then(() => resolve({ type: 'failed', message: '' }));
  });
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
