import { Worker } from 'node:worker_threads';
import './no-telemetry.ts';
import { TowerError } from '../errors.ts';
import type { FromWorker, ModelOptions, Session, ToWorker, TokenBatch } from './protocol.ts';

type Answer = Exclude<FromWorker, { type: 'log' }>;

interface Waiting {
  resolve: (answer: Answer) => void;
  reject: (error: TowerError) => void;
}

/** One life of the worker thread. It is asked one thing at a time. */
class ModelThread {
  readonly #worker: Worker;
  #waiting: Waiting | undefined;
  #death: TowerError | undefined;
  readonly exited: Promise<void>;

  constructor(options: ModelOptions, log: (message: string) => void) {
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: options });
    this.#worker.on('message', (message: FromWorker) => {
      if (message.type === 'log') log(message.message);
      else this.#settle((waiting) => waiting.resolve(message));
    });
    this.#worker.on('error', (error) => this.#die(`failed: ${error.message}`, error));
    this.exited = new Promise((resolve) => {
      this.#worker.on('exit', (code) => {
        this.#die(`ended with exit code ${code}`);
        resolve();
      });
    });
  }

  get dead(): boolean {
    return this.#death !== undefined;
  }

  /** The next answer. Rejects with `ENCODER_CLOSED` where the thread dies first, with what it reports otherwise. */
  async answer(): Promise<Exclude<Answer, { type: 'error' }>> {
    const answer = await new Promise<Answer>((resolve, reject) => {
      if (this.#death === undefined) this.#waiting = { resolve, reject };
      else reject(this.#death);
    });
    if (answer.type !== 'error') return answer;
    const { reason, message, metadata } = answer.error;
    throw new TowerError(reason, message, { metadata });
  }

  post(message: ToWorker, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #settle(settle: (waiting: Waiting) => void): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) settle(waiting);
  }

  #die(how: string, cause?: unknown): void {
    this.#death ??= new TowerError('ENCODER_CLOSED', `the thread that runs the model ${how}; try again`, {
      cause,
    });
    const death = this.#death;
    this.#settle((waiting) => waiting.reject(death));
  }
}

/**
 * A model in a worker thread of its own, because a run holds the thread that asks for it. Where the thread dies, the
 * run that it was at rejects with `ENCODER_CLOSED`, and the next one starts another.
 */
export class WorkerSession implements Session {
  readonly #options: ModelOptions;
  readonly #log: (message: string) => void;
  #thread: ModelThread;
  #device = '';

  private constructor(options: ModelOptions, log: (message: string) => void) {
    this.#options = options;
    this.#log = log;
    this.#thread = new ModelThread(options, log);
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
    if (this.#thread.dead) {
      this.#thread = new ModelThread(this.#options, this.#log);
      await this.#ready();
    }
    const answered = this.#thread.answer();
    this.#thread.post({ type: 'run', batch }, [batch.ids.buffer, batch.lengths.buffer]);
    const answer = await answered;
    if (answer.type !== 'vectors') throw new TypeError(`expected vectors, got "${answer.type}"`);
    return answer.vectors;
  }

  async close(): Promise<void> {
    if (!this.#thread.dead) this.#thread.post({ type: 'close' });
    await this.#thread.exited;
  }

  async #ready(): Promise<void> {
    try {
      const answer = await this.#thread.answer();
      if (answer.type === 'ready') this.#device = answer.device;
    } catch (error) {
      await this.#thread.exited;
      throw error;
    }
  }
}
