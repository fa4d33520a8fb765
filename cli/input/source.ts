import { BrokenSource } from './broken-source.ts';
import { type ColumnType, TypeGuess, typed } from './columns.ts';
import { csvRows } from './csv-rows.ts';
import type { Input } from './input.ts';
import { jsonArrayRows, jsonLineRows } from './json-rows.ts';
import type { Layout } from './layout.ts';
import {
  applyRules,
  bindColumns,
  bindKeys,
  describeRules,
  isValue,
  type MapRule,
  valueAt,
} from './mapping.ts';
import { ParquetFile } from './parquet-rows.ts';
import { wrappedRecord } from './rejects.ts';
import { RecordCount, type Row } from './rows.ts';

/** Records that are looked at before anything is loaded: for the types of columns, and the keys that rules name. */
const SAMPLE_RECORDS = 1000;

/** Sets of keys whose rules are kept. */
const MAX_SIGNATURES = 1000;

/** What the caller wants of columns. */
export interface ColumnWishes {
  rules: readonly MapRule[];
  /** Types that the caller has stated, and types of columns in sources before this one. */
  types: Map<string, ColumnType>;
}

/** A source, with the way to read it decided. */
export class PlannedSource {
  readonly input: Input;
  readonly layout: Layout;
  /** Which column becomes what, in one line; `undefined` where records stand in the source as they are sent. */
  readonly description: string | undefined;
  /** Columns of text whose values have a type. */
  readonly columns: readonly string[];
  readonly #read: (count: RecordCount) => AsyncIterable<Row>;

  private constructor(
    input: Input,
    layout: Layout,
    description: string | undefined,
    read: (count: RecordCount) => AsyncIterable<Row>,
    columns: readonly string[] = [],
  ) {
    this.columns = columns;
    this.input = input;
    this.layout = layout;
    this.description = description;
    this.#read = read;
  }

  /** Looks at the head of a source, and decides. @throws {Error} what is wrong with its columns, without its name */
  static async plan(input: Input, layout: Layout, wishes: ColumnWishes): Promise<PlannedSource> {
    if (layout.format === 'csv') return this.#planCsv(input, layout, wishes);
    if (layout.format === 'parquet') return this.#planParquet(input, layout, wishes.rules);
    return this.#planJson(input, layout, wishes.rules);
  }

  /** Its records, which it counts. @throws {BrokenSource} after all that is whole */
  records(count = new RecordCount()): AsyncIterable<Row> {
    return this.#read(count);
  }

