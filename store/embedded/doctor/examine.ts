import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { DatabaseSyncInstance } from '@photostructure/sqlite';
import { StoreError } from '../../errors.ts';
import { APPLICATION_ID } from '../database.ts';
import { DATABASE_FILE, MARKER_FILE, readMarker, writeMarker } from '../presence.ts';
import { examineCollections } from './collections.ts';
import { openToRead, processesWith, readHeader, storeBytes } from './files.ts';
import { type Examination, type Finding, megabytes, SALVAGE, unreadable } from './findings.ts';

/** Errors of the integrity check to show: the first few say what is the matter. */
const INTEGRITY_ERRORS = 20;

/** What `PRAGMA integrity_check` says of an index that does not agree with its table. */
const INDEX_ERROR = /missing from index|wrong # of entries in index|non-unique entry in index/;

/** Free space is worth a word past this share of the database, and this many bytes. */
const MUCH_FREE_SHARE = 0.25;
const MUCH_FREE_BYTES = 1024 * 1024;

/** Examines the store of a folder. It changes nothing. */
export function examine(directory: string): Examination {
  const path = join(directory, DATABASE_FILE);
  const findings: Finding[] = [];
  const found: Examination = {
    directory,
    bytes: storeBytes(directory),
    freeBytes: 0,
    documents: 0,
    passages: 0,
    openIn: processesWith(path),
    findings,
  };
  if (!existsSync(directory)) {
    findings.push({
      check: 'folder',
      level: 'fault',
      message: `${directory} is not there`,
      fix: 'name the folder of the store with --data, or bring it back from a backup',
    });
    return found;
  }
  const marker = examineMarker(directory, findings);
  examineLeftovers(directory, found, findings);
  if (!existsSync(path)) {
    findings.push({
      check: 'database',
      level: marker === undefined ? 'note' : 'damage',
      message:
        marker === undefined
          ? `${directory} holds no store yet`
          : `${path} is missing, but ${MARKER_FILE} says that store ${marker} was there`,
      fix:
        marker === undefined
          ? 'the first start of a service makes one'
          : `bring the folder back from a backup, or remove ${join(directory, MARKER_FILE)} to start with an empty store`,
    });
    return found;
  }
  const header = readHeader(path);
  if (!header.isDatabase) {
    findings.push({
      check: 'header',
      level: 'damage',
      message: `the first page of ${path} is damaged: it does not begin like a database`,
      fix: 'bring the folder back from a backup; rows can be salvaged only where the first page can be read',
    });
    return found;
  }
  const { size } = statSync(path);
  // While another process merges the log, the file grows after its header says so.
  if (size < header.pages * header.pageSize && found.openIn?.length === 0) {
    findings.push({
      check: 'size',
      level: 'damage',
      message: `${path} has ${size} bytes, but should have ${header.pages * header.pageSize}: its end is missing`,
      fix: `bring the folder back from a backup; ${SALVAGE}`,
    });
  }
  const database = openToRead(path);
  try {
    examineDatabase(database, found, marker);
  } catch (error) {
    findings.push(unreadable('the database', error));
  } finally {
    database.close();
  }
  return found;
}

function examineDatabase(
  database: DatabaseSyncInstance,
  found: Examination,
  marker: string | undefined,
): void {
  const { findings, directory } = found;
  const number = (sql: string): number => Number(Object.values(database.prepare(sql).get() as object)[0]);
  if (number('PRAGMA application_id') !== APPLICATION_ID) {
    findings.push({
      check: 'header',
      level: 'damage',
      message: `${join(directory, DATABASE_FILE)} is a database of another program`,
      fix: 'name the folder of the store with --data, or bring it back from a backup',
    });
    return;
  }
  found.version = number('PRAGMA user_version');
  found.freeBytes = number('PRAGMA freelist_count') * number('PRAGMA page_size');
  examineIdentity(database, found, marker);
  examineIntegrity(database, findings);
  examineCollections(database, found);
  if (found.freeBytes > MUCH_FREE_BYTES && found.freeBytes > MUCH_FREE_SHARE * found.bytes) {
    findings.push({
      check: 'free-space',
      level: 'note',
      message: `${megabytes(found.freeBytes)} of ${megabytes(found.bytes)} in ${directory} are free`,
      fix: 'new documents use them; "scalingnote doctor --compact" gives them back to the disk',
    });
  }
}

