import { parentPort, workerData } from 'node:worker_threads';
import { Columns, type LookupProblem, type TextWeights } from './columns.ts';

/** Dimensions of one thread. */
export interface WorkerInput {
  problem: LookupProblem;
  from: number;
  to: number;
}

/** What a thread is asked: it answers `measure` with its shares, `solve` and `write` with nothing. */
export type WorkerRequest =
  | { type: 'measure' }
  | { type: 'solve'; weights: TextWeights; iterations: number }
  | { type: 'write'; vectors: Float32Array };

/** Shares of each text's |sum|² and sum · target. */
export interface WorkerAnswer {
  squares: Float64Array;
  products: Float64Array;
}

const { problem, from, to } = workerData as WorkerInput;
const columns = new Columns(problem, from, to);
const answer: WorkerAnswer = {
  squares: new Float64Array(problem.texts.rows),
  products: new Float64Array(problem.texts.rows),
};

parentPort!.on('message', (request: WorkerRequest) => {
  if (request.type === 'measure') {
    answer.squares.fill(0);
    answer.products.fill(0);
    columns.measure(answer.squares, answer.products);
    parentPort!.postMessage(answer, []);
    return;
  }
  if (request.type === 'solve') columns.solve(request.weights, request.iterations);
  else columns.write(request.vectors);
  parentPort!.postMessage(undefined, []);
});
