import { parentPort, workerData } from 'node:worker_threads';
import { StoreError } from '../errors.ts';
import { Engine } from './engine.ts';
import type { Request, Response, SerializedError, WorkerOptions } from './protocol.ts';

type Call = Extract<Request, { operation: string }>;

const port = parentPort!;
const { directory, busyTimeoutMs } = workerData as WorkerOptions;
const waiting = new Map<number, Call>();
let closing = false;

function send(response: Response): void {
  port.postMessage(response);
}

function serialize(error: unknown): SerializedError {
  const { reason, message, metadata, stack } =
    error instanceof StoreError
      ? error
      : new StoreError('STORE_INTERNAL', `the embedded store failed: ${String(error)}`, { cause: error });
  return { reason, message, metadata, stack: error instanceof Error ? error.stack : stack };
}

function answer(id: number, work: () => unknown): void {
  try {
    send({ id, value: work() });
  } catch (error) {
    send({ id, error: serialize(error) });
  }
}

function run(engine: Engine, call: Call): unknown {
  const operation = engine[call.operation] as (...parameters: readonly unknown[]) => unknown;
  return operation.apply(engine, call.parameters);
}

/** One call at a time, and messages in between: a call that has been cancelled while it waited is never begun. */
function work(engine: Engine): void {
  const [next] = waiting.values();
  if (next) {
    waiting.delete(next.id);
    answer(next.id, () => run(engine, next));
  }
  if (waiting.size > 0) {
    setImmediate(work, engine);
  } else if (closing) {
    engine.close();
    port.close();
  }
}

function serve(engine: Engine): void {
  port.on('message', (request: Request) => {
    const idle = waiting.size === 0;
    if ('cancel' in request) {
      waiting.delete(request.cancel);
      return;
    }
    if ('close' in request) closing = true;
    else waiting.set(request.id, request);
    if (idle) setImmediate(work, engine);
  });
}

answer(0, () => serve(new Engine(directory, busyTimeoutMs, (warning) => send({ warning }))));
