import { serve } from '../../calls/serve.ts';
import { StoreError } from '../errors.ts';
import { Engine } from './engine.ts';
import { HitPacker, KnownHits } from './known-hits.ts';
import { Slice } from './slice.ts';

/** Arguments of an engine. */
export interface EngineOptions {
  directory: string;
  busyTimeoutMs: number;
  /** Id of the store that an earlier thread has used: no other will do. */
  expected?: string;
  sliceMs?: number | undefined;
}

const packer = new HitPacker();

serve(
  ({ directory, busyTimeoutMs, expected, sliceMs }: EngineOptions, warn) => {
    const hits = new KnownHits(packer.forget);
    return new Engine(directory, busyTimeoutMs, warn, expected, Date.now, new Slice(sliceMs), hits);
  },
  (error) => {
    if (error instanceof StoreError) return error;
    const message = `the embedded store failed: ${String(error)}`;
    return { reason: 'STORE_INTERNAL', message, metadata: {}, stack: (error as Error).stack };
  },
  { pack: packer.pack },
);
