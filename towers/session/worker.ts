import { serve } from '../../calls/serve.ts';
import { TowerError } from '../errors.ts';
import { Model } from './model.ts';
import type { ModelOptions, TokenBatch } from './protocol.ts';

serve(
  async (options: ModelOptions, log) => {
    const model = await Model.load(options, log);
    return {
      device: () => model.device,
      run: (batch: TokenBatch) => model.run(batch),
      close: () => model.close(),
    };
  },
  (error) =>
    error instanceof TowerError ? error : new TowerError('ENCODER_FAILED', String(error), { cause: error }),
  { transfer: (value) => (value instanceof Float32Array ? [value.buffer as ArrayBuffer] : []) },
);
