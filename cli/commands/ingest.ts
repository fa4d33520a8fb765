import { Command, Option } from 'commander';
import { DocumentClient, QueryClient, type TextAnalysis } from '../../clients/index.ts';
import { openTower } from '../../towers/open.ts';
import { withDocumentAddress, withQueryAddress } from '../connection.ts';
import { familiarityAdvice, unknownShare } from '../familiarity.ts';
import { Checkpoint, type Place } from '../input/checkpoint.ts';
import { parseColumnTypes } from '../input/columns.ts';
import { Documents } from '../input/documents.ts';
import { describeDryRun, dryRun } from '../input/dry-run.ts';
import { collect, notEmpty, positive } from '../input/flags.ts';
import { STANDARD_INPUT } from '../input/input.ts';
import { type Format, FORMATS } from '../input/layout.ts';
import { parseMapRules } from '../input/mapping.ts';
import { Problems } from '../input/problems.ts';
import { Rejects } from '../input/rejects.ts';
import { findCollection, Sender, type SendSummary } from '../input/send.ts';
import { describeDifferences, Expected, isEqual } from '../input/verify.ts';
import { interruptible } from '../interrupt.ts';
import { CliError, note, printResult, UsageError } from '../output/print.ts';

interface Flags {
  collection: string;
  tenant: string;
  format?: Format;
  delimiter?: string;
  map: string[];
  columns: string[];
  omitText?: boolean;
  bulk?: boolean;
  language?: string;
  keepDiacritics?: boolean;
  parallel: number;
  resume?: boolean;
  rejects?: string;
  verify?: boolean;
  deleteMissing?: boolean;
  dryRun?: boolean;
  documentTower: string;
  json?: boolean;
  documentAddress: string;
  queryAddress: string;
}

/** More streams than the service admits by default would wait for each other. */
const MAX_PARALLEL = 16;

/** `scalingnote ingest FILE...|-` */
export const ingest = withQueryAddress(withDocumentAddress(new Command('ingest')))
  .description('stream documents from files into a collection')
  .argument(
    '<source...>',
    'files, folders or globs: JSON Lines, a JSON array, CSV, TSV or Parquet, also packed with gzip, zstd or bzip2, recognised by what they hold; "-" for standard input',
  )
  .requiredOption('-c, --collection <name>', 'name of the collection; it is created if it does not exist')
  .option('--tenant <tenant>', 'tenant that owns the documents; empty for none', '')
  .addOption(
    new Option('--format <format>', 'format of the sources, where it is not recognised').choices(FORMATS),
  )
  .option('--delimiter <text>', 'what stands between the fields of a CSV source, where it is not recognised')
  .addOption(
    new Option(
      '--map <target=source>',
      'which column becomes what, e.g. id=sku or text=summary+body; repeat for more',
    )
      .argParser(collect)
      .default([], 'columns have the names of the parts'),
  )
  .addOption(
    new Option(
      '--columns <name=type,...>',
      'types of CSV columns: number, boolean, date or text; repeat for more',
    )
      .argParser(collect)
      .default([], 'by their first 1000 values'),
  )
  .option('--omit-text', 'store vectors and metadata, but no texts')
  .option(
    '--language <code>',
    'language of the texts in a new collection: "auto" for that of each document, "none", or an ISO 639 code (default: auto)',
    notEmpty,
  )
  .option('--keep-diacritics', 'in a new collection, take e and é for different letters')
  .option('--bulk', 'build the index once, at the end; faster for many documents')
  .option('--parallel <streams>', 'streams at once; the same id is always in the same stream', positive, 1)
  .option('--resume', 'continue where the last run of the same sources stopped')
  .option(
    '--rejects <file>',
    'keep every rejected record with its reason, as JSON Lines that can be loaded again',
  )
  .option(
    '--verify',
    'compare with the collection, and send what differs; with --dry-run, say what differs alone',
  )
  .option('--delete-missing', 'with --verify: delete what is in the collection and not in the sources')
  .option('--dry-run', 'read everything and estimate what loading it takes; load nothing')
  .addOption(
    new Option(
      '--document-tower <reference>',
      'with --dry-run: the tower that counts, and that the rate is measured with',
    )
      .env('SCALINGNOTE_DOCUMENT_TOWER')
      .default('all-MiniLM-L6-v2'),
  )
  .action(async (args: string[], flags: Flags) => {
    checkFlags(args, flags);
    const documents = await Documents.open(args, {
      format: flags.format,
      delimiter: flags.delimiter,
      rules: parseMapRules(flags.map),
      types: parseColumnTypes(flags.columns),
      again: flags.verify === true,
    });
    for (const line of documents.plan) note(line);
    if (flags.dryRun === true && flags.verify !== true) {
      await interruptible('nothing was loaded', (signal) => estimate(documents, flags, signal));
      return;
    }
    using client = new DocumentClient({ address: flags.documentAddress, waitForReady: false });
    const how = flags.verify === true ? reconcile : load;
    const advice = flags.verify === true ? 'start it again' : '"--resume" continues from here';
    await interruptible(advice, (signal) => how(client, documents, flags, signal));
    if (flags.dryRun === true) return;
    using queries = new QueryClient({ address: flags.queryAddress, waitForReady: false });
    const unknown = familiarityAdvice(flags.collection, await unknownShare(queries, flags));
    if (unknown !== undefined) note(unknown);
  });

