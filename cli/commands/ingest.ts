import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import type { IngestOperation, IngestSummary } from '../../clients/index.ts';
import { usingDocuments, withDocumentAddress } from '../connection.ts';
import { type Format, readDocuments } from '../input/documents.ts';
import { CliError, note, printJson } from '../output/print.ts';
import { Progress } from '../output/progress.ts';

interface Flags {
  collection: string;
  tenant: string;
  format?: Format;
  omitText?: boolean;
  resume?: boolean;
  json?: boolean;
  documentAddress: string;
}

/** Rejected documents that are shown one by one; the rest is counted. */
const REJECTED_SHOWN = 20;

/** How often the place in the file is written down: losing a second of it costs a second of UNCHANGED. */
const CHECKPOINT_INTERVAL_MS = 500;

/** `scalingnote ingest FILE|-` */
export const ingest = withDocumentAddress(new Command('ingest'))
  .description('stream documents into a collection')
  .argument('<file>', 'JSON Lines or CSV, plain or gzipped; "-" for standard input')
  .requiredOption('-c, --collection <name>', 'collection; made if it is not there')
  .option('--tenant <tenant>', 'whose documents', '')
  .addOption(
    new Option('--format <format>', 'format of the file (default: by its name, else jsonl)').choices([
      'jsonl',
      'csv',
    ]),
  )
  .option('--omit-text', 'keep texts out of the store')
  .option('--resume', 'go on where the last run of the same file was broken off')
  .option('--json', 'print one JSON document')
  .action(async (file: string, flags: Flags) => {
    if (flags.resume === true && file === '-')
      throw new CliError('--resume needs a file, not standard input');
    const checkpoint = file === '-' ? undefined : new Checkpoint(file, flags);
    const after = flags.resume === true ? (checkpoint?.read() ?? 0) : 0;
    if (after > 0) note(`going on after record ${after}`);
    const stop = new AbortController();
    const interrupt = (): void => stop.abort(new CliError('interrupted; "--resume" goes on from here'));
    process.once('SIGINT', interrupt);
    process.once('SIGTERM', interrupt);
    const run = new IngestRun(file, flags, after);
    try {
      const summary = await usingDocuments(flags.documentAddress, (client) =>
        client.ingest(run.operations(), {
          collection: flags.collection,
          tenant: flags.tenant,
          omitText: flags.omitText ?? false,
          signal: stop.signal,
          onOutcome: ({ sequence, id, kind, error }) => {
            if (kind === 'rejected') run.reject(sequence, error?.message ?? '', id);
            else run.advance();
          },
          onWatermark: (watermark) => checkpoint?.write(watermark),
          onReconnect: (error, waitMs) =>
            note(`${(error as Error).message}; trying again in ${Math.ceil(waitMs)} ms`),
        }),
      );
      checkpoint?.remove();
      run.finish(summary, flags.json === true);
    } catch (error) {
      checkpoint?.flush();
      throw error;
    } finally {
      process.off('SIGINT', interrupt);
      process.off('SIGTERM', interrupt);
    }
  });

class IngestRun {
  readonly #file: string;
  readonly #flags: Flags;
  readonly #after: number;
  readonly #progress = new Progress('ingest', 'documents');
  #done = 0;
  #unreadable = 0;
  #rejected = 0;

  constructor(file: string, flags: Flags, after: number) {
    this.#file = file;
    this.#flags = flags;
    this.#after = after;
  }

  async *operations(): AsyncGenerator<IngestOperation> {
    for await (const record of readDocuments(this.#file, this.#flags.format)) {
      if (record.line <= this.#after) continue;
      if ('problem' in record) {
        this.#unreadable++;
        this.reject(record.line, record.problem);
      } else {
        yield { ...record.document, sequence: record.line };
      }
    }
  }

  advance(): void {
    this.#progress.update(++this.#done);
  }

  reject(line: number, problem: string, id?: string): void {
    this.#rejected++;
    if (this.#rejected > REJECTED_SHOWN) return;
    const which = id === undefined ? '' : ` (${JSON.stringify(id)})`;
    note(`${this.#file}, record ${line}${which}: ${problem}`);
    if (this.#rejected === REJECTED_SHOWN) note('more rejected documents are counted, but not shown');
  }

  finish(summary: IngestSummary, json: boolean): void {
    this.#progress.finish(this.#done);
    const total = {
      ...summary,
      sent: summary.sent + this.#unreadable,
      rejected: summary.rejected + this.#unreadable,
    };
    if (json) printJson({ collection: this.#flags.collection, ...total });
    else {
      process.stdout.write(
        `${total.indexed} indexed, ${total.unchanged} unchanged, ${total.rejected} rejected, in "${this.#flags.collection}"\n`,
      );
    }
    if (total.rejected > 0) {
      throw new CliError(`${total.rejected} of ${total.sent} documents were rejected; all others are in`);
    }
  }
}

/** Where in a file an ingest is, on disk, so that a run that was broken off can be taken up. */
class Checkpoint {
  readonly #path: string;
  readonly #stamp: string;
  #watermark = 0;
  #written = 0;

  constructor(file: string, flags: Flags) {
    const path = resolve(file);
    let stamp = '';
    try {
      const { size, mtimeMs } = statSync(path);
      stamp = `${size}-${mtimeMs}`;
    } catch {
      // Whoever opens the file says so, and better.
    }
    this.#stamp = stamp;
    const key = JSON.stringify([path, flags.documentAddress, flags.collection, flags.tenant]);
    const state = process.env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state');
    const name = `ingest-${createHash('sha256').update(key).digest('hex').slice(0, 16)}.json`;
    this.#path = join(state, 'scalingnote', name);
  }

  /** The watermark of the run that was broken off; 0 where there was none, or the file has changed since. */
  read(): number {
    try {
      const { stamp, watermark } = JSON.parse(readFileSync(this.#path, 'utf8')) as {
        stamp: string;
        watermark: number;
      };
      if (stamp === this.#stamp) return watermark;
      note('the file has changed since; starting at its beginning');
    } catch {
      note('no run of this file was broken off; starting at its beginning');
    }
    return 0;
  }

  write(watermark: number): void {
    this.#watermark = watermark;
    if (Date.now() - this.#written >= CHECKPOINT_INTERVAL_MS) this.flush();
  }

  flush(): void {
    if (this.#watermark === 0) return;
    this.#written = Date.now();
    mkdirSync(dirname(this.#path), { recursive: true });
    // A rename is whole or not there, whenever the power goes.
    const draft = `${this.#path}.${process.pid}`;
    writeFileSync(draft, JSON.stringify({ stamp: this.#stamp, watermark: this.#watermark }));
    renameSync(draft, this.#path);
  }

  remove(): void {
    rmSync(this.#path, { force: true });
  }
}
