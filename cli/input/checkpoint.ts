import { createHash } from 'node:crypto';
import { note } from '../output/print.ts';
import { StateFile } from '../state-file.ts';
import { sameFile, type Stamp } from './input.ts';

/** How far a run has come. */
export interface Place {
  /** Everything up to this record is durable. */
  after: number;
  /** Records of the sources that were read to their ends, in order. */
  counts: readonly number[];
  /** The collection that it is durable in. */
  identity: string;
  /** How far the collection had come, as a freshness token; empty where no one token says it. */
  freshness: string;
}

/** What is kept. */
interface Kept extends Place {
  stamps: readonly Stamp[];
}

/**
 * Saves how far an ingest has come in its files, so that `--resume` can continue there. It lives in
 * `$XDG_STATE_HOME/scalingnote`; its name is a hash of the files' paths and of the target. It belongs to the files as
 * they are and to the collection that they went into: it knows both again.
 */
export class Checkpoint {
  readonly #stamps: readonly Stamp[];
  readonly #file: StateFile<Kept>;

  /** @param target - where the files go and how they are read: service, space, collection, tenant, mapping */
  constructor(stamps: readonly Stamp[], target: readonly string[]) {
    this.#stamps = stamps;
    const key = createHash('sha256').update(JSON.stringify([stamps.map(({ path }) => path), ...target]));
    this.#file = new StateFile(`ingest-${key.digest('hex').slice(0, 16)}`);
  }

  /** How far the run had come that was broken off; `undefined`, and a line that says why, where it begins again. */
  read(): Place | undefined {
    const kept = this.#load();
    if (kept === undefined) {
      note('no run of these files was broken off; starting at the beginning');
      return undefined;
    }
    const changed = this.#stamps.find((stamp, index) => {
      const before = kept.stamps[index];
      return before === undefined || !sameFile(stamp, before);
    });
    if (changed !== undefined || kept.stamps.length !== this.#stamps.length) {
      note(`${changed?.path ?? 'the list of files'} has changed since; starting at the beginning`);
      return undefined;
    }
    const { after, counts, identity, freshness } = kept;
    return { after, counts, identity, freshness };
  }

  /** Notes how far the run has come, and saves it if the last place was saved a while ago. */
  write(place: Place): void {
    this.#file.write({ ...place, stamps: this.#stamps });
  }

  /** Saves the last place now. A folder that can't be written does not stop an ingest. */
  flush(): void {
    this.#file.flush();
  }

  /** Removes the checkpoint: everything is stored, or what it says is not true any more. */
  remove(): void {
    this.#file.remove();
  }

  #load(): Kept | undefined {
    const { after, counts, identity, freshness = '', stamps }: Partial<Kept> = this.#file.read() ?? {};
    // One that an older version wrote knows no collection.
    if (typeof after !== 'number' || !Array.isArray(counts) || !Array.isArray(stamps)) return undefined;
    return typeof identity === 'string' ? { after, counts, identity, freshness, stamps } : undefined;
  }
}
