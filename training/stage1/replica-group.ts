import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { TrainingError } from '../errors.ts';
import type { UpdateReport } from '../gradient/trainer.ts';
import { concatenate, type Tensor } from '../onnx/tensor.ts';
import type { Encoder } from './encoder.ts';
import { type EncoderName, LocalReplica, type Replica, type ReplicaPlan, type Side } from './replica.ts';

/** What a replica in another process is asked, by method. */
export interface ReplicaMethods extends Omit<Replica, 'shared' | 'close'> {
  open(plan: ReplicaPlan, state: ReadonlyMap<string, Tensor> | undefined): Promise<void>;
}

/** A request to such a process: a call of one of the methods. */
export type ReplicaRequest = {
  [M in keyof ReplicaMethods]: { id: number; method: M; args: Parameters<ReplicaMethods[M]> };
}[keyof ReplicaMethods];

/** Its response. */
export interface ReplicaResponse {
  id: number;
  result?: unknown;
  error?: string;
}

const WORKER = fileURLToPath(new URL('./replica-process.js', import.meta.url));

/** A replica in a process of its own. */
class WorkerReplica implements Replica {
  readonly shared: boolean;
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (why: Error) => void }>();
  #next = 0;
  #ended: TrainingError | undefined;

  constructor(shared: boolean) {
    this.shared = shared;
    this.#process = fork(WORKER, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.#process.on('message', ({ id, result, error }: ReplicaResponse) => {
      const { resolve, reject } = this.#waiting.get(id)!;
      this.#waiting.delete(id);
      if (error === undefined) resolve(result);
      else reject(new TrainingError('WORKER_FAILED', error));
    });
    this.#process.on('exit', (code, signal) =>
      this.#end(
        `a training process ended (${signal ?? `exit code ${code}`}); --resume goes on from the last checkpoint`,
      ),
    );
    this.#process.on('error', (cause) => this.#end(`a training process did not start: ${cause.message}`));
  }

  open(...args: Parameters<ReplicaMethods['open']>): Promise<void> {
    return this.#ask('open', args);
  }

  encode(...args: Parameters<Replica['encode']>): Promise<Float32Array> {
    return this.#ask('encode', args);
  }

  accumulate(...args: Parameters<Replica['accumulate']>): Promise<void> {
    return this.#ask('accumulate', args);
  }

  gradient(): Promise<Float32Array> {
    return this.#ask('gradient', []);
  }

  update(...args: Parameters<Replica['update']>): Promise<UpdateReport> {
    return this.#ask('update', args);
  }

  state(): Promise<ReadonlyMap<string, Tensor>> {
    return this.#ask('state', []);
  }

  async close(): Promise<void> {
    if (this.#ended !== undefined) return;
    const exited = new Promise<void>((resolve) => {
      this.#process.once('exit', () => resolve());
    });
    // The process ends when its channel closes.
    this.#process.disconnect();
    await exited;
  }

  #ask<M extends keyof ReplicaMethods>(
    method: M,
    args: Parameters<ReplicaMethods[M]>,
  ): ReturnType<ReplicaMethods[M]> {
    return this.#send(method, args) as ReturnType<ReplicaMethods[M]>;
  }

  #send(method: keyof ReplicaMethods, args: readonly unknown[]): Promise<unknown> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      // A request that can't be sent is rejected in a moment, when the end of the process is reported.
      this.#process.send({ id, method, args }, () => {});
    });
  }

  /** Rejects all pending requests and all later ones. */
  #end(message: string): void {
    this.#ended ??= new TrainingError('WORKER_FAILED', message);
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#waiting.clear();
  }
}

/**
 * Replicas that share the work: each takes a part of the texts, all take the same step. Together they compute what one
 * would compute alone, except for the order of additions.
 */
export class ReplicaGroup implements Replica {
  readonly #replicas: readonly Replica[];

  constructor(replicas: readonly Replica[]) {
    this.#replicas = replicas;
  }

  get shared(): boolean {
    return this.#replicas[0]!.shared;
  }

  async encode(side: Side, texts: readonly (readonly number[])[]): Promise<Float32Array> {
    const parts = await Promise.all(
      this.#shares(texts.length).map(([replica, start, end]) =>
        replica.encode(side, texts.slice(start, end)),
      ),
    );
    return concatenate(parts);
  }

  async accumulate(side: Side, texts: readonly (readonly number[])[], upstream: Float32Array): Promise<void> {
    const width = upstream.length / texts.length;
    await Promise.all(
      this.#shares(texts.length).map(([replica, start, end]) =>
        replica.accumulate(side, texts.slice(start, end), upstream.slice(start * width, end * width)),
      ),
    );
  }

  async gradient(): Promise<Float32Array> {
    const parts = await Promise.all(this.#replicas.map((replica) => replica.gradient()));
    const sum = parts[0]!;
    for (const part of parts.slice(1)) for (let i = 0; i < sum.length; i++) sum[i]! += part[i]!;
    return sum;
  }

  async update(gradient?: Float32Array): Promise<UpdateReport> {
    const pooled = gradient ?? (await this.gradient());
    const reports = await Promise.all(this.#replicas.map((replica) => replica.update(pooled)));
    return reports[0]!;
  }

  state(): Promise<ReadonlyMap<string, Tensor>> {
    return this.#replicas[0]!.state();
  }

  async close(): Promise<void> {
    await Promise.all(this.#replicas.map((replica) => replica.close()));
  }

  /** Each replica with the part of `count` texts that is its own; none is empty. */
  #shares(count: number): [replica: Replica, start: number, end: number][] {
    const many = Math.min(this.#replicas.length, count);
    return this.#replicas
      .slice(0, many)
      .map((replica, i) => [replica, Math.floor((i * count) / many), Math.floor(((i + 1) * count) / many)]);
  }
}

/**
 * Opens the replicas of a run: one in this process, or several in processes of their own.
 *
 * @throws {OnnxError} or, from another process, {@link TrainingError} `WORKER_FAILED` for an encoder that can't be trained
 */
export async function openReplicas(
  plan: ReplicaPlan,
  options: {
    workers: number;
    encoders: ReadonlyMap<EncoderName, Encoder>;
    state?: ReadonlyMap<string, Tensor> | undefined;
  },
): Promise<Replica> {
  const { workers, encoders, state } = options;
  if (workers === 1) return LocalReplica.open(plan, { encoders, state });
  const replicas = Array.from({ length: workers }, () => new WorkerReplica(plan.shared));
  const group = new ReplicaGroup(replicas);
  try {
    await Promise.all(replicas.map((replica) => replica.open(plan, state)));
  } catch (error) {
    await group.close();
    throw error;
  }
  return group;
}
