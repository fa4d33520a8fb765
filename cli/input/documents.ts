import { createReadStream, type ReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { type CsvError, parse } from 'csv-parse';
import { MAX_LINE_BYTES } from '../../clients/lines.ts';
import { type DocumentRecord, RECORD_KEYS, readJsonLines, toRecord } from '../../clients/records.ts';
import { CliError } from '../output/print.ts';

/** How documents are written in a file. */
export type Format = 'jsonl' | 'csv';

/** A file of documents, open. */
export interface DocumentFile {
  /**
   * Its records, once. Ends with a {@link CliError} where the file can't be read to its end, or the head of a CSV file
   * is wrong.
   *
   * @param after - records up to this line are passed over
   */
  records(after: number): AsyncIterable<DocumentRecord>;
  /** Share of the file that has been read, 0 to 1; `undefined` for standard input. */
  share(): number | undefined;
}

/** First bytes of a gzip file (RFC 1952). */
const GZIP_MAGIC = [0x1f, 0x8b];

/**
 * Opens a file of documents, or standard input where it is called `-`; gzip is told by its first bytes.
 *
 * JSON Lines: one object a line with `id` (or `_id`), `title`, `text`, `metadata`, `version`. CSV: the same as
 * columns, with `metadata.KEY` for metadata. A line that is none of it is a problem of its own; the rest goes on.
 *
 * @param format - @default by the name of the file: `.csv`, else JSON Lines
 * @throws {CliError} where the file can't be opened
 */
export async function openDocuments(
  file: string,
  format: Format = /\.csv(?:\.gz)?$/i.test(file) ? 'csv' : 'jsonl',
): Promise<DocumentFile> {
  const { bytes, share } = await open(file);
  const read = format === 'csv' ? readCsv : readJsonLines;
  return { records: (after) => namingFile(file, read(bytes, after)), share };
}

async function* namingFile(
  file: string,
  records: AsyncIterable<DocumentRecord>,
): AsyncGenerator<DocumentRecord> {
  try {
    yield* records;
  } catch (error) {
    throw new CliError(`${file}: ${(error as Error).message}`, { cause: error });
  }
}

async function* readCsv(bytes: Readable, after: number): AsyncGenerator<DocumentRecord> {
  const unreadable: DocumentRecord[] = [];
  const rows = parse({
    columns: checkHead,
    info: true,
    max_record_size: MAX_LINE_BYTES,
    skip_empty_lines: true,
    // A stray quote stays in its field: rejecting it would lose the records after it.
    relax_quotes: true,
    skip_records_with_error: true,
    on_skip: (error: CsvError | undefined) => {
      const line = Number(error?.['lines'] ?? 0);
      if (line > after) unreadable.push({ line, problem: error?.message ?? 'is not CSV' });
      return undefined;
    },
  });
  // An error on the way destroys `rows`, so its reader gets the error.
  pipeline(Readable.from(decodeUtf8(bytes)), rows, () => {});
  for await (const row of rows as AsyncIterable<{
    record: Record<string, string>;
    info: { lines: number };
  }>) {
    yield* unreadable.splice(0);
    if (row.info.lines > after) yield toRecord(row.info.lines, () => fromColumns(row.record));
  }
  yield* unreadable;
}

/** @throws if bytes are not UTF-8. Which record they belong to is known only after decoding. */
async function* decodeUtf8(bytes: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let done = 0;
  try {
    for await (const chunk of bytes) {
      yield decoder.decode(chunk, { stream: true });
      done += chunk.length;
    }
    yield decoder.decode();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new Error(`holds bytes that are not UTF-8, after byte ${done}; convert the file to UTF-8`, {
      cause: error,
    });
  }
}

function checkHead(columns: string[]): string[] {
  const unknown = columns.find((column) => !RECORD_KEYS.has(column) && !column.startsWith('metadata.'));
  if (unknown !== undefined) {
    throw new Error(`column "${unknown}" is not known; call it "metadata.${unknown}" to keep it as metadata`);
  }
  if (!columns.includes('id') && !columns.includes('_id')) {
    throw new Error('the first line must name the columns, with "id" among them');
  }
  return columns;
}

function fromColumns(row: Readonly<Record<string, string>>): Record<string, unknown> {
  const object: Record<string, unknown> = {};
  const metadata: [key: string, value: string][] = [];
  for (const [column, value] of Object.entries(row)) {
    if (column.startsWith('metadata.')) metadata.push([column.slice('metadata.'.length), value]);
    else if (column === 'version') object[column] = value === '' ? 0 : Number(value);
    else object[column] = value;
  }
  return metadata.length > 0 ? { ...object, metadata: Object.fromEntries(metadata) } : object;
}

async function open(file: string): Promise<{ bytes: Readable; share: DocumentFile['share'] }> {
  const source: Readable = file === '-' ? process.stdin : createReadStream(file);
  const first = await firstChunk(file, source);
  const size = file === '-' ? 0 : (await stat(file)).size;
  const share = (): number | undefined => (size > 0 ? (source as ReadStream).bytesRead / size : undefined);
  // A stream that has ended already would leave its reader waiting.
  if (first === undefined) return { bytes: Readable.from([]), share };
  if (first[0] !== GZIP_MAGIC[0] || first[1] !== GZIP_MAGIC[1]) return { bytes: source, share };
  const plain = createGunzip();
  // A broken archive destroys `plain`, so its reader gets the error.
  pipeline(source, plain, () => {});
  // The error may come before anybody reads.
  plain.on('error', () => {});
  return { bytes: plain, share };
}

/** The first bytes, which stay in the stream; `undefined` where there are none. */
function firstChunk(file: string, source: Readable): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    source.once('error', (error: NodeJS.ErrnoException) => {
      const missing = error.code === 'ENOENT';
      reject(new CliError(missing ? `there is no file ${file}` : `can't read ${file}: ${error.message}`));
    });
    source.once('end', () => resolve(undefined));
    const look = (): void => {
      const chunk = source.read() as Buffer | null;
      if (chunk === null) return;
      source.off('readable', look);
      source.unshift(chunk);
      resolve(chunk);
    };
    source.on('readable', look);
  });
}
