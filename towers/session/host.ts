import { Worker } from 'node:worker_threads';
import './no-telemetry.ts';
import { Remote } from '../../calls/remote.ts';
import { TowerError, type TowerErrorReason } from '../errors.ts';
import type { ModelOptions, Session, TokenBatch } from './protocol.ts';

/** What the worker thread offers. */
interface RemoteModel extends Pick<Session, 'run'> {
  device(): string;
}

/**
 * A model in a worker thread of its own, because a run holds the thread that asks for it. Where the thread dies, the
 * current run rejects with `ENCODER_CLOSED`, and the next run starts another thread.
 */
export class WorkerSession implements Session {
  readonly #options: ModelOptions;
  readonly #log: (message: string) => void;
  #thread: Remote<RemoteModel>;
  #device = '';

  private constructor(options: ModelOptions, log: (message: string) => void) {
    this.#options = options;
    this.#log = log;
    this.#thread = this.#start();
  }

  /** @throws {TowerError} `TOWER_MODEL_UNSUPPORTED`, `DEVICE_UNAVAILABLE` */
  static async start(options: ModelOptions, log: (message: string) => void): Promise<WorkerSession> {
    const session = new WorkerSession(options, log);
    await session.#ready();
    return session;
  }

  get device(): string {
    return this.#device;
  }

  async run(batch: TokenBatch): Promise<Float32Array<ArrayBuffer>> {
    if (this.#thread.failure) {
      this.#thread = this.#start();
      await this.#ready();
    }
    const transfer = [batch.ids.buffer, batch.lengths.buffer];
    return this.#thread.call('run', [batch], { transfer });
  }

  close(): Promise<void> {
    return this.#thread.close();
  }

  #start(): Remote<RemoteModel> {
    return new Remote(new Worker(new URL('./worker.js', import.meta.url)), this.#options, {
      revive: ({ reason, message, metadata }) =>
        new TowerError(reason as TowerErrorReason, message, { metadata }),
      ended: (how, cause) =>
        new TowerError('ENCODER_CLOSED', `the thread that runs the model ended (${how}); try again`, {
          cause,
        }),
      onNotice: this.#log,
    });
  }

  async #ready(): Promise<void> {
    try {
      this.#device = await this.#thread.call('device', []);
    } catch (error) {
      await this.#thread.exited;
      throw error;
    }
  }
}
