import type { InferenceSession, Tensor as RuntimeTensor } from 'onnxruntime-node';
import { OnnxError } from '../onnx/errors.ts';
import { fromRuntime, openSession, toRuntime } from '../onnx/run.ts';
import { toNumbers, type Tensor } from '../onnx/tensor.ts';
import { GRADIENT_NORM, LEARNING_RATE, LOSS, NEXT, STEP, type TrainingStep } from './step.ts';

/** What a step says. */
export interface StepReport {
  /** Steps taken so far. */
  readonly step: number;
  readonly loss: number;
  /** Length of the gradient before clipping. */
  readonly gradientNorm: number;
  readonly learningRate: number;
}

/** Reads a report off a step's outputs. */
export function reportOf(results: Readonly<Record<string, RuntimeTensor>>): StepReport {
  const number = (name: string): number => toNumbers(fromRuntime(results[name]!))[0]!;
  return {
    step: number(NEXT + STEP),
    loss: number(LOSS),
    gradientNorm: number(GRADIENT_NORM),
    learningRate: number(LEARNING_RATE),
  };
}

/**
 * Runs a training step again and again. The state stays in tensors: what one step returns is what the next is fed.
 * A run blocks the event loop while it computes. The same batches give the same weights, for a number of threads.
 */
export class Trainer {
  readonly #session: InferenceSession;
  readonly #forward: InferenceSession | undefined;
  readonly #weights: readonly string[];
  #state: ReadonlyMap<string, RuntimeTensor>;

  private constructor(
    session: InferenceSession,
    forward: InferenceSession | undefined,
    weights: readonly string[],
    state: ReadonlyMap<string, Tensor>,
  ) {
    this.#session = session;
    this.#forward = forward;
    this.#weights = weights;
    this.#state = new Map([...state].map(([name, value]) => [name, toRuntime(value)]));
  }

  /**
   * @param options.threads - @default ONNX Runtime's: one for each core
   * @param options.state - what {@link state} returned, to go on from there. @default the step's initial state
   * @throws {OnnxError} `REQUEST_INVALID` for a state of other weights.
   */
  static async create(
    step: TrainingStep,
    options: { threads?: number; state?: ReadonlyMap<string, Tensor> } = {},
  ): Promise<Trainer> {
    const { threads, state = step.initial } = options;
    for (const [name, { type, dims }] of step.initial) {
      const found = state.get(name);
      if (found?.type !== type || found.dims.join() !== dims.join()) {
        throw new OnnxError(
          'REQUEST_INVALID',
          `the state to go on from has no "${name}", or another shape of it`,
        );
      }
    }
    const session = await openSession(step.model, threads);
    const forward = step.forward && (await openSession(step.forward, threads));
    const own = new Map([...step.initial.keys()].map((name) => [name, state.get(name)!]));
    return new Trainer(session, forward, step.weights, own);
  }

  /**
   * Takes one step. When the loss or the gradient is not finite, the state stays as it was before the step.
   * @param batch - the step's inputs other than its state.
   */
  async step(batch: Readonly<Record<string, Tensor>>): Promise<StepReport> {
    const inputs = Object.entries(batch).map(([name, value]) => [name, toRuntime(value)] as const);
    const results = await this.#session.run(Object.fromEntries([...inputs, ...this.#state]));
    const report = reportOf(results);
    if (Number.isFinite(report.loss) && Number.isFinite(report.gradientNorm)) {
      this.#state = new Map([...this.#state.keys()].map((name) => [name, results[NEXT + name]!]));
    }
    return report;
  }

  /** The values that the step was built to observe, for a batch and the weights as they are now. */
  async observe(batch: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>> {
    if (this.#forward === undefined) throw new OnnxError('REQUEST_INVALID', 'the step observes no values');
    const inputs = Object.entries(batch).map(([name, value]) => [name, toRuntime(value)] as const);
    const weights = this.#weights.map((name) => [name, this.#state.get(name)!] as const);
    const results = await this.#forward.run(Object.fromEntries([...inputs, ...weights]));
    return Object.fromEntries(Object.entries(results).map(([name, value]) => [name, fromRuntime(value)]));
  }

  /** The trained weights as they are now. */
  weights(): Map<string, Tensor> {
    return new Map(this.#weights.map((name) => [name, fromRuntime(this.#state.get(name)!)]));
  }

  /** Everything that the next step depends on besides its batch, for a checkpoint. */
  state(): Map<string, Tensor> {
    return new Map([...this.#state].map(([name, value]) => [name, fromRuntime(value)]));
  }

  async close(): Promise<void> {
    await this.#session.release();
    await this.#forward?.release();
  }
}
