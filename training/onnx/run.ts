import { modelThreads } from '../../machine/limits.ts';
import { InferenceSession, Tensor as RuntimeTensor } from '../../towers/session/onnxruntime.ts';
import type { Model } from './model.ts';
import type { Tensor, TensorData } from './tensor.ts';
import { encodeModel } from './write.ts';

/** A tensor as ONNX Runtime takes it; the contents are shared. */
export function toRuntime({ type, dims, data }: Tensor): RuntimeTensor {
  // The runtime's types tie each element type to its array, which `Tensor` checks when it is made.
  return new RuntimeTensor(type as 'float32', data as Float32Array, dims);
}

/** @throws {Error} for strings, which `Tensor` doesn't have. */
export function fromRuntime({ type, dims, data }: RuntimeTensor): Tensor {
  if (type === 'string') throw new Error('a tensor of strings has no place in training');
  return { type, dims, data: data as TensorData };
}

/**
 * Opens a model that is run again and again, in training: its threads sleep between operators instead of spinning, so
 * that several processes can share a machine (all-MiniLM-L6-v2, backward on two cores that others use as well: 31 ms a
 * text instead of 87).
 *
 * @param threads - @default one for each core that this process may use
 */
export function openSession(model: Model, threads = modelThreads()): Promise<InferenceSession> {
  return InferenceSession.create(encodeModel(model), {
    intraOpNumThreads: threads,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
    logSeverityLevel: 3,
  });
}

/**
 * Runs a model on one thread, without optimising it first: it runs seldom, and nodes keep their names in messages.
 * One result for each set of inputs.
 */
export async function runAsIs(
  model: Model,
  feeds: readonly Readonly<Record<string, Tensor>>[],
): Promise<Record<string, Tensor>[]> {
  const session = await InferenceSession.create(encodeModel(model), {
    graphOptimizationLevel: 'disabled',
    intraOpNumThreads: 1,
    // Fatal only: failures are thrown as well.
    logSeverityLevel: 4,
  });
  try {
    const found: Record<string, Tensor>[] = [];
    for (const each of feeds) {
      const inputs = Object.entries(each).map(([name, value]) => [name, toRuntime(value)]);
      const results = await session.run(Object.fromEntries(inputs) as InferenceSession.FeedsType);
      found.push(
        Object.fromEntries(Object.entries(results).map(([name, value]) => [name, fromRuntime(value)])),
      );
    }
    return found;
  } finally {
    await session.release();
  }
}
