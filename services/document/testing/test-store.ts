import type { DocumentWrite } from '../../../store/store.ts';
import type { ServiceStore } from '../service.ts';

/** A document as tests compare it. */
export interface Snapshot {
  version: number;
  title: string;
  metadata: unknown;
  /** An empty text where it is not stored. */
  passages: { text: string }[];
}

/** A store whose calls can be held back, made to fail, and looked at. */
export interface TestStore extends ServiceStore {
  /** Runs before each call; what it throws, the call throws. */
  before: (
    call: 'ensure' | 'lookup' | 'write' | 'end',
    writes: readonly DocumentWrite[],
  ) => Promise<void> | void;
  /** Every batch that came in and went through, as document ids. */
  readonly batches: string[][];
  /** Documents that were looked up. */
  readonly lookups: number;
  /** Bulk loads that have begun and not ended. */
  readonly bulkLoads: number;
  /** What a collection holds of a tenant, by document id. */
  contents(collection: string, tenant?: string): Promise<Record<string, Snapshot>>;
  /** Leaves nothing behind. */
  dispose(): Promise<void>;
}
