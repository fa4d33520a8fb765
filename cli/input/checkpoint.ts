import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { note } from '../output/print.ts';

/** How often the place is written down: losing half a second of it costs half a second of UNCHANGED. */
const INTERVAL_MS = 500;

/**
 * Where in a file an ingest is, on disk, so that a run that was broken off can be taken up. It lives in
 * `$XDG_STATE_HOME/scalingnote`, under a name made of the file's path and of where it goes.
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

  /** Takes a watermark, and keeps it when the last one was kept a while ago. */
  write(watermark: number): void {
    this.#watermark = watermark;
    if (Date.now() - this.#written >= INTERVAL_MS) this.flush();
  }

  /** Keeps the last watermark now. A folder that can't be written does not stop an ingest. */
  flush(): void {
    if (this.#watermark === 0 || this.#broken) return;
    this.#written = Date.now();
    // A rename is whole or not there, whenever the power goes.
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

  /** Forgets: all of the file is in. */
  remove(): void {
    if (!this.#broken) rmSync(this.#path, { force: true });
  }
}

/** Changes when the file does; empty for a file that can't be read, which whoever opens it says better. */
function stampOf(path: string): string {
  try {
    const { size, mtimeMs } = statSync(path);
    return `${size}-${mtimeMs}`;
  } catch {
    return '';
  }
}
