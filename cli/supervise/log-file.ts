import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

/** Bytes of a log file before a new one begins: some 20 000 lines, which an editor still opens at once. */
export const MAX_LOG_BYTES = 4 * 1024 * 1024;

/** Older files that are kept beside it: 16 MiB for each service, 48 MiB for the three of `up`. */
export const OLDER_LOGS = 3;

/** Its owner alone reads it: it names collections, documents and callers. */
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;

/** Sizes of a log, for tests. */
export interface LogSizes {
  maxBytes?: number;
  older?: number;
}

/**
 * The log of one service: `FILE`, and before it `FILE.1` (newer) to `FILE.3` (older). Its size is bounded. Writing never
 * throws: a full disk costs lines, which are counted, and no service.
 */
export class LogFile {
  readonly path: string;
  readonly #maxBytes: number;
  readonly #older: number;
  readonly #onLoss: (why: string) => void;
  #file: number | undefined;
  #bytes = 0;
  #lost = 0;
  /** Whether the last line was cut off by a full disk. */
  #torn = false;

  /** @param onLoss - is told once for each time that lines begin to be lost */
  constructor(
    path: string,
    onLoss: (why: string) => void,
    { maxBytes = MAX_LOG_BYTES, older = OLDER_LOGS }: LogSizes = {},
  ) {
    this.path = path;
    this.#onLoss = onLoss;
    this.#maxBytes = maxBytes;
    this.#older = older;
  }

  /** Appends a line. */
  write(line: string): void {
    try {
      this.#open();
      const missing = this.#lost === 0 ? '' : `${gap(this.#lost)}\n`;
      this.#append(`${this.#torn ? '\n' : ''}${missing}${line}\n`);
      this.#torn = false;
      this.#lost = 0;
    } catch (error) {
      if (this.#lost++ === 0) this.#onLoss((error as Error).message);
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #open(): void {
    if (this.#file !== undefined) return;
    mkdirSync(dirname(this.path), { recursive: true, mode: FOLDER_MODE });
    this.#file = openSync(this.path, 'a', FILE_MODE);
    this.#bytes = fstatSync(this.#file).size;
  }

  #append(text: string): void {
    const bytes = Buffer.from(text);
    if (this.#bytes > 0 && this.#bytes + bytes.length > this.#maxBytes) this.#rotate();
    for (let done = 0; done < bytes.length;) {
      const written = writeSync(this.#file!, bytes, done);
      done += written;
      this.#bytes += written;
      this.#torn = done < bytes.length;
    }
  }

  #rotate(): void {
    // Another "up" with the same folder may have begun a new file already: then this one goes on in that.
    if (isSameFile(this.#file!, this.path)) {
      try {
        for (let age = this.#older; age > 0; age--)
          moveIfThere(nameOf(this.path, age - 1), nameOf(this.path, age));
        if (this.#older === 0) ftruncateSync(this.#file!);
      } catch {
        // A folder that lets nobody rename must not let the file grow either.
        ftruncateSync(this.#file!);
      }
    }
    this.close();
    this.#open();
  }
}

/** Says in the log itself that lines are missing. */
function gap(lost: number): string {
  const msg = `${lost} lines before this one are missing: they could not be written`;
  return JSON.stringify({ level: 'warn', time: new Date().toISOString(), msg });
}

function nameOf(path: string, age: number): string {
  return age === 0 ? path : `${path}.${age}`;
}

function moveIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

function isSameFile(file: number, path: string): boolean {
  const named = statSync(path, { throwIfNoEntry: false });
  const { ino, dev } = fstatSync(file);
  return named?.ino === ino && named.dev === dev;
}