/** @throws {UsageError} */
function checkFlags(args: readonly string[], flags: Flags): void {
  if (flags.resume === true && args.includes(STANDARD_INPUT)) {
    throw new UsageError('--resume needs files: standard input cannot be read twice');
  }
  if (flags.resume === true && (flags.verify === true || flags.dryRun === true)) {
    throw new UsageError('--resume goes on with a load; leave it out with --verify and --dry-run');
  }
  if (flags.deleteMissing === true && flags.verify !== true) {
    throw new UsageError('--delete-missing belongs to --verify');
  }
  if (flags.parallel > MAX_PARALLEL) throw new UsageError(`--parallel takes at most ${MAX_PARALLEL}`);
  if (flags.delimiter !== undefined && (flags.delimiter === '' || /["\r\n]/.test(flags.delimiter))) {
    throw new UsageError('--delimiter takes one character or more, and no quote or line end');
  }
  if (flags.delimiter !== undefined && flags.format !== undefined && !['csv', 'tsv'].includes(flags.format)) {
    throw new UsageError(`--delimiter belongs to CSV, and --format says ${flags.format}`);
  }
}

/** Loads all of it. What is durable is kept, however it ends. */
async function load(
  client: DocumentClient,
  documents: Documents,
  flags: Flags,
  signal: AbortSignal,
): Promise<void> {
  const { collection, tenant, omitText = false, bulk = false, parallel, resume = false } = flags;
  // An ingest waits for a service that goes away; one that was never there is reported at once.
  const { tower } = await client.describe();
  const { stamps } = documents;
  const target = [flags.documentAddress, tower.space.fingerprint, collection, tenant];
  const reading = [flags.format ?? '', flags.delimiter ?? '', ...flags.map, ...flags.columns];
  const checkpoint = stamps && new Checkpoint(stamps, [...target, ...reading]);
  const place = resume ? await placeOf(client, checkpoint, collection) : undefined;
  const rejects = openRejects(flags.rejects, documents, place !== undefined);
  const sender = new Sender(client, {
    problems: new Problems(rejects),
    collection,
    tenant,
    omitText,
    bulk,
    analysis: analysisOf(flags),
    parallel,
    checkpoint,
    signal,
    records: (from) => documents.records(from),
    counts: () => documents.counts,
    share: () => documents.share(),
    again: stamps !== undefined,
  });
  const summary = await sender.run(place);
  rejects?.close();
  if (documents.failures.length === 0) checkpoint?.remove();
  else checkpoint?.flush();
  finish(summary, documents.failures, flags);
}

/** What is asked of the collection's analysis; absent where no flag says anything. */
function analysisOf({ language, keepDiacritics }: Flags): TextAnalysis | undefined {
  if (language === undefined && keepDiacritics === undefined) return undefined;
  return { ...(language !== undefined && { language }), ...(keepDiacritics === true && { keepDiacritics }) };
}

/** Compares the sources with the collection, and sends what differs. */
async function reconcile(
  client: DocumentClient,
  documents: Documents,
  flags: Flags,
  signal: AbortSignal,
): Promise<void> {
  const { collection, tenant, omitText = false, bulk = false, parallel } = flags;
  await client.describe();
  const rejects = openRejects(flags.rejects, documents, false);
  const problems = new Problems(rejects);
  const expected = await Expected.of(documents.records(), (record) => problems.read(record), signal);
  const { failures } = documents;
  const found = await expected.compare(client, { collection, tenant, signal });
  const { extraIds, ...differences } = found;
  for (const line of describeDifferences(found)) note(line);
  const complete = problems.unreadable === 0 && failures.length === 0;
  const deletes = flags.deleteMissing === true ? extraIds : [];
  if (deletes.length > 0 && !complete) {
    throw new CliError(
      "nothing was deleted or sent: a document whose record can't be read would be deleted; mend the sources first",
    );
  }
  const summary =
    flags.dryRun === true || isEqual(found)
      ? undefined
      : await new Sender(client, {
          collection,
          tenant,
          omitText,
          bulk,
          analysis: analysisOf(flags),
          parallel,
          problems,
          signal,
          records: () => expected.toSend(documents.records(), deletes),
          counts: () => [],
          share: () => undefined,
          again: true,
        }).run();
  rejects?.close();
  const unreadable = problems.unreadable;
  printResult(flags, { collection, ...differences, unreadable, ...summary }, () =>
    isEqual(found)
      ? `no difference: ${found.same} documents, in "${collection}"`
      : describeSent(summary, collection),
  );
  const rejected = summary?.rejected ?? 0;
  const complaints = [
    ...failures,
    ...(unreadable > 0 ? [`${unreadable} records could not be read, and were not compared`] : []),
    ...(rejected > 0 ? [`${rejected} documents were rejected`] : []),
    ...(flags.dryRun === true && !isEqual(found) ? [`"${collection}" differs from the sources`] : []),
  ];
  if (complaints.length > 0) throw new CliError(complaints.join('; '));
}

function describeSent(summary: SendSummary | undefined, collection: string): string {
  if (summary === undefined) return `nothing was sent to "${collection}"`;
  const { indexed, unchanged, deleted, rejected } = summary;
  return `${indexed} indexed, ${unchanged} unchanged, ${deleted} deleted, ${rejected} rejected, in "${collection}"`;
}

/** Reads everything, and says what loading it takes. */
async function estimate(documents: Documents, flags: Flags, signal: AbortSignal): Promise<void> {
  const rejects = openRejects(flags.rejects, documents, false);
  const problems = new Problems(rejects);
  const tower = await openTower(flags.documentTower);
  try {
    const run = await dryRun(documents, tower, signal, (record) => problems.read(record));
    rejects?.close();
    const { failures } = documents;
    printResult(flags, { ...run, tower: tower.manifest.name, ...(failures.length > 0 && { failures }) }, () =>
      describeDryRun(run, tower.manifest.name),
    );
    if (failures.length > 0) throw new CliError(failures.join('; '));
  } finally {
    await tower.close();
  }
}

/** Where the last run got to, if what it put in is still there. */
async function placeOf(
  client: DocumentClient,
  checkpoint: Checkpoint | undefined,
  collection: string,
): Promise<Place | undefined> {
  const place = checkpoint?.read();
  if (place === undefined) return undefined;
  const now = await findCollection(client, collection);
  if (now?.identity !== place.identity) {
    const what =
      now === undefined ? 'is not there any more' : 'was dropped and made again, or restored, since';
    note(`"${collection}" ${what}; starting at the beginning`);
    return undefined;
  }
  if (place.after > 0) note(`continuing after record ${place.after}`);
  return place;
}

/** @throws {CliError} where it can't be written */
function openRejects(path: string | undefined, documents: Documents, more: boolean): Rejects | undefined {
  if (path === undefined) return undefined;
  if (documents.has(path)) throw new UsageError(`--rejects ${path} is one of the sources; name another file`);
  return new Rejects(path, { more });
}

function finish(summary: SendSummary, failures: readonly string[], flags: Flags): void {
  const { collection } = flags;
  const { indexed, unchanged, deleted, rejected, sent } = summary;
  const counts = [
    `${indexed} indexed`,
    `${unchanged} unchanged`,
    ...(deleted > 0 ? [`${deleted} deleted`] : []),
  ];
  printResult(
    flags,
    { collection, ...summary, ...(failures.length > 0 && { failures }) },
    () => `${[...counts, `${rejected} rejected`].join(', ')}, in "${collection}"`,
  );
  const refused =
    rejected > 0 ? [`${rejected} of ${sent} documents were rejected; all others were accepted`] : [];
  const problems = [...failures, ...refused];
  if (problems.length > 0) throw new CliError(problems.join('; '));
}
