import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { CliError } from './output/print.ts';
import { type Ending, OomCounter } from './supervise/ending.ts';

/** Lines of a service's log that are shown when it dies. */
const LAST_LINES = 5;

/** How long a service may take to stop before it is killed: its own drain takes up to 10 s. */
const STOP_TIMEOUT_MS = 15_000;

/** How long the last lines of a process that is gone may take to arrive. */
const LAST_LINES_MS = 1000;

/** What V8 writes before it ends a process whose heap is full. */
const HEAP_FULL = 'JavaScript heap out of memory';

/** A service that runs as a process of its own. */
export interface ServiceProcess {
  name: 'document' | 'query' | 'console';
  /** `host:port` that it listens at. */
  address: string;
  pid: number;
  /** `host:port` of its metrics, where it serves any. */
  metrics: string | undefined;
  /** Resolves when the process ends unasked. */
  died: Promise<Ending>;
  stop(): Promise<void>;
}

/** How a service is started. */
export interface StartOptions {
  /** Aborts the start; stop a running service with {@link ServiceProcess.stop}. */
  signal?: AbortSignal | undefined;
  /** Is given each line of its log. */
  onLine?: ((line: string) => void) | undefined;
  /** Flags of Node, before those of the service. @default those of this process */
  nodeFlags?: readonly string[] | undefined;
}

/** A service that did not come to serve, in one line. */
export class StartFailure extends CliError {
  override readonly name = 'StartFailure';
  /** Why, without the name of the service. */
  readonly reason: string;
  readonly exitCode: number | null;

  constructor(service: string, reason: string, exitCode: number | null) {
    super(`the ${service} service: ${reason}`);
    this.reason = reason;
    this.exitCode = exitCode;
  }
}

type Report =
  | { type: 'ready'; address: string; pid: number; metrics?: string }
  | { type: 'failed'; message: string };

/**
 * Starts a service and waits until it serves. It watches the channel to this process, so it also ends when this process
 * ends for any reason.
 *
 * @throws {StartFailure} where it can't start
 */
export async function startService(
  name: ServiceProcess['name'],
  flags: readonly string[],
  { signal, onLine, nodeFlags = process.execArgv }: StartOptions = {},
): Promise<ServiceProcess> {
  const entry = fileURLToPath(new URL(`../services/${name}/main.js`, import.meta.url));
  const oom = new OomCounter();
  const child = fork(entry, flags, {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    execArgv: [...nodeFlags],
    // Ctrl-C reaches the whole process group of the terminal. In its own group, a service is stopped once, by us.
    detached: true,
  });
  const lines: string[] = [];
  let heapFull = false;
  createInterface({ input: child.stderr! }).on('line', (line) => {
    onLine?.(line);
    heapFull ||= line.includes(HEAP_FULL);
    lines.push(line);
    if (lines.length > LAST_LINES) lines.shift();
  });
  let stopping = false;
  const closed = once(child, 'close').catch(() => undefined);
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const giveUp = (): void => void child.kill();
  signal?.addEventListener('abort', giveUp);
  if (signal?.aborted) giveUp();
  const ending = async (): Promise<Ending> => {
    await exited;
    // Whoever inherited its standard error may keep that open.
    await Promise.race([closed, sleep(LAST_LINES_MS, undefined, { ref: false })]);
    const { exitCode, signalCode } = child;
    const cause = heapFull
      ? 'its JavaScript heap was full'
      : (oom.cause(signalCode) ?? signalCode ?? `exit ${exitCode}`);
    return { exitCode, cause, lastWords: lastWords(lines) };
  };
  const ready = await firstReport(child, exited);
  signal?.removeEventListener('abort', giveUp);
  if (ready.type === 'failed') {
    // It ends by itself, and its exit code says more than a signal.
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    const { exitCode, cause, lastWords } = await ending();
    clearTimeout(timer);
    throw new StartFailure(name, ready.message || `it did not start (${cause}); ${lastWords}`, exitCode);
  }
  return {
    name,
    address: ready.address,
    pid: ready.pid,
    metrics: ready.metrics,
    died: new Promise((resolve) => {
      void ending().then((end) => {
        if (!stopping) resolve(end);
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
