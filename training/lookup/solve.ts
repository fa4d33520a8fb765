import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { LookupProblem, TextWeights } from './columns.ts';
import { lengthOf, sharedFloats } from './counts.ts';
import type { WorkerAnswer, WorkerInput, WorkerRequest } from './worker.ts';

/** Rounds of reweighting, and iterations of conjugate gradients in the first and in each later one: 30 in all. */
const ROUNDS = 5;
const FIRST_ITERATIONS = 10;
const LATER_ITERATIONS = 5;

/** Iterations that {@link solveLookup} makes. */
export const ITERATIONS = FIRST_ITERATIONS + (ROUNDS - 1) * LATER_ITERATIONS;

/** A text that the student gets wholly wrong is not given all the weight there is. */
const MIN_COSINE = 0.2;

/** More threads wait for memory, not for one another. */
const MAX_THREADS = 8;

/**
 * A vector for each token, such that the sum over a text's tokens points where the teacher's vector does.
 *
 * Only the direction counts, so the mean cosine is maximised, by iteratively reweighted least squares: a text's sum is
 * scaled so that its length is the cosine, which makes its residual the slope of the cosine. Each round is a ridge
 * regression towards the prior, by conjugate gradients from where the last round ended. Before there are any sums, a
 * text is taken to be as long as the root of its tokens, as if their vectors were independent.
 *
 * @param problem arrays are in shared memory
 * @param options.threads @default one per core, at most {@link MAX_THREADS}
 * @returns token vectors, as `prior` is laid out
 */
export async function solveLookup(
  problem: LookupProblem,
  options: { threads?: number; onRound?: (round: number, rounds: number) => void } = {},
): Promise<Float32Array> {
  const { texts, prior, dimensions } = problem;
  const threads = Math.min(options.threads ?? Math.min(availableParallelism(), MAX_THREADS), dimensions);
  const workers = Array.from({ length: threads }, (_, thread) => {
    const workerData: WorkerInput = {
      problem,
      from: Math.floor((thread * dimensions) / threads),
      to: Math.floor(((thread + 1) * dimensions) / threads),
    };
    return new Worker(new URL('./worker.js', import.meta.url), { workerData });
  });
  const askAll = (request: WorkerRequest): Promise<unknown[]> =>
    Promise.all(
      workers.map(async (worker) => {
        worker.postMessage(request, []);
        const [answer] = await once(worker, 'message');
        return answer;
      }),
    );
  try {
    const weights: TextWeights = {
      scales: sharedFloats(texts.rows),
      weights: sharedFloats(texts.rows).fill(1),
    };
    for (let row = 0; row < texts.rows; row++) weights.scales[row] = 1 / Math.sqrt(lengthOf(texts, row));
    for (let round = 0; round < ROUNDS; round++) {
      options.onRound?.(round, ROUNDS);
      if (round > 0) reweight(weights, (await askAll({ type: 'measure' })) as WorkerAnswer[]);
      await askAll({ type: 'solve', weights, iterations: round === 0 ? FIRST_ITERATIONS : LATER_ITERATIONS });
    }
    const vectors = sharedFloats(prior.length);
    await askAll({ type: 'write', vectors });
    return vectors;
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

function reweight({ scales, weights }: TextWeights, shares: readonly WorkerAnswer[]): void {
  for (let row = 0; row < scales.length; row++) {
    let square = 0;
    let product = 0;
    for (const share of shares) {
      square += share.squares[row]!;
      product += share.products[row]!;
    }
    const length = Math.sqrt(square) || 1;
    const cosine = Math.min(1, Math.max(MIN_COSINE, product / length));
    weights[row] = 1 / Math.sqrt(cosine);
    scales[row] = (weights[row]! * cosine) / length;
  }
}
