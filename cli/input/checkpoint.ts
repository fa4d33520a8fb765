import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { note } from '../output/print.ts';
import { sameFile, type Stamp } from './input.ts';

/** How often the place is saved. A crash loses at most this much; these documents are sent again and are UNCHANGED. */
const INTERVAL_MS = 500;

/** How far a run has come. */
export interface Progress {
  /** Everything up to this record is durable. */
  after: number;
  /** Records of the sources that were read to their ends, in order. */
  counts: readonly number[];
  /** The collection that it is durable in. */
  identity: string;
}

/** What is kept. */
interface Kept extends Progress {
  stamps: readonly Stamp[];
}

/**
 * Saves how far an ingest has come in its files, so that `--resume` can continue there. It lives in
 * `$XDG_STATE_HOME/scalingnote`; its name is a hash of the files' paths and of the target. It belongs to the files as
 * they are and to the collection that they went into: it knows both again.
 */
export class Checkpoint {
  readonly #path: string;
  readonly #stamps: readonly Stamp[];
  #progress: Progress | undefined;
  #written = 0;
  #broken = false;

  /** @param target - where the files go and how they are read: service, space, collection, tenant, mapping */
  constructor(stamps: readonly Stamp[], target: readonly string[]) {
    this.#stamps = stamps;
    const state = process.env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state');
    const key = createHash('sha256').update(JSON.stringify([stamps.map(({ path }) => path), ...target]));
    this.#path = join(state, 'scalingnote', `ingest-${key.digest('hex').slice(0, 16)}.json`);
  }

  /** How far the run had come that was broken off; `undefined`, and a line that says why, where it begins again. */
  read(): Progress | undefined {
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
    const { after, counts, identity } = kept;
    return (this.#progress = { after, counts, identity });
  }

  /** Notes how far the run has come, and saves it if the last place was saved a while ago. */
  write(progress: Progress): void {
    this.#progress = progress;
    if (Date.now() - this.#written >= INTERVAL_MS) this.flush();
  }

  /** Saves the last place now. A folder that can't be written does not stop an ingest. */
  flush(): void {
    if (this.#progress === undefined || this.#broken) return;
    this.#written = Date.now();
    // A rename is atomic, even if the power fails.
    const draft = `${this.#path}.${process.pid}`;
    const kept: Kept = { ...this.#progress, stamps: this.#stamps };
    try {
      mkdirSync(dirname(this.#path), { recursive: true });
      writeFileSync(draft, JSON.stringify(kept));
      renameSync(draft, this.#path);
    } catch (error) {
      this.#broken = true;
      note(`"--resume" will start at the beginning: ${(error as Error).message}`);
    }
  }

  /** Removes the checkpoint: everything is stored, or what it says is not true any more. */
  remove(): void {
    this.#progress = undefined;
    if (!this.#broken) rmSync(this.#path, { force: true });
  }

  #load(): Kept | undefined {
    try {
      const kept = JSON.parse(readFileSync(this.#path, 'utf8')) as Partial<Kept>;
      const { after, counts, identity, stamps } = kept;
      // One that an older version wrote knows no collection.
      if (typeof after !== 'number' || !Array.isArray(counts) || !Array.isArray(stamps)) return undefined;
      return typeof identity === 'string' ? { after, counts, identity, stamps } : undefined;
    } catch {
      return undefined;
    }
  }
}
