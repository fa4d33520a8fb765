import type { DatabaseSyncInstance } from '@photostructure/sqlite';

/** Something that is not as it should be. */
export interface Finding {
  /** Stable name of what was found. */
  check: string;
  /**
   * - `damage`: something can't be read, or is not what was written.
   * - `fault`: everything can be read, and something contradicts something else.
   * - `note`: nothing is wrong.
   */
  level: 'damage' | 'fault' | 'note';
  /** What was found. */
  message: string;
  /** What to do about it. */
  fix: string;
  /** Mends it; absent where {@link repair} can't. */
  repair?: (database: DatabaseSyncInstance) => void;
}

/** What a folder holds. */
export interface Examination {
  directory: string;
  /** Id of the store; absent where there is none that can be read. */
  storeId?: string;
  /** `user_version` of the file. */
  version?: number;
  /** Bytes of all files of the store. */
  bytes: number;
  /** Bytes inside the database that nothing uses. */
  freeBytes: number;
  documents: number;
  passages: number;
  /** Processes that have the store open; `undefined` where this system does not tell. */
  openIn: number[] | undefined;
  findings: Finding[];
}

/** How to keep what can still be read. */
export const SALVAGE =
  '"scalingnote doctor --salvage FILE" copies every row that can be read into a new file';

/** Something can't be read. */
export function unreadable(what: string, error: unknown): Finding {
  return {
    check: 'readable',
    level: 'damage',
    message: `${what} can't be read: ${error instanceof Error ? error.message : String(error)}`,
    fix: `bring the folder back from a backup; ${SALVAGE}`,
  };
}

/** Bytes as people read them. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
