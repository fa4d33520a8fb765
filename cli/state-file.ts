import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { note } from './output/print.ts';

/** How often it is written. What was done since is done again after a crash, which changes nothing. */
const INTERVAL_MS = 500;

/** How far a long command has come, in `$XDG_STATE_HOME/scalingnote`, so that the same command goes on there. */
export class StateFile<State> {
  readonly #path: string;
  #last: State | undefined;
  #written = 0;
  #broken = false;

  /** @param name of the file, without its ending */
  constructor(name: string) {
    const state = process.env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state');
    this.#path = join(state, 'scalingnote', `${name}.json`);
  }

  /** What was kept; `undefined` where nothing was, or it can't be read. */
  read(): State | undefined {
    try {
      return JSON.parse(readFileSync(this.#path, 'utf8')) as State;
    } catch {
      return undefined;
    }
  }

  /** Keeps a state: on the disk if the last one was written a while ago. */
  write(state: State): void {
    this.#last = state;
    if (Date.now() - this.#written >= INTERVAL_MS) this.flush();
  }

  /** Writes the last state now. A folder that can't be written does not stop the command. */
  flush(): void {
    if (this.#last === undefined || this.#broken) return;
    this.#written = Date.now();
    const draft = `${this.#path}.${process.pid}`;
    try {
      mkdirSync(dirname(this.#path), { recursive: true });
      writeFileSync(draft, JSON.stringify(this.#last));
      renameSync(draft, this.#path);
    } catch (error) {
      this.#broken = true;
      note(`how far this came can't be kept: ${(error as Error).message}`);
    }
  }

  /** Removes it: all is done. */
  remove(): void {
    this.#last = undefined;
    if (!this.#broken) rmSync(this.#path, { force: true });
  }
}