function examineIdentity(
  database: DatabaseSyncInstance,
  found: Examination,
  marker: string | undefined,
): void {
  const { directory, findings } = found;
  const hasId = database.prepare(`SELECT 1 FROM sqlite_schema WHERE name = 'store'`).get() !== undefined;
  const row = hasId
    ? (database.prepare('SELECT id FROM store').get() as { id: string } | undefined)
    : undefined;
  if (row) found.storeId = row.id;
  const path = join(directory, MARKER_FILE);
  if (marker === undefined && row) {
    findings.push({
      check: 'marker',
      level: 'note',
      message: `${path} is missing, so a loss of the database could be taken for a first start`,
      fix: 'the next start of a service writes it, and so does "scalingnote doctor --repair"',
      repair: () => writeMarker(directory, row.id),
    });
  }
  if (marker !== undefined && marker !== row?.id) {
    findings.push({
      check: 'marker',
      level: 'damage',
      message: `${DATABASE_FILE} is store ${row?.id ?? 'without an id'}, but ${path} says ${marker}`,
      fix: `bring the right ${DATABASE_FILE} back, or remove ${path} if this one was put there on purpose`,
    });
  }
}

function examineIntegrity(database: DatabaseSyncInstance, findings: Finding[]): void {
  const rows = database.prepare(`PRAGMA integrity_check(${INTEGRITY_ERRORS})`).all() as {
    integrity_check: string;
  }[];
  const errors = rows.map(({ integrity_check: line }) => line).filter((line) => line !== 'ok');
  const ofIndexes = errors.filter((line) => INDEX_ERROR.test(line));
  const others = errors.filter((line) => !INDEX_ERROR.test(line));
  if (others.length > 0) {
    findings.push({
      check: 'integrity',
      level: 'damage',
      message: `pages of the database are damaged: ${others.join('; ').replaceAll('\n', ' ')}`,
      fix: `bring the folder back from a backup; ${SALVAGE}`,
    });
  }
  if (ofIndexes.length > 0) {
    findings.push({
      check: 'indexes',
      level: 'damage',
      message: `indexes do not agree with their tables: ${ofIndexes.join('; ')}`,
      fix: '"scalingnote doctor --repair" builds them again from the tables',
      // Where pages are damaged, writing to the file makes it worse.
      ...(others.length === 0 && { repair: (writable: DatabaseSyncInstance) => writable.exec('REINDEX') }),
    });
  }
  const foreign = database.prepare('PRAGMA foreign_key_check').all();
  if (foreign.length > 0) {
    findings.push({
      check: 'aliases',
      level: 'fault',
      message: `${foreign.length} aliases lead to collections that are not there`,
      fix: '"scalingnote doctor --repair" removes them',
      repair: (writable) =>
        writable.exec('DELETE FROM aliases WHERE collection NOT IN (SELECT id FROM collections)'),
    });
  }
}

function examineMarker(directory: string, findings: Finding[]): string | undefined {
  try {
    return readMarker(directory);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    findings.push({ check: 'marker', level: 'damage', message: error.message, fix: 'as it says' });
    return undefined;
  }
}

function examineLeftovers(directory: string, found: Examination, findings: Finding[]): void {
  const drafts = readdirSync(directory).filter((file) => file.startsWith(`${MARKER_FILE}.`));
  if (drafts.length > 0) {
    findings.push({
      check: 'leftovers',
      level: 'note',
      message: `${drafts.join(', ')}: left over from a process that ended while it wrote ${MARKER_FILE}`,
      fix: '"scalingnote doctor --repair" removes them',
      repair: () => {
        for (const file of drafts) rmSync(join(directory, file), { force: true });
      },
    });
  }
  const log = statSync(join(directory, `${DATABASE_FILE}-wal`), { throwIfNoEntry: false });
  if (log !== undefined && log.size > 0 && found.openIn?.length === 0) {
    findings.push({
      check: 'log',
      level: 'note',
      message: `${DATABASE_FILE}-wal holds ${megabytes(log.size)} from a process that did not close the store`,
      fix: 'nothing: what it holds is durable, and the next start takes it over; never remove it',
    });
  }
}
