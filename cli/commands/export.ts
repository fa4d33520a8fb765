import { Command, Option } from 'commander';
import { type Collection, DocumentClient, type FullDocument } from '../../clients/index.ts';
import { transportFailure, withDocumentAddress } from '../connection.ts';
import { filterOf, withFilter } from '../input/flags.ts';
import { interruptible } from '../interrupt.ts';
import { CliError, note, printResult, UsageError } from '../output/print.ts';
import { Progress } from '../output/progress.ts';
import {
  EXPORT_FORMATS,
  type ExportFormat,
  type RecordWriter,
  recordWriter,
} from '../output/record-writers.ts';
import { openSink, ReaderGone } from '../output/sink.ts';
import { SAMPLE_COLLECTION } from '../sample/wordnet.ts';

interface Flags {
  collection: string;
  tenant?: string;
  allTenants?: boolean;
  filter: string[];
  vectors?: boolean;
  withoutText?: boolean;
  format?: ExportFormat;
  out?: string;
  json?: boolean;
  documentAddress: string;
}

/** `scalingnote export` */
export const exportCommand = withFilter(withDocumentAddress(new Command('export')))
  .description(
    'write the documents of a collection as they came, for "scalingnote ingest -" or other programs',
  )
  .option('-c, --collection <name>', 'name of the collection', SAMPLE_COLLECTION)
  .option('--tenant <tenant>', 'tenant that owns the documents (default: none)')
  .option('--all-tenants', 'documents of all tenants; each record says whose it is')
  .option('--vectors', 'also the passages with their vectors and terms')
  .option('--without-text', 'leave texts out: the only way where they are not stored')
  .addOption(
    new Option('--format <format>', 'format (default: parquet if --out ends so, otherwise jsonl)').choices(
      EXPORT_FORMATS,
    ),
  )
  .option('-o, --out <file>', 'file to write; it appears when it is whole (default: standard output)')
  .action(async (flags: Flags) => {
    if (flags.allTenants === true && flags.tenant !== undefined) {
      throw new UsageError('give --tenant or --all-tenants, one of the two');
    }
    if (flags.json === true && flags.out === undefined) {
      throw new UsageError('--json prints a summary where the documents go; give --out FILE, too');
    }
    using client = new DocumentClient({ address: flags.documentAddress, waitForReady: false });
    await interruptible('nothing was kept; export again', (signal) => run(client, flags, signal));
  });

async function run(client: DocumentClient, flags: Flags, signal: AbortSignal): Promise<void> {
  const { collection, tenant = '', allTenants = false, vectors = false, withoutText = false, out } = flags;
  const { format = /\.parquet$/i.test(out ?? '') ? 'parquet' : 'jsonl' } = flags;
  const filter = filterOf(flags.filter);
  let began: Collection | undefined;
  const documents = client.exportDocuments({
    collection,
    allTenants,
    filter,
    withVectors: vectors,
    signal,
    ...(allTenants ? {} : { tenant }),
    onBegin: (found) => (began = found),
    onReconnect: (error, waitMs) =>
      note(`${transportFailure(error)}; trying again in ${Math.ceil(waitMs)} ms`),
  });
  // Nothing is written before the first document has come: a collection without texts is refused first.
  const first = await documents.next();
  if (first.done !== true) requireText(first.value, withoutText);
  const sink = await openSink(out);
  try {
    const writer = recordWriter(format, sink, { vectors, withoutText, tenant: allTenants });
    const expected = filter === undefined && allTenants ? began?.documents : undefined;
    const exported = await writeAll(first, documents, writer, { withoutText, expected });
    await writer.finish();
    await sink.finish();
    const summary = { collection, identity: began?.identity, documents: exported, format, out };
    if (out !== undefined) printResult(flags, summary, () => `${exported} documents in ${out}`);
  } catch (error) {
    await sink.discard();
    if (!(error instanceof ReaderGone)) throw error;
  }
}

async function writeAll(
  first: IteratorResult<FullDocument, void>,
  rest: AsyncIterable<FullDocument>,
  writer: RecordWriter,
  { withoutText, expected }: { withoutText: boolean; expected: number | undefined },
): Promise<number> {
  const progress = new Progress('export', 'documents');
  let done = 0;
  const write = async (document: FullDocument): Promise<void> => {
    requireText(document, withoutText);
    await writer.add(document);
    progress.update(++done, expected);
  };
  if (first.done === true) return 0;
  await write(first.value);
  for await (const document of rest) await write(document);
  progress.finish(done);
  return done;
}

/** @throws {CliError} for a document whose text can't be exported */
function requireText({ id, missingText }: FullDocument, withoutText: boolean): void {
  if (withoutText || missingText === undefined) return;
  const why =
    missingText === 'omitted'
      ? 'its text was kept out of the store (--omit-text)'
      : 'only passages of it are stored, no whole text: others wrote it, or a version before 0.2.0';
  throw new CliError(
    `document ${JSON.stringify(id)} can't be exported as it came: ${why}; ingest it again, or give --without-text ` +
      'for everything but texts (and --vectors for vectors)',
  );
}
