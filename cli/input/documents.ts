import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { parse } from 'csv-parse';
import type { DocumentInput } from '../../clients/index.ts';
import { CliError } from '../output/print.ts';

/** How documents are written in a file. */
export type Format = 'jsonl' | 'csv';

/** One record of a file: a document, or why it is none. `line` counts records from 1, empty ones included. */
export type DocumentRecord = { line: number } & ({ document: DocumentInput } | { problem: string });

const KEYS = new Set(['_id', 'id', 'title', 'text', 'metadata', 'version']);

const GZIP_MAGIC = [0x1f, 0x8b];

/**
 * Reads documents from a file, or from standard input where it is called `-`; gzip is told by its first bytes.
 *
 * JSON Lines: one object a line with `id` (or `_id`), `title`, `text`, `metadata`, `version`. CSV: the same as
 * columns, with `metadata.KEY` for metadata. A line that is none of it is a problem of its own; the rest goes on.
 *
 * @throws {CliError} where the file can't be read, or the head of a CSV file names no id
 */
export async function* readDocuments(
  file: string,
  format: Format | undefined,
): AsyncGenerator<DocumentRecord> {
  const bytes = await open(file);
  const chosen = format ?? (/\.csv(?:\.gz)?$/i.test(file) ? 'csv' : 'jsonl');
  try {
    yield* chosen === 'csv' ? readCsv(bytes) : readJsonLines(bytes);
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`${file}: ${(error as Error).message}`, { cause: error });
  }
}

async function* readJsonLines(bytes: Readable): AsyncGenerator<DocumentRecord> {
  let line = 0;
  for await (const text of createInterface({ input: bytes, crlfDelay: Infinity })) {
    line++;
    if (text.trim() === '') continue;
    try {
      yield { line, document: toDocument(JSON.parse(text.replace(/^\uFEFF/, '')) as unknown) };
    } catch (error) {
      yield { line, problem: (error as Error).message };
    }
  }
}

async function* readCsv(bytes: Readable): AsyncGenerator<DocumentRecord> {
  const rows = bytes.pipe(parse({ bom: true, columns: checkHead, relax_column_count: true }));
  bytes.on('error', (error) => rows.destroy(error));
  let line = 0;
  for await (const row of rows as AsyncIterable<Record<string, string>>) {
    line++;
    try {
      yield { line, document: toDocument(fromColumns(row)) };
    } catch (error) {
      yield { line, problem: (error as Error).message };
    }
  }
}

function checkHead(columns: string[]): string[] {
  const unknown = columns.find((column) => !KEYS.has(column) && !column.startsWith('metadata.'));
  if (unknown !== undefined) {
    throw new CliError(
      `column "${unknown}" is not known; call it "metadata.${unknown}" to keep it as metadata`,
    );
  }
  if (!columns.includes('id') && !columns.includes('_id')) {
    throw new CliError('the first line must name the columns, with "id" among them');
  }
  return columns;
}

function fromColumns(row: Readonly<Record<string, string>>): Record<string, unknown> {
  const object: Record<string, unknown> = {};
  const metadata: Record<string, string> = {};
  for (const [column, value] of Object.entries(row)) {
    if (column.startsWith('metadata.')) metadata[column.slice('metadata.'.length)] = value;
    else if (column === 'version') object[column] = value === '' ? 0 : Number(value);
    else object[column] = value;
  }
  return Object.keys(metadata).length > 0 ? { ...object, metadata } : object;
}

/** @throws {Error} naming the key and the fix */
function toDocument(value: unknown): DocumentInput {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Error('is not a JSON object; write {"id": ..., "title": ..., "text": ...}');
  }
  const object = value as Record<string, unknown>;
  const unknown = Object.keys(object).find((key) => !KEYS.has(key));
  if (unknown !== undefined) {
    throw new Error(`key "${unknown}" is not known; put it under "metadata" to keep it`);
  }
  const { _id, id = _id, title = '', text = '', metadata = {}, version = 0 } = object;
  if (typeof id !== 'string' || id === '') throw new Error('"id" must be a text that is not empty');
  if (typeof title !== 'string') throw new Error('"title" must be a text');
  if (typeof text !== 'string') throw new Error('"text" must be a text');
  if (typeof version !== 'number') throw new Error('"version" must be a number');
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) {
    throw new Error('"metadata" must be an object');
  }
  return { id, title, text, version, metadata: metadata as Record<string, unknown> };
}

async function open(file: string): Promise<Readable> {
  const source: Readable = file === '-' ? process.stdin : createReadStream(file);
  const first = await new Promise<Buffer | undefined>((resolve, reject) => {
    source.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        new CliError(
          error.code === 'ENOENT' ? `there is no file ${file}` : `can't read ${file}: ${error.message}`,
        ),
      ),
    );
    source.once('readable', () => {
      const chunk = source.read() as Buffer | null;
      if (chunk === null) resolve(undefined);
      else {
        source.unshift(chunk);
        resolve(chunk);
      }
    });
    source.once('end', () => resolve(undefined));
  });
  // A stream that has ended already would leave its reader waiting.
  if (first === undefined) return Readable.from([]);
  if (first[0] !== GZIP_MAGIC[0] || first[1] !== GZIP_MAGIC[1]) return source;
  const plain = new PassThrough();
  // A broken archive destroys `plain` with the reason, which whoever reads it then throws.
  pipeline(source, createGunzip(), plain).catch((error: Error) => plain.destroy(error));
  return plain;
}
