import { closeSync, fstatSync, openSync, renameSync, statSync, writeSync } from 'node:fs';
import type { Logger } from 'pino';
import { ConfigError } from '../setting-types.ts';
import { AuditLog } from './audit.ts';

/** Older files that are kept beside the one that is written: `audit.log.1` is the youngest. */
const KEPT_FILES = 4;
const MIB = 1024 * 1024;
/** How long a line waits for others, in milliseconds: what a process that is killed has not written yet. */
export const FLUSH_MS = 100;
/** Bytes that do not wait any longer. */
const FLUSH_BYTES = 64 * 1024;
/** Bytes that wait for a disk that takes none, at most; further lines are lost, and counted. */
export const MAX_WAITING_BYTES = 4 * MIB;

/** A log that is open. */
export interface OpenAudit {
  log: AuditLog;
  /** Adds a line, with its end. */
  append(line: string): void;
  /** Lines that could not be written. */
  readonly lost: number;
  /** Writes what waits. */
  close(): void;
}

/**
 * Opens the audit log: a file of mode 0600, which rotates at its size, or standard error. Lines of a tenth of a second are
 * written together; a process that ends, by a signal too, writes them first.
 *
 * @returns `undefined` where the settings ask for none
 * @throws {ConfigError} where the file can't be written
 */
export function openAuditLog(
  { auditLog: path, auditMib }: { auditLog?: string | undefined; auditMib: number },
  log: Logger,
): OpenAudit | undefined {
  if (path === undefined) return undefined;
  if (path === '-') {
    const append = (line: string): void => void process.stderr.write(line);
    return { log: new AuditLog(append), append, lost: 0, close: () => {} };
  }
  try {
    return new AuditFile(path, auditMib * MIB, log);
  } catch (error) {
    throw new ConfigError(`--audit-log: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * A file of lines that rotates. Several processes may write the same one: each looks, before it writes, whether another has
 * made it longer, or has begun a new one.
 */
class AuditFile implements OpenAudit {
  readonly log: AuditLog;
  lost = 0;
  readonly #path: string;
  readonly #maxBytes: number;
  readonly #errors: Logger;
  #file: number;
  #size: number;
  /** Whole lines, but for what is left of one that the disk has taken a part of. */
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Whether the disk has taken only a part of the line that is next. */
  #isTorn = false;
  /** Lines that were lost when the trouble began; absent while all is well. */
  #lostBefore: number | undefined;

  /** @throws where the file can't be written */
  constructor(path: string, maxBytes: number, errors: Logger) {
    this.#path = path;
    this.#maxBytes = maxBytes;
    this.#errors = errors;
    this.#file = openSync(path, 'a', 0o600);
    this.#size = fstatSync(this.#file).size;
    this.log = new AuditLog((line) => this.append(line));
    process.on('exit', this.#flush);
  }

  close(): void {
    clearTimeout(this.#timer);
    process.off('exit', this.#flush);
    this.#flush();
    closeSync(this.#file);
  }

  append(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#waitingBytes + bytes.length > MAX_WAITING_BYTES) {
      this.lost++;
      return;
    }
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    // While the disk takes nothing, it is asked once in a while, and not by every line.
    if (this.#waitingBytes >= FLUSH_BYTES && this.#lostBefore === undefined) this.#flush();
    else this.#timer ??= setTimeout(this.#flush, FLUSH_MS).unref();
  }

  readonly #flush = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      if (!this.#isTorn) this.#follow();
      while (this.#waiting.length > 0) this.#writeSome();
      if (this.#lostBefore !== undefined) {
        const lost = this.lost - this.#lostBefore;
        this.#lostBefore = undefined;
        this.#errors.warn({ lost }, 'the audit log is written again');
      }
    } catch (error) {
      // A disk that is full must not stop the service; that lines are missing must not go unseen.
      if (this.#lostBefore === undefined) {
        this.#lostBefore = this.lost;
        this.#errors.error({ err: error }, 'the audit log can’t be written');
      }
      this.#timer = setTimeout(this.#flush, FLUSH_MS).unref();
    }
  };

  /** Goes on where the file is now. */
  #follow(): void {
    const own = fstatSync(this.#file);
    const there = statSync(this.#path, { throwIfNoEntry: false });
    if (there?.ino === own.ino && there.dev === own.dev) this.#size = own.size;
    else this.#open();
  }

  #open(): void {
    const next = openSync(this.#path, 'a', 0o600);
    closeSync(this.#file);
    this.#file = next;
    this.#size = fstatSync(next).size;
  }

  /** Writes as many lines as fit into the file. */
  #writeSome(): void {
    let fitting = 0;
    let bytes = 0;
    for (const line of this.#waiting) {
      if (this.#size + bytes + line.length > this.#maxBytes && this.#size + bytes > 0) break;
      fitting++;
      bytes += line.length;
    }
    if (fitting === 0) {
      this.#rotate();
      return;
    }
    const written = writeSync(this.#file, Buffer.concat(this.#waiting.slice(0, fitting)));
    this.#size += written;
    this.#waitingBytes -= written;
    for (let left = written; left > 0;) {
      const [line] = this.#waiting;
      if (line!.length > left) {
        this.#waiting[0] = line!.subarray(left);
        this.#isTorn = true;
        return;
      }
      left -= line!.length;
      this.#waiting.shift();
    }
    this.#isTorn = false;
  }

  #rotate(): void {
    const path = this.#path;
    for (let age = KEPT_FILES; age >= 1; age--) {
      try {
        renameSync(age === 1 ? path : `${path}.${age - 1}`, `${path}.${age}`);
      } catch (error) {
        // There are not so many yet.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
    this.#open();
  }
}
