import { isUtf8 } from 'node:buffer';
import { type FileHandle, open } from 'node:fs/promises';
import {
  type AsyncBuffer,
  type FileMetaData,
  type ParquetParsers,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
} from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { NOT_UTF8 } from '../../clients/lines.ts';
import { parseJson } from '../../clients/records.ts';
import { BrokenSource } from './broken-source.ts';
import { RecordCount, type Row } from './rows.ts';

/** A Parquet file, open. */
export class ParquetFile {
  /** Its columns, in order. */
  readonly columns: readonly string[];
  readonly #handle: FileHandle;
  readonly #file: AsyncBuffer;
  readonly #metadata: FileMetaData;

  private constructor(handle: FileHandle, file: AsyncBuffer, metadata: FileMetaData) {
    this.#handle = handle;
    this.#file = file;
    this.#metadata = metadata;
    this.columns = parquetSchema(metadata).children.map(({ element }) => element.name);
  }

  /** @throws {BrokenSource} where its end is damaged or missing: there are the places of its columns */
  static async open(path: string): Promise<ParquetFile> {
    const handle = await open(path);
    try {
      const file = await bufferOf(handle);
      return new ParquetFile(
        handle,
        file,
        await parquetMetadataAsync(file, { parsers: PARSERS, geoparquet: false }),
      );
    } catch (error) {
      await handle.close();
      throw unreadable(error);
    }
  }

  /** How many rows it has. */
  get rowCount(): number {
    return Number(this.#metadata.num_rows);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  /**
   * Its rows, in order; memory holds one row group.
   *
   * @throws {BrokenSource} where a row group can't be read
   */
  async *rows(count = new RecordCount()): AsyncGenerator<Row> {
    let begin = 0;
    for (const group of this.#metadata.row_groups) {
      const end = begin + Number(group.num_rows);
      if (end > count.after) {
        const rowStart = Math.max(begin, count.after);
        const read = await this.#read(rowStart, end);
        for (const [index, value] of read.entries()) {
          const record = rowStart + index + 1;
          count.record = record;
          yield toRow(record, value);
        }
      }
      begin = end;
      count.record = end;
    }
  }

  async #read(rowStart: number, rowEnd: number): Promise<Record<string, unknown>[]> {
    try {
      return await parquetReadObjects({
        file: this.#file,
        metadata: this.#metadata,
        compressors,
        parsers: PARSERS,
        geoparquet: false,
        rowStart,
        rowEnd,
      });
    } catch (error) {
      throw unreadable(error);
    }
  }
}

function unreadable(error: unknown): BrokenSource {
  return new BrokenSource(`its Parquet data can't be read (${(error as Error).message})`, { cause: error });
}

async function bufferOf(handle: FileHandle): Promise<AsyncBuffer> {
  const { size } = await handle.stat();
  return {
    byteLength: size,
    slice: async (start, end = size) => {
      const from = start < 0 ? Math.max(0, size + start) : start;
      const bytes = new Uint8Array(Math.max(0, Math.min(end, size) - from));
      let done = 0;
      while (done < bytes.length) {
        const { bytesRead } = await handle.read(bytes, done, bytes.length - done, from + done);
        if (bytesRead === 0) throw new Error('unexpected end of file');
        done += bytesRead;
      }
      return bytes.buffer;
    },
  };
}

/** A value that has no form in JSON, and why. It becomes the problem of its row. */
class Unfit {
  readonly problem: string;

  constructor(problem: string) {
    this.problem = problem;
  }
}

/** A value that was JSON in the file: nulls and all keys stay as they are. */
class Json {
  readonly value: unknown;

  constructor(value: unknown) {
    this.value = value;
  }
}

/** Dates as ISO 8601, and texts that are what they were. */
const PARSERS: Partial<ParquetParsers> = {
  dateFromDays: (days) => new Date(days * 86_400_000).toISOString().slice(0, 10),
  timestampFromMilliseconds: (millis) => timestamp(millis, 1_000n, 3),
  timestampFromMicroseconds: (micros) => timestamp(micros, 1_000_000n, 6),
  timestampFromNanoseconds: (nanos) => timestamp(nanos, 1_000_000_000n, 9),
  stringFromBytes: (bytes) => textOf(bytes),
  jsonFromBytes: (bytes) => {
    const text = textOf(bytes);
    if (typeof text !== 'string') return text;
    try {
      return new Json(parseJson(text));
    } catch (error) {
      return new Unfit((error as Error).message);
    }
  },
};

function textOf(bytes: Uint8Array | undefined): string | Unfit | undefined {
  if (bytes === undefined) return undefined;
  if (!isUtf8(bytes)) return new Unfit(NOT_UTF8);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
}

/** Keeps what JavaScript's own dates drop below a millisecond. */
function timestamp(count: bigint, perSecond: bigint, digits: number): string | Unfit {
  const remainder = ((count % perSecond) + perSecond) % perSecond;
  const seconds = Number((count - remainder) / perSecond);
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return new Unfit(`is a time out of range, ${count}`);
  const fraction = remainder.toString().padStart(digits, '0').replace(/0+$/, '').padEnd(3, '0');
  return `${date.toISOString().slice(0, 19)}.${fraction}Z`;
}

function toRow(record: number, value: Record<string, unknown>): Row {
  try {
    return { record, line: record, value: toPlainObject(Object.entries(value)) };
  } catch (error) {
    return {
      record,
      line: record,
      problem: (error as Error).message,
      raw: JSON.stringify(value, withoutLoss),
    };
  }
}

/** @returns what JSON can hold; `undefined` for null @throws {Error} naming the column */
function toPlain(cell: unknown, path: string): unknown {
  if (cell === null || cell === undefined) return undefined;
  if (cell instanceof Json) return cell.value ?? undefined;
  if (cell instanceof Unfit) throw new Error(`"${path}" ${cell.problem}`);
  if (typeof cell === 'bigint') {
    const number = Number(cell);
    if (!Number.isSafeInteger(number)) {
      throw new Error(`"${path}": ${cell} is beyond 2^53, where numbers are not exact; write it as a text`);
    }
    return number;
  }
  if (typeof cell === 'number' && !Number.isFinite(cell)) {
    throw new Error(`"${path}" is ${cell}, which is no number of JSON; leave it empty`);
  }
  if (typeof cell !== 'object') return cell;
  if (cell instanceof Date) return cell.toISOString();
  if (cell instanceof Uint8Array) {
    throw new Error(`"${path}" holds bytes, not a text; write it as a column of type STRING`);
  }
  if (Array.isArray(cell) || ArrayBuffer.isView(cell)) {
    return Array.from(cell as unknown[], (item, index) => toPlain(item, `${path}[${index}]`) ?? null);
  }
  return toPlainObject(Object.entries(cell), `${path}.`);
}

/** Leaves out what is null. `fromEntries` keeps a key `__proto__`, which an assignment would lose. */
function toPlainObject(entries: [string, unknown][], prefix = ''): Record<string, unknown> {
  return Object.fromEntries(
    entries
      .map(([key, item]): [string, unknown] => [key, toPlain(item, `${prefix}${key}`)])
      .filter(([, plain]) => plain !== undefined),
  );
}

function withoutLoss(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint' || (typeof value === 'number' && !Number.isFinite(value)))
    return String(value);
  if (value instanceof Unfit) return null;
  if (value instanceof Json) return value.value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  return value;
}
