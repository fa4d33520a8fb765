import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Remote } from '../../calls/remote.ts';
import { TrainingError } from '../errors.ts';
import type { UpdateReport } from '../gradient/trainer.ts';
import { concatenate, type Tensor } from '../onnx/tensor.ts';
import type { Encoder } from './encoder.ts';
import { type EncoderName, LocalReplica, type Replica, type ReplicaPlan, type Side } from './replica.ts';

/** What a worker process makes its replica from. */
export interface WorkerReplicaPlan {
  plan: ReplicaPlan;
  state: ReadonlyMap<string, Tensor> | undefined;
}

const WORKER = fileURLToPath(new URL('./replica-process.js', import.meta.url));

/** A replica in a process of its own. `opened` settles when the process can train. */
function startReplica(made: WorkerReplicaPlan): Replica & { opened: Promise<void> } {
  const stdio = ['ignore', 'ignore', 'inherit', 'ipc'] as const;
  const child = fork(WORKER, [], { serialization: 'advanced', stdio: [...stdio] });
  const failed = (why: string): TrainingError => new TrainingError('WORKER_FAILED', why);
  const remote = new Remote<Replica>(child, made, {
    revive: ({ message }) => failed(message),
    ended: (how) => failed(`a training process ended (${how}); --resume continues from the last checkpoint`),
  });
  return {
    shared: made.plan.shared,
    opened: remote.opened,
    encode: (...parameters) => remote.call('encode', parameters),
    accumulate: (...parameters) => remote.call('accumulate', parameters),
    gradient: () => remote.call('gradient', []),
    update: (gradient) => remote.call('update', [gradient]),
    state: () => remote.call('state', []),
    close: () => remote.close(),
  };
}

/**
 * Replicas that share the work: each takes a part of the texts, all take the same step. What they compute together is
 * what one would alone, to the order of additions.
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
  const replicas = Array.from({ length: workers }, () => startReplica({ plan, state }));
  const group = new ReplicaGroup(replicas);
  try {
    await Promise.all(replicas.map((replica) => replica.opened));
  } catch (error) {
    await group.close();
    throw error;
  }
  return group;
}
