import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import type { FullDocument } from '../../clients/index.ts';
import { type ExportRecord, type RecordParts, toRecord } from './records.ts';
import type { Sink } from './sink.ts';

/** Formats that an export writes. */
export const EXPORT_FORMATS = ['jsonl', 'parquet'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** Writes documents to a sink; holds a chunk in memory at most. */
export interface RecordWriter {
  add(document: FullDocument): Promise<void>;
  finish(): Promise<void>;
}

/** Bytes that are written at once: large enough that no call is felt. */
const CHUNK_BYTES = 256 * 1024;

/** Most rows and characters of a row group: readers take one whole, and so do we before it is written. */
const GROUP_ROWS = 10_000;
const GROUP_CHARACTERS = 8 * 1024 * 1024;

export function recordWriter(format: ExportFormat, sink: Sink, parts: RecordParts): RecordWriter {
  return format === 'jsonl' ? new JsonLinesWriter(sink, parts) : new ParquetRecordWriter(sink, parts);
}

class JsonLinesWriter implements RecordWriter {
  readonly #sink: Sink;
  readonly #parts: RecordParts;
  #lines: string[] = [];
  #length = 0;

  constructor(sink: Sink, parts: RecordParts) {
    this.#sink = sink;
    this.#parts = parts;
  }

  async add(document: FullDocument): Promise<void> {
    const line = `${JSON.stringify(toRecord(document, this.#parts))}\n`;
    this.#lines.push(line);
    this.#length += line.length;
    if (this.#length >= CHUNK_BYTES) await this.finish();
  }

  async finish(): Promise<void> {
    if (this.#length === 0) return;
    const chunk = this.#lines.join('');
    this.#lines = [];
    this.#length = 0;
    await this.#sink.write(chunk);
  }
}

/** A column of a Parquet file: its kind, and what of a record goes into it. */
interface Column {
  name: keyof ExportRecord;
  type: 'STRING' | 'JSON' | 'INT64' | 'TIMESTAMP';
  nullable?: boolean;
  value: (record: ExportRecord) => unknown;
}

/** Parquet in row groups; what is nested is a column of JSON. */
class ParquetRecordWriter implements RecordWriter {
  readonly #sink: Sink;
  readonly #parts: RecordParts;
  readonly #columns: Column[];
  readonly #bytes = new ByteWriter();
  readonly #file: ParquetWriter;
  #rows: ExportRecord[] = [];
  #characters = 0;

  constructor(sink: Sink, parts: RecordParts) {
    this.#sink = sink;
    this.#parts = parts;
    this.#columns = columnsOf(parts);
    this.#file = new ParquetWriter({
      writer: this.#bytes,
      schema: [
        { name: 'root', num_children: this.#columns.length },
        ...this.#columns.map(({ name, type, nullable = false }) => ({
          name,
          ...PARQUET_TYPES[type],
          repetition_type: nullable ? ('OPTIONAL' as const) : ('REQUIRED' as const),
        })),
      ],
      createdBy: 'scalingnote',
    });
  }

  async add(document: FullDocument): Promise<void> {
    const record = toRecord(document, this.#parts);
    this.#rows.push(record);
    this.#characters += (record.text?.length ?? 0) + passageCharacters(document, this.#parts);
    if (this.#rows.length >= GROUP_ROWS || this.#characters >= GROUP_CHARACTERS) await this.#group();
  }

  async finish(): Promise<void> {
    if (this.#rows.length > 0) await this.#group();
    await this.#file.finish();
    await this.#flush();
  }

  async #group(): Promise<void> {
    const rows = this.#rows;
    this.#rows = [];
    this.#characters = 0;
    await this.#file.write({
      rowGroupSize: rows.length,
      columnData: this.#columns.map(({ name, value }) => ({ name, data: rows.map(value) })),
    });
    await this.#flush();
  }

  async #flush(): Promise<void> {
    // The sink is done with the bytes when it answers; then their memory is used again.
    await this.#sink.write(this.#bytes.getBytes());
    this.#bytes.index = 0;
  }
}

const PARQUET_TYPES = {
  STRING: { type: 'BYTE_ARRAY', converted_type: 'UTF8' },
  JSON: { type: 'BYTE_ARRAY', converted_type: 'JSON' },
  INT64: { type: 'INT64' },
  TIMESTAMP: { type: 'INT64', converted_type: 'TIMESTAMP_MILLIS' },
} as const;

function columnsOf({ withoutText = false, vectors = false, tenant = false }: RecordParts): Column[] {
  const columns: (Column | false)[] = [
    { name: 'id', type: 'STRING', value: ({ id }) => id },
    { name: 'title', type: 'STRING', value: ({ title }) => title },
    !withoutText && { name: 'text', type: 'STRING', value: ({ text }) => text ?? '' },
    { name: 'metadata', type: 'JSON', value: ({ metadata }) => withoutPrototype(metadata) },
    { name: 'version', type: 'INT64', value: ({ version }) => BigInt(version) },
    {
      name: 'expires_at',
      type: 'TIMESTAMP',
      nullable: true,
      value: ({ expires_at: at }) => (at === undefined ? undefined : new Date(at)),
    },
    tenant && { name: 'tenant', type: 'STRING', value: (record) => record.tenant ?? '' },
    vectors && { name: 'passages', type: 'JSON', value: ({ passages = [] }) => passages },
  ];
  return columns.filter((column) => column !== false);
}

/**
 * The same keys in an object that the Parquet library passes on as it is: what has a prototype it copies key by key, and
 * loses a key `__proto__`.
 */
function withoutPrototype(metadata: object): object {
  return Object.setPrototypeOf({ ...metadata }, null) as object;
}

/** About how many characters the passages of a document take as JSON. */
function passageCharacters({ passages }: FullDocument, { vectors = false }: RecordParts): number {
  if (!vectors) return 0;
  return passages.reduce((sum, { text, vector }) => sum + text.length + 20 * (vector?.length ?? 0), 0);
}
