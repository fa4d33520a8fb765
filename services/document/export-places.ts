import { limits, memoryBudget, type Limits } from '../../machine/limits.ts';
import { shareOfPeer } from '../runtime/admission/shares.ts';
import { overloaded, type ServiceError } from '../runtime/errors.ts';

/** What an export holds: a page that is sent, one that is read, and both again as objects and as messages. */
const EXPORT_BYTES = 16 * 1024 * 1024;
/** Exports at a time where there is memory for them: copies and backups, which nobody makes by the hundred. */
const MOST_EXPORTS = 32;
/** Of the memory that the process may use. */
const MEMORY_SHARE = 1 / 8;
const REFUSED_DELAY_MS = 5_000;

/** Bounds the exports that run at a time, so that those whose callers are slow do not fill the memory. */
export class ExportPlaces {
  readonly most: number;
  #open = 0;

  constructor(machine: Limits = limits()) {
    const budget = { wanted: MOST_EXPORTS * EXPORT_BYTES, share: MEMORY_SHARE, least: EXPORT_BYTES };
    this.most = Math.floor(memoryBudget(budget, machine) / EXPORT_BYTES);
  }

  /** Why no export is taken now. @param ofPeer how many the same peer has open. @default nobody knows */
  refusal(ofPeer = 0): ServiceError | undefined {
    if (this.#open >= this.most) {
      return overloaded(`${this.#open} exports run, which is the most here`, REFUSED_DELAY_MS);
    }
    const most = shareOfPeer(this.most);
    if (ofPeer < most) return undefined;
    return overloaded(`${ofPeer} exports of this address run, which is the most for one`, REFUSED_DELAY_MS);
  }

  /** Runs an export. @throws {ServiceError} where no more are taken */
  async run(work: () => Promise<void>): Promise<void> {
    const full = this.refusal();
    if (full) throw full;
    this.#open++;
    try {
      await work();
    } finally {
      this.#open--;
    }
  }
}
