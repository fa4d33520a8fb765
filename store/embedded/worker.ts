import { serve } from '../../calls/serve.ts';
import { StoreError } from '../errors.ts';
import { Engine } from './engine.ts';

/** Arguments of an engine. */
export interface EngineOptions {
  directory: string;
  busyTimeoutMs: number;
  /** Id of the store that an earlier thread has used: no other will do. */
  expected?: string;
}

serve(
  ({ directory, busyTimeoutMs, expected }: EngineOptions, warn) =>
    new Engine(directory, busyTimeoutMs, warn, expected),
  (error) => {
    if (error instanceof StoreError) return error;
    const message = `the embedded store failed: ${String(error)}`;
    return { reason: 'STORE_INTERNAL', message, metadata: {}, stack: (error as Error).stack };
  },
);
