import { Command, Option } from 'commander';
import {
  DocumentClient,
  type IngestOperation,
  type IngestSummary,
  QueryClient,
} from '../../clients/index.ts';
import { transportFailure, withDocumentAddress, withQueryAddress } from '../connection.ts';
import { familiarityAdvice, unknownShare } from '../familiarity.ts';
import { Checkpoint } from '../input/checkpoint.ts';
import { type DocumentFile, type Format, openDocuments } from '../input/documents.ts';
import { interruptible } from '../interrupt.ts';
import { clip, CliError, note, printResult, UsageError } from '../output/print.ts';
import { Progress } from '../output/progress.ts';

interface Flags {
  collection: string;
  tenant: string;
  format?: Format;
  omitText?: boolean;
  bulk?: boolean;
  resume?: boolean;
  json?: boolean;
  documentAddress: string;
  queryAddress: string;
}

/** Rejected documents that are shown one by one; the rest is counted. */
const REJECTED_SHOWN = 20;

/** Characters of an identifier that are shown. */
const ID_WIDTH = 64;

/** `scalingnote ingest FILE|-` */
export const ingest = withQueryAddress(withDocumentAddress(new Command('ingest')))
  .description('stream documents from a file into a collection')
  .argument('<file>', 'JSON Lines or CSV, plain or gzipped; "-" for standard input')
  .requiredOption('-c, --collection <name>', 'name of the collection; it is created if it does not exist')
  .option('--tenant <tenant>', 'tenant that owns the documents; empty for none', '')
  .addOption(
    new Option(
      '--format <format>',
      'format of the file (default: csv if its name says so, otherwise jsonl)',
    ).choices(['jsonl', 'csv']),
  )
  .option('--omit-text', 'store vectors and metadata, but no texts')
  .option('--bulk', 'build the index once, at the end; faster for many documents')
  .option('--resume', 'continue where the last run of the same file stopped')
  .action(async (file: string, flags: Flags) => {
    if (flags.resume === true && file === '-') {
      throw new UsageError('--resume needs a file: standard input cannot be read twice');
    }
    const documents = await openDocuments(file, flags.format);
    using client = new DocumentClient({ address: flags.documentAddress });
    const run = new IngestRun(client, file, documents, flags);
    await interruptible('"--resume" continues from here', (signal) => run.run(signal));
    using queries = new QueryClient({ address: flags.queryAddress });
    const advice = familiarityAdvice(flags.collection, await unknownShare(queries, flags));
    if (advice !== undefined) note(advice);
  });

class IngestRun {
  readonly #client: DocumentClient;
  readonly #file: string;
  readonly #documents: DocumentFile;
  readonly #flags: Flags;
  readonly #progress = new Progress('ingest', 'documents');
  #done = 0;
  #unreadable = 0;
  #rejected = 0;

  constructor(client: DocumentClient, file: string, documents: DocumentFile, flags: Flags) {
    this.#client = client;
    this.#file = file;
    this.#documents = documents;
    this.#flags = flags;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { collection, tenant, omitText = false, bulk = false } = this.#flags;
    const checkpoint = await this.#checkpoint();
    const after = this.#flags.resume === true ? await this.#resumeAfter(checkpoint) : 0;
    try {
      const summary = await this.#client.ingest(this.#operations(after), {
        collection,
        tenant,
        omitText,
        bulk,
        signal,
        onOutcome: ({ sequence, id, kind, error }) => {
          if (kind === 'rejected') this.#reject(sequence, error?.message ?? '', id);
          else this.#advance();
        },
        onWatermark: (watermark) => checkpoint?.write(watermark),
        onReconnect: (error, waitMs) =>
          note(`${transportFailure(error)}; trying again in ${Math.ceil(waitMs)} ms`),
      });
      checkpoint?.remove();
      this.#finish(summary);
    } catch (error) {
      checkpoint?.flush();
      throw error;
    }
  }

  async #checkpoint(): Promise<Checkpoint | undefined> {
    // An ingest waits for a service that goes away; one that was never there is reported at once.
    const { tower } = await this.#client.describe();
    if (this.#file === '-') return undefined;
    const { documentAddress, collection, tenant } = this.#flags;
    return new Checkpoint(this.#file, [documentAddress, tower.space.fingerprint, collection, tenant]);
  }

  /** The line that the last run got to, if what it put in is still there. */
  async #resumeAfter(checkpoint: Checkpoint | undefined): Promise<number> {
    const collections = await this.#client.listCollections();
    if (!collections.some(({ name }) => name === this.#flags.collection)) return 0;
    const after = checkpoint?.read() ?? 0;
    if (after > 0) note(`continuing after line ${after}`);
    return after;
  }

  async *#operations(after: number): AsyncGenerator<IngestOperation> {
    for await (const record of this.#documents.records(after)) {
      if ('problem' in record) {
        this.#unreadable++;
        this.#reject(record.line, record.problem);
      } else {
        yield { ...record.document, sequence: record.line };
      }
    }
  }

  #advance(): void {
    const share = this.#documents.share() ?? 0;
    this.#done++;
    this.#progress.update(this.#done, share > 0 ? Math.round(this.#done / share) : undefined);
  }

  #reject(line: number, problem: string, id?: string): void {
    this.#rejected++;
    if (this.#rejected > REJECTED_SHOWN + 1) return;
    if (this.#rejected > REJECTED_SHOWN) {
      note('more rejected documents are counted, but not shown');
      return;
    }
    const which = id === undefined ? '' : ` (${JSON.stringify(clip(id, ID_WIDTH))})`;
    note(`${this.#file}, line ${line}${which}: ${problem}`);
  }

  #finish(summary: IngestSummary): void {
    this.#progress.finish(this.#done);
    const total = {
      ...summary,
      sent: summary.sent + this.#unreadable,
      rejected: summary.rejected + this.#unreadable,
    };
    const { collection } = this.#flags;
    const { indexed, unchanged, rejected } = total;
    printResult(
      this.#flags,
      { collection, ...total },
      () => `${indexed} indexed, ${unchanged} unchanged, ${rejected} rejected, in "${collection}"`,
    );
    if (total.rejected > 0) {
      throw new CliError(
        `${total.rejected} of ${total.sent} documents were rejected; all others were accepted`,
      );
    }
  }
}