  static async #planCsv(
    input: Input,
    layout: Layout & { format: 'csv' },
    { rules, types }: ColumnWishes,
  ): Promise<PlannedSource> {
    const { delimiter } = layout;
    let columns: readonly string[] | undefined;
    const head = await firstRows(
      (bytes) => csvRows(bytes, delimiter, new RecordCount(), (named) => (columns = named)),
      input,
    );
    // A source without a single line has no columns, and no documents either.
    if (columns === undefined)
      return new PlannedSource(input, layout, undefined, () => csvRows(input.bytes(), delimiter));
    const bound = bindColumns(columns, rules);
    for (const rule of bound.filter(isValue)) {
      const [column = ''] = rule.sources;
      if (types.has(column)) continue;
      const guess = new TypeGuess();
      for (const row of head) {
        if ('value' in row) guess.add((row.value as Record<string, string>)[column] ?? '');
      }
      types.set(column, guess.type);
    }
    const valued = new Set(bound.filter(isValue).flatMap(({ sources }) => sources));
    const toRecord = (value: unknown): unknown => {
      const row = value as Record<string, string>;
      return applyRules(bound, (column) =>
        valued.has(column) ? typed(row[column]!, types.get(column) ?? 'text', column) : row[column],
      );
    };
    const description = describeRules(bound, (column) => types.get(column));
    const read = (count: RecordCount): AsyncIterable<Row> =>
      mapped(csvRows(input.bytes(), delimiter, count), toRecord);
    return new PlannedSource(input, layout, description, read, [...valued]);
  }

  static async #planParquet(input: Input, layout: Layout, rules: readonly MapRule[]): Promise<PlannedSource> {
    const path = await input.unpackedFile();
    const first = await ParquetFile.open(path);
    const { columns } = first;
    await first.close();
    const bound = bindColumns(columns, rules);
    const toRecord = (value: unknown): unknown =>
      applyRules(bound, (column) => (value as Record<string, unknown>)[column]);
    const rows = async function* (count: RecordCount): AsyncGenerator<Row> {
      const file = await ParquetFile.open(path);
      try {
        yield* mapped(file.rows(count), toRecord);
      } finally {
        await file.close();
      }
    };
    return new PlannedSource(
      input,
      layout,
      describeRules(bound, () => undefined),
      rows,
    );
  }

  static async #planJson(input: Input, layout: Layout, rules: readonly MapRule[]): Promise<PlannedSource> {
    const rowsOf = layout.format === 'json' ? jsonArrayRows : jsonLineRows;
    if (rules.length === 0) {
      return new PlannedSource(input, layout, undefined, (count) =>
        mapped(rowsOf(input.bytes(), count), (value) => wrappedRecord(value) ?? value),
      );
    }
    const objects = (await firstRows((bytes) => rowsOf(bytes), input)).flatMap((row) =>
      'value' in row && isObject(row.value) && wrappedRecord(row.value) === undefined ? [row.value] : [],
    );
    const missing = rules
      .flatMap(({ sources }) => sources)
      .find(
        (source) => objects.length > 0 && objects.every((object) => valueAt(object, source) === undefined),
      );
    if (missing !== undefined) {
      const keys = [...new Set(objects.flatMap((object) => Object.keys(object)))].slice(0, 40);
      throw new Error(
        `--map names "${missing}", and none of the first ${objects.length} records has it; they have ${keys.join(', ')}`,
      );
    }
    const bound = new ObjectRules(rules);
    const toRecord = (value: unknown): unknown => {
      if (!isObject(value)) return value;
      return wrappedRecord(value) ?? applyRules(bound.for(value), (source) => valueAt(value, source));
    };
    const others = 'other keys → metadata';
    const description = `${describeRules(rules, () => undefined)}, ${others}`;
    return new PlannedSource(input, layout, description, (count) =>
      mapped(rowsOf(input.bytes(), count), toRecord),
    );
  }
}

/** Objects differ in their keys: the keys that no rule names are bound as columns are. */
class ObjectRules {
  readonly #rules: readonly MapRule[];
  readonly #sources: readonly string[];
  /** By the keys that an object has. */
  readonly #bound = new Map<string, readonly MapRule[]>();

  constructor(rules: readonly MapRule[]) {
    this.#rules = rules;
    this.#sources = rules.flatMap(({ sources }) => sources);
  }

  for(object: Record<string, unknown>): readonly MapRule[] {
    const keys = Object.keys(object);
    const signature = JSON.stringify(keys);
    const known = this.#bound.get(signature);
    if (known !== undefined) return known;
    const roots = new Set(
      this.#sources.map((source) => (Object.hasOwn(object, source) ? source : source.split('.')[0]!)),
    );
    const rest = keys.filter((key) => !roots.has(key));
    const bound = bindKeys([...this.#sources, ...rest], this.#rules);
    if (this.#bound.size < MAX_SIGNATURES) this.#bound.set(signature, bound);
    return bound;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

async function* mapped(rows: AsyncIterable<Row>, toRecord: (value: unknown) => unknown): AsyncGenerator<Row> {
  for await (const row of rows) {
    if (!('value' in row)) {
      yield row;
      continue;
    }
    const { record, line, value } = row;
    try {
      yield { record, line, value: toRecord(value) };
    } catch (error) {
      yield { record, line, problem: (error as Error).message, raw: JSON.stringify(value) };
    }
  }
}

/** The first records of a source, from its sample alone. */
async function firstRows(
  read: (bytes: AsyncIterable<Buffer>) => AsyncIterable<Row>,
  input: Input,
): Promise<Row[]> {
  const rows: Row[] = [];
  try {
    for await (const row of read(sampleBytes(input))) {
      rows.push(row);
      if (rows.length >= SAMPLE_RECORDS) break;
    }
  } catch (error) {
    // The sample of a long source ends anywhere.
    if (!(error instanceof BrokenSource) || (input.whole && rows.length === 0)) throw error;
  }
  // So does its last record.
  if (!input.whole && rows.length < SAMPLE_RECORDS) rows.pop();
  return rows;
}

async function* sampleBytes(input: Input): AsyncGenerator<Buffer> {
  yield input.sample;
}
