import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import { authority, bindFailure } from '../listen-address.ts';
import { StartError } from '../start-error.ts';
import { BEAT_MS, Heartbeat } from './heartbeat.ts';

/** Memory of the thread's objects, in MiB: it answers two questions. */
const HEAP_MIB = 16;

/** What the thread begins with. */
export interface LivenessData {
  host: string;
  port: number;
  blockedMs: number;
  memory: SharedArrayBuffer;
}

/** What the thread says once. */
export type LivenessReport = { port: number } | { failure: string };

/** Whether calls are taken: why not, in words; `undefined` where they are. */
export interface Readiness {
  reason: string | undefined;
}

/** A thread that says whether this process lives, whatever its main thread is busy with. */
export interface Liveness {
  /** `host:port`. */
  readonly address: string;
  /** @param reason why no calls are taken; `undefined` where they are */
  setReady(reason: string | undefined): void;
  close(): Promise<void>;
}

/**
 * Starts a thread with a port of its own. `/livez` is 200 while the main thread turns, and 503 with the time where it has
 * not turned for longer than `blockedMs`; `/readyz` is 200 while calls are taken as well.
 *
 * @throws {StartError} where the address can't be bound
 */
export async function startLiveness(options: {
  host: string;
  port: number;
  /** How to choose another port. */
  portSetting: string;
  blockedMs: number;
  log: Logger;
  /** Whether all that this process answers for turns as well. @default always */
  turns?: () => boolean;
}): Promise<Liveness> {
  const { host, port, portSetting, blockedMs, log, turns } = options;
  const heart = new Heartbeat();
  heart.beat();
  const beating = setInterval(() => turns?.() !== false && heart.beat(), BEAT_MS);
  beating.unref();
  const workerData: LivenessData = { host, port, blockedMs, memory: heart.memory };
  const worker = new Worker(new URL('./liveness.worker.js', import.meta.url), {
    workerData,
    // What this process is started with, an SDK of OpenTelemetry for example, is not for this thread.
    env: {},
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB, maxYoungGenerationSizeMb: 2 },
  });
  const [report] = (await once(worker, 'message')) as [LivenessReport];
  const close = async (): Promise<void> => {
    clearInterval(beating);
    await worker.terminate();
  };
  if ('failure' in report) {
    await close();
    throw new StartError(bindFailure(new Error(report.failure), host, port, portSetting));
  }
  worker.unref();
  worker.on('error', (error) =>
    log.error({ err: error }, 'the thread that says whether this process lives has failed'),
  );
  return {
    address: authority(host, report.port),
    setReady: (reason) => worker.postMessage({ reason } satisfies Readiness, []),
    close,
  };
}
