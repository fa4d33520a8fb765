import { CsvScanner, type DelimitedRecord } from './csv-scanner.ts';
import { BrokenSource } from './broken-source.ts';
import { RecordCount, type Row } from './rows.ts';

/** The byte order mark of UTF-8. */
const MARK = Buffer.from([0xef, 0xbb, 0xbf]);

/**
 * Records of delimited text under a line that names the columns: objects of texts.
 *
 * @param onColumns - called with the names of the columns
 * @throws {BrokenSource} where the first line names no columns
 */
export async function* csvRows(
  bytes: AsyncIterable<Buffer>,
  delimiter: string,
  count = new RecordCount(),
  onColumns?: (columns: readonly string[]) => void,
): AsyncGenerator<Row> {
  const scanner = new CsvScanner(delimiter);
  let columns: string[] | undefined;
  const rowsOf = function* (read: Iterable<DelimitedRecord>): Generator<Row> {
    for (const each of read) {
      if (columns === undefined) {
        columns = headerOf(each);
        onColumns?.(columns);
      } else if (count.next()) {
        yield toRow(count.record, each, columns);
      }
    }
  };
  let first = true;
  for await (const chunk of bytes) {
    yield* rowsOf(
      scanner.push(
        first && chunk.subarray(0, MARK.length).equals(MARK) ? chunk.subarray(MARK.length) : chunk,
      ),
    );
    first = false;
  }
  yield* rowsOf(scanner.finish());
}

/** @throws {BrokenSource} */
function headerOf(first: DelimitedRecord): string[] {
  if ('problem' in first)
    throw new BrokenSource(`line ${first.line}, which names the columns, ${first.problem}`);
  const twice = first.fields.find((column, index) => first.fields.indexOf(column) < index);
  if (twice !== undefined) {
    throw new BrokenSource(
      `line ${first.line} names the column "${twice}" twice; give one of them another name`,
    );
  }
  const nameless = first.fields.indexOf('');
  if (nameless !== -1)
    throw new BrokenSource(`line ${first.line} gives column ${nameless + 1} no name; give it one`);
  return first.fields;
}

function toRow(record: number, read: DelimitedRecord, columns: readonly string[]): Row {
  const { line } = read;
  if ('problem' in read) return { record, line, problem: read.problem, raw: read.raw };
  const { fields } = read;
  if (fields.length !== columns.length) {
    const problem = `has ${fields.length} fields, and the first line names ${columns.length} columns`;
    return { record, line, problem, raw: read.raw() };
  }
  if (fields.every((field, index) => field === columns[index])) {
    return {
      record,
      line,
      problem: 'is the line that names the columns, once more; remove it',
      raw: read.raw(),
    };
  }
  return { record, line, value: Object.fromEntries(columns.map((column, index) => [column, fields[index]])) };
}
