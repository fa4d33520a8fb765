/** A record that can't be read, as it stands in its source: text, or bytes that are no text. */
export type Raw = string | Buffer;

/** One record of a source, as its owner counts records, or why it is none. */
export type Row = {
  /** Its number in the source, from 1. */
  record: number;
  /** The line that it begins on, from 1; in Parquet the number of the row. */
  line: number;
} & ({ value: unknown } | { problem: string; raw?: Raw | undefined });

/** A row of what `read` returns or throws. */
export function toRow(record: number, line: number, raw: Raw, read: () => unknown): Row {
  try {
    return { record, line, value: read() };
  } catch (error) {
    return { record, line, problem: (error as Error).message, raw };
  }
}

/** Counts the records of a source. */
export class RecordCount {
  /** Records up to this are passed over. */
  readonly after: number;
  /** The number of the last record, from 1. */
  record = 0;

  constructor(after = 0) {
    this.after = after;
  }

  /** Counts a record. @returns whether it is wanted */
  next(): boolean {
    return ++this.record > this.after;
  }
}
