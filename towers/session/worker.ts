import { parentPort, workerData } from 'node:worker_threads';
import { TowerError } from '../errors.ts';
import { Model } from './model.ts';
import type { FromWorker, ModelOptions, ToWorker } from './protocol.ts';

const port = parentPort!;

function send(message: FromWorker, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

function sendError(error: unknown): void {
  const { reason, message, metadata } =
    error instanceof TowerError ? error : new TowerError('ENCODER_FAILED', String(error), { cause: error });
  send({ type: 'error', error: { reason, message, metadata } });
}

async function main(options: ModelOptions): Promise<void> {
  const model = await Model.load(options, (message) => send({ type: 'log', message }));
  const answer = async (message: ToWorker): Promise<void> => {
    if (message.type === 'close') {
      await model.close();
      port.close();
      return;
    }
    try {
      const vectors = await model.run(message.batch);
      send({ type: 'vectors', vectors }, [vectors.buffer]);
    } catch (error) {
      sendError(error);
    }
  };
  port.on('message', (message: ToWorker) => void answer(message));
  send({ type: 'ready', device: model.device });
}

try {
  await main(workerData as ModelOptions);
} catch (error) {
  sendError(error);
}
