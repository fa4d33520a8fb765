import { serve } from '../../calls/serve.ts';
import { StoreError } from '../errors.ts';
import { Engine } from './engine.ts';
import { Slice } from './slice.ts';

/** Arguments of an engine. */
export interface EngineOptions {
  directory: string;
  busyTimeoutMs: number;
  /** Id of the store that an earlier thread has used: no other will do. */
  expected?: string;
  sliceMs?: number | undefined;
}

serve(
  ({ directory, busyTimeoutMs, expected, sliceMs }: EngineOptions, warn) =>
    new Engine(directory, busyTimeoutMs, warn, expected, Date.now, new Slice(sliceMs)),
  (error) => {
    if (error instanceof StoreError) return error;
    const message = `the embedded store failed: ${String(error)}`;
    return { reason: 'STORE_INTERNAL', message, metadata: {}, stack: (error as Error).stack };
  },
);
