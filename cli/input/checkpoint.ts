import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { note } from '../output/print.ts';

/** How often the place is saved. A crash loses at most this much; these documents are sent again and are UNCHANGED. */
const INTERVAL_MS = 500;

/**
 * Saves how far an ingest has come in its file, so that `--resume` can continue there. It lives in
 * `$XDG_STATE_HOME/scalingnote`; its name is a hash of the file's path and of its target.
 */
export class Checkpoint {
  readonly #path: string;
  readonly #stamp: string;
  #watermark = 0;
  #written = 0;
  #broken = false;

  /** @param target - where the file goes: service, space, collection, tenant */
  constructor(file: string, target: readonly string[]) {
    const path = resolve(file);
    this.#stamp = stampOf(path);
    const state = process.env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state');
    const key = createHash('sha256').update(JSON.stringify([path, ...target]));
    this.#path = join(state, 'scalingnote', `ingest-${key.digest('hex').slice(0, 16)}.json`);
  }

  /** The watermark of the run that was broken off; 0 where there was none, or the file has changed since. */
  read(): number {
    try {
      const { stamp, watermark } = JSON.parse(readFileSync(this.#path, 'utf8')) as {
        stamp: string;
        watermark: number;
      };
      if (stamp === this.#stamp) return (this.#watermark = watermark);
      note('the file has changed since; starting at its beginning');
    } catch {
      note('no run of this file was broken off; starting at its beginning');
    }
    return 0;
  }

  /** Notes a watermark, and saves it if the last one was saved a while ago. */
  write(watermark: number): void {
    this.#watermark = watermark;
    if (Date.now() - this.#written >= INTERVAL_MS) this.flush();
  }

  /** Saves the last watermark now. A folder that can't be written does not stop an ingest. */
  flush(): void {
    if (this.#watermark === 0 || this.#broken) return;
    this.#written = Date.now();
    // A rename is atomic, even if the power fails.
    const draft = `${this.#path}.${process.pid}`;
    try {
      mkdirSync(dirname(this.#path), { recursive: true });
      writeFileSync(draft, JSON.stringify({ stamp: this.#stamp, watermark: this.#watermark }));
      renameSync(draft, this.#path);
    } catch (error) {
      this.#broken = true;
      note(`"--resume" will start at the beginning: ${(error as Error).message}`);
    }
  }

  /** Removes the checkpoint, because the whole file is stored. */
  remove(): void {
    if (!this.#broken) rmSync(this.#path, { force: true });
  }
}

/** Changes when the file changes. Empty if the file can't be read: opening it gives the better error. */
function stampOf(path: string): string {
  try {
    const { size, mtimeMs } = statSync(path);
    return `${size}-${mtimeMs}`;
  } catch {
    return '';
  }
}
