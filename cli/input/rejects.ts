import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import type { RecordOperation } from '../../clients/index.ts';
import { CliError } from '../output/print.ts';
import type { Raw } from './rows.ts';

/** Where a rejected record stands, and why it was rejected. */
export interface Rejection {
  reason: string;
  file: string;
  line: number;
}

/**
 * A file of rejected records, as JSON Lines that can be loaded again: `{"rejected": {"reason", "file", "line"},
 * "record": {...}}` where the record could be read, and the same with `"raw"` (its text) or `"raw_base64"` (its bytes)
 * where it could not.
 */
export class Rejects {
  readonly #path: string;
  readonly #file: number;

  /** @param more - adds to what is in the file, because a run goes on @throws {CliError} */
  constructor(path: string, { more }: { more: boolean }) {
    this.#path = path;
    this.#file = this.#do(() => openSync(path, 'a'));
    if (!more) this.clear();
  }

  /** Forgets what was rejected so far: all records are sent again. @throws {CliError} */
  clear(): void {
    this.#do(() => ftruncateSync(this.#file));
  }

  /** Keeps a record that the service rejected. @throws {CliError} */
  record(rejection: Rejection, operation: RecordOperation): void {
    this.#write({ rejected: rejection, record: recordOf(operation) });
  }

  /** Keeps a record that can't be read. @throws {CliError} */
  raw(rejection: Rejection, raw: Raw | undefined): void {
    const kept = typeof raw === 'string' ? { raw } : { raw_base64: raw?.toString('base64') };
    this.#write({ rejected: rejection, ...kept });
  }

  /** @throws {CliError} */
  close(): void {
    this.#do(() => closeSync(this.#file));
  }

  /** At once: whoever rejects does not wait, and there may be millions. */
  #write(line: unknown): void {
    this.#do(() => writeSync(this.#file, `${JSON.stringify(line)}\n`));
  }

  #do<T>(step: () => T): T {
    try {
      return step();
    } catch (error) {
      throw new CliError(`can't write ${this.#path}: ${(error as Error).message}`, { cause: error });
    }
  }
}

/** An operation as a record of a file. */
function recordOf(operation: RecordOperation): object {
  if (!('expiresAt' in operation) || operation.expiresAt === undefined) return operation;
  const { expiresAt, ...record } = operation;
  return { ...record, expires_at: expiresAt.toISOString() };
}

/**
 * The record that a line of {@link Rejects} keeps; `undefined` for what is no such line.
 *
 * @throws {Error} where it keeps none that could be read
 */
export function wrappedRecord(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, 'rejected')) return undefined;
  const { rejected, record } = value as { rejected: unknown; record?: unknown };
  if (typeof rejected !== 'object' || rejected === null || Object.keys(value).length > 2) return undefined;
  if (Object.hasOwn(value, 'record')) return record;
  const { reason = '' } = rejected as { reason?: unknown };
  throw new Error(`was rejected before (${String(reason)}); mend it, and write it as "record"`);
}
