import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { RecordOperation } from '../../clients/index.ts';
import { toRecord } from '../../clients/records.ts';
import { CliError, UsageError } from '../output/print.ts';
import { BrokenSource } from './broken-source.ts';
import type { ColumnType } from './columns.ts';
import { findFiles } from './find.ts';
import { Input, type Stamp, STANDARD_INPUT } from './input.ts';
import { type Format, layoutOf } from './layout.ts';
import { idColumns, type MapRule } from './mapping.ts';
import { type Raw, RecordCount, type Row } from './rows.ts';
import { PlannedSource } from './source.ts';

interface Located {
  /** Its place in the run: counted from 1 over all sources, and the same in every run over the same files. */
  sequence: number;
  /** Where it stands. */
  file: string;
  line: number;
}

/** A record of a run that could be read. */
export interface GoodRecord extends Located {
  operation: RecordOperation;
}

/** A record of a run that could not be read, and why. */
export interface BadRecord extends Located {
  problem: string;
  raw?: Raw | undefined;
}

/** One record of a run. */
export type SourceRecord = GoodRecord | BadRecord;

/** How the sources are to be read. What is not said is recognised. */
export interface DocumentsOptions {
  format?: Format | undefined;
  delimiter?: string | undefined;
  rules?: readonly MapRule[];
  types?: ReadonlyMap<string, ColumnType>;
  /** They will be read more than once: standard input is kept in a file meanwhile. */
  again?: boolean;
}

/** How far a run has come. */
export interface Progressed {
  /** Records up to this are passed over. */
  after: number;
  /** Records of the sources that were read to their ends, in order: these need not be read to be passed over. */
  counts: readonly number[];
}

/** Several sources of documents, one after the other. */
export class Documents {
  readonly #sources: readonly PlannedSource[];
  /** What columns become, for people: a line for all sources that have the same. */
  readonly plan: readonly string[];
  /** Sources that could not be read to their ends, and why; complete when the records have ended. */
  failures: string[] = [];
  /** Records of the sources that have been read to their ends, in order. */
  counts: number[] = [];
  #current: PlannedSource | undefined;

  private constructor(sources: readonly PlannedSource[], plan: readonly string[]) {
    this.#sources = sources;
    this.plan = plan;
  }

  /**
   * Finds the sources and looks at the head of each, so that what can't be read is refused before anything is made.
   *
   * @param args - files, folders, globs, or `-` for standard input
   * @throws {CliError} naming the source
   */
  static async open(args: readonly string[], options: DocumentsOptions = {}): Promise<Documents> {
    const { format, delimiter, rules = [], again = false } = options;
    const hints = { format, delimiter, idColumns: idColumns(rules) };
    const types = new Map(options.types);
    const sources: PlannedSource[] = [];
    /** Names of the sources, by what they become. */
    const plan = new Map<string, string[]>();
    for (const path of await findFiles(args)) {
      const input = await openInput(path, again);
      const layout = layoutOf(input, hints);
      try {
        const source = await PlannedSource.plan(input, layout, { rules, types });
        sources.push(source);
        const { description } = source;
        if (description !== undefined) plan.set(description, [...(plan.get(description) ?? []), input.name]);
      } catch (error) {
        throw new CliError(`${input.name}: ${(error as Error).message}`, { cause: error });
      }
      input.forget();
    }
    const unused = [...(options.types?.keys() ?? [])].find(
      (column) => !sources.some(({ columns }) => columns.includes(column)),
    );
    if (unused !== undefined && sources.length > 0) {
      throw new UsageError(`--columns names "${unused}", and no CSV or TSV source has it as metadata`);
    }
    return new Documents(sources, [...plan].map(describeSources));
  }

  /** What makes each source another one; `undefined` where standard input is among them. */
  get stamps(): readonly Stamp[] | undefined {
    const stamps = this.#sources.map(({ input }) => input.stamp);
    return stamps.every((stamp) => stamp !== undefined) ? stamps : undefined;
  }

  /** Whether a file is one of the sources. */
  has(path: string): boolean {
    return this.#sources.some(({ input }) => input.stamp?.path === resolve(path));
  }

  /** Share of the bytes that have been read, 0 to 1; `undefined` where nobody knows. */
  share(): number | undefined {
    let size = 0;
    let read = 0;
    for (const { input } of this.#sources) {
      if (input.stamp === undefined) return undefined;
      size += input.stamp.size;
      read += this.#isBehind(input) ? input.stamp.size : input.bytesRead;
    }
    return size === 0 ? undefined : read / size;
  }

  /**
   * Every record, source after source. A source that can't be read to its end is a failure; its whole records come, and
   * the next source goes on.
   */
  async *records({ after, counts }: Progressed = { after: 0, counts: [] }): AsyncGenerator<SourceRecord> {
    this.failures = [];
    this.counts = [];
    let base = 0;
    for (const [index, source] of this.#sources.entries()) {
      this.#current = source;
      const known = counts[index];
      if (known !== undefined && base + known <= after) {
        base += known;
        this.counts.push(known);
        continue;
      }
      const count = new RecordCount(Math.max(0, after - base));
      try {
        for await (const row of source.records(count)) yield toSourceRecord(row, base, source.input.name);
        if (this.failures.length === 0) this.counts.push(count.record);
      } catch (error) {
        if (!(error instanceof BrokenSource) && !isFileError(error)) throw error;
        this.failures.push(`${source.input.name}: ${(error as Error).message}`);
      }
      base += count.record;
    }
    this.#current = undefined;
  }

  #isBehind(input: Input): boolean {
    const at = this.#sources.findIndex((source) => source === this.#current);
    return at === -1 ? this.counts.length > 0 : this.#sources.findIndex((each) => each.input === input) < at;
  }
}

function describeSources([description, [first, ...more]]: [string, string[]]): string {
  return `${first}${more.length > 0 ? ` and ${more.length} more` : ''}: ${description}`;
}

async function openInput(path: string, again: boolean): Promise<Input> {
  if (path !== STANDARD_INPUT) return Input.file(path);
  if (!again) return Input.standardInput();
  const folder = mkdtempSync(join(tmpdir(), 'scalingnote-input-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const kept = join(folder, 'standard input');
  await pipeline(process.stdin, createWriteStream(kept));
  return Input.file(kept);
}

function isFileError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}

function toSourceRecord(row: Row, base: number, file: string): SourceRecord {
  const place = { sequence: base + row.record, file, line: row.line };
  if ('problem' in row) return { ...place, problem: row.problem, raw: row.raw };
  const read = toRecord(row.line, () => row.value);
  if ('problem' in read) return { ...place, problem: read.problem, raw: JSON.stringify(row.value) };
  return { ...place, operation: read.document };
}
