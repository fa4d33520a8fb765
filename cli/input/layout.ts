import { CliError } from '../output/print.ts';
import { CsvScanner } from './csv-scanner.ts';
import type { Input } from './input.ts';

/** How documents are written in a source, as `--format` names it. */
export const FORMATS = ['jsonl', 'json', 'csv', 'tsv', 'parquet'] as const;
export type Format = (typeof FORMATS)[number];

/** How a source is to be read. */
export type Layout = { format: 'jsonl' | 'json' | 'parquet' } | { format: 'csv'; delimiter: string };

/** What the caller says about the source; what he does not say is recognised. */
export interface LayoutHints {
  format?: Format | undefined;
  delimiter?: string | undefined;
  /** Columns of which one has to be there: the identifier. */
  idColumns: readonly string[];
}

/** Delimiters that are tried; any other has to be named. */
const DELIMITERS = [',', '\t', ';', '|'];

/** Records that have to have as many fields as the first, where no column is known. */
const RECORDS_COMPARED = 5;

/** Lines among which a JSON object is looked for. */
const LINES_TRIED = 20;

/** First bytes of files that people have beside their documents. */
const OTHERS: readonly [magic: string, what: string][] = [
  ['PK\x03\x04', 'a ZIP archive (or an Office document); unpack it, or export it as CSV'],
  ['PK\x05\x06', 'an empty ZIP archive'],
  ['\xfd7zXZ\0', 'packed with xz; unpack it, or pack it with gzip, zstd or bzip2'],
  ['7z\xbc\xaf\x27\x1c', 'a 7z archive; unpack it'],
  ['\x04\x22\x4d\x18', 'packed with lz4; unpack it, or pack it with gzip, zstd or bzip2'],
  ['%PDF', 'a PDF; extract its text first'],
  ['\x89PNG', 'an image (PNG)'],
  ['\xff\xd8\xff', 'an image (JPEG)'],
  ['GIF8', 'an image (GIF)'],
  ['SQLite format 3\0', 'an SQLite database; export a table as CSV'],
  ['Obj\x01', 'Avro; convert it to Parquet or JSON Lines'],
  ['ORC', 'ORC; convert it to Parquet or JSON Lines'],
  ['ARROW1', 'Arrow; convert it to Parquet'],
  ['\xff\xfe', 'text in UTF-16; convert it to UTF-8'],
  ['\xfe\xff', 'text in UTF-16; convert it to UTF-8'],
];

/**
 * Recognises how a source is to be read, by what it holds: never by its name.
 *
 * @throws {CliError} where it is none of the formats, or not the one that was named
 */
export function layoutOf(input: Input, hints: LayoutHints): Layout {
  const layout = recognise(input, hints);
  if (typeof layout !== 'string') return layout;
  throw new CliError(`${input.name}: ${layout}`);
}

function recognise(input: Input, hints: LayoutHints): Layout | string {
  const { sample } = input;
  const named = hints.format ?? (hints.delimiter === undefined ? undefined : 'csv');
  const start = sample.toString('latin1', 0, 64);
  if (start.startsWith('PAR1')) {
    return named === undefined || named === 'parquet' ? { format: 'parquet' } : `is Parquet, not ${named}`;
  }
  const other = OTHERS.find(([magic]) => start.startsWith(magic));
  if (other !== undefined) return `is ${other[1]}`;
  if (named === 'parquet') return 'is not Parquet';
  if (tarMember(sample)) return 'is a tar archive; unpack it';
  if (sample.subarray(0, 4096).includes(0)) {
    return 'is no text and no Parquet; JSON Lines, a JSON array, CSV, TSV and Parquet are read';
  }
  const text = sample.toString('utf8').replace(/^\uFEFF/, '');
  if (named === 'jsonl' || named === 'json') return { format: named };
  if (named === 'csv' || named === 'tsv') {
    const delimiter = hints.delimiter ?? (named === 'tsv' ? '\t' : bestDelimiter(sample, hints.idColumns));
    return { format: 'csv', delimiter: delimiter ?? ',' };
  }
  // Nothing in it, or nothing that could be unpacked: reading says which.
  if (text.trim() === '') return { format: 'jsonl' };
  return recogniseText(text, sample, hints);
}

function recogniseText(text: string, sample: Buffer, { idColumns }: LayoutHints): Layout | string {
  const lines = text
    .split(/\r?\n/, LINES_TRIED + 1)
    .filter((line) => line.trim() !== '')
    .slice(0, LINES_TRIED);
  const [first = '', second] = lines;
  if (first.trimStart().startsWith('[')) {
    return isJson(first) && second !== undefined ? { format: 'jsonl' } : { format: 'json' };
  }
  if (first.trimStart().startsWith('{')) {
    if (first.trim() !== '{' || (second !== undefined && isJson(second))) return { format: 'jsonl' };
    return 'has a JSON object over several lines; write one object a line ("jq -c .") or one array';
  }
  if (lines.some((line) => line.trimStart().startsWith('{') && isJson(line))) return { format: 'jsonl' };
  const delimiter = bestDelimiter(sample, idColumns);
  if (delimiter !== undefined) return { format: 'csv', delimiter };
  return (
    'is none of the formats that are read: JSON Lines, a JSON array, CSV or TSV whose first line names the columns, ' +
    'Parquet; each also gzip, zstd or bzip2. If it is one, say so with --format and --delimiter'
  );
}

/** The delimiter that makes most columns of the first line, with an identifier among them, or else in every record. */
function bestDelimiter(sample: Buffer, idColumns: readonly string[]): string | undefined {
  let best: { delimiter: string; known: boolean; columns: number } | undefined;
  for (const delimiter of DELIMITERS) {
    const [header, ...records] = firstRecords(sample, delimiter);
    const columns = header?.length ?? 0;
    const known = header?.some((column) => idColumns.includes(column)) ?? false;
    const even = columns > 1 && records.every(({ length }) => length === columns);
    if (!known && !even) continue;
    if (
      best === undefined ||
      Number(known) > Number(best.known) ||
      (known === best.known && columns > best.columns)
    )
      best = { delimiter, known, columns };
  }
  return best?.delimiter;
}

function firstRecords(sample: Buffer, delimiter: string): string[][] {
  const records: string[][] = [];
  const mark = sample.subarray(0, 3).toString('latin1') === '\xef\xbb\xbf' ? 3 : 0;
  for (const read of new CsvScanner(delimiter).push(sample.subarray(mark, mark + 64 * 1024))) {
    if ('fields' in read) records.push(read.fields);
    if (records.length > RECORDS_COMPARED) return records;
  }
  // A short file without a line end.
  if (records.length === 0) return [sample.toString('utf8', mark).trimEnd().split(delimiter)];
  return records;
}

function isJson(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}

function tarMember(sample: Buffer): boolean {
  return sample.toString('latin1', 257, 262) === 'ustar';
}
