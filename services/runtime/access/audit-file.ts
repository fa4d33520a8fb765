import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';
import type { Logger } from 'pino';
import { ConfigError } from '../setting-types.ts';
import { AuditLog } from './audit.ts';

/** Older files that are kept beside the one that is written: `audit.log.1` is the youngest. */
const KEPT_FILES = 4;
const MIB = 1024 * 1024;

/**
 * Opens the audit log: a file of mode 0600, which rotates at its size, or standard error. A line is written before its
 * call is answered, so that nothing is done that is not written down.
 *
 * @returns `undefined` where the settings ask for none
 * @throws {ConfigError} where the file can't be written
 */
export function openAuditLog(
  { auditLog: path, auditMib }: { auditLog?: string | undefined; auditMib: number },
  log: Logger,
): { log: AuditLog; close(): void } | undefined {
  if (path === undefined) return undefined;
  if (path === '-') return { log: new AuditLog((line) => process.stderr.write(line)), close: () => {} };
  const open = (): number => openSync(path, 'a', 0o600);
  let file: number;
  try {
    file = open();
  } catch (error) {
    throw new ConfigError(`--audit-log: ${(error as Error).message}`, { cause: error });
  }
  let size = fstatSync(file).size;
  let failing = false;
  const rotate = (): void => {
    closeSync(file);
    for (let age = KEPT_FILES; age >= 1; age--) {
      try {
        renameSync(age === 1 ? path : `${path}.${age - 1}`, `${path}.${age}`);
      } catch (error) {
        // There are not so many yet.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
    file = open();
    size = 0;
  };
  const append = (line: string): void => {
    try {
      if (size > 0 && size + line.length > auditMib * MIB) rotate();
      size += writeSync(file, line);
      failing = false;
    } catch (error) {
      // A disk that is full must not stop the service; that lines are missing must not go unseen.
      if (!failing) log.error({ err: error }, 'the audit log can’t be written');
      failing = true;
    }
  };
  return { log: new AuditLog(append), close: () => closeSync(file) };
}
