import type { Logger } from 'pino';
import type { Lane } from '../../../towers/batching.ts';
import type { Quotas } from '../../runtime/tenants/quotas.ts';
import type { StorageQuotas } from '../../runtime/tenants/storage.ts';
import type { Analyses } from './analyses.ts';
import type { Budget } from './budget.ts';
import type { DocumentEncoder } from './encoder.ts';
import type { PatientStore } from './patient-store.ts';

/** What the streams of a process share. */
export interface Shared {
  store: PatientStore;
  encoder: DocumentEncoder;
  analyses: Pick<Analyses, 'learn' | 'of'>;
  budget: Budget;
  log: Logger;
  /** How much tenants may have and do. @default as much as they like */
  quotas?: Quotas | undefined;
  storage?: StorageQuotas | undefined;
}

/** What a stream was opened with. */
export interface Target {
  /** Physical name, so that a switch of the alias can't lead vectors into another space. */
  collection: string;
  tenant: string;
  omitText: boolean;
  /** The stream, and its tenant, where the tower's turns are concerned. */
  lane: Lane;
}
