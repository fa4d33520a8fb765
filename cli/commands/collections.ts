import { Command, Option } from 'commander';
import { type Collection, DocumentClient } from '../../clients/index.ts';
import { asPercent } from '../familiarity.ts';
import { withDocumentAddress } from '../connection.ts';
import { interruptible } from '../interrupt.ts';
import { note, printResult, table, UsageError } from '../output/print.ts';
import { Progress } from '../output/progress.ts';
import { analysisIn, reanalyse, type Reanalysed } from '../reanalyse.ts';
import { type BackupFlags, checkBackupFlags, openExisting, storeConfig, withBackedUp } from '../stores.ts';
import { FIELD_TYPES, type FieldType, isFieldType } from '../../store/indexed-fields.ts';
import {
  DEFAULT_ANALYSIS,
  languageCode,
  lexicalFingerprint,
  newRecord,
  unstemmedNote,
} from '../../towers/lexical/analysis.ts';

interface Flags {
  json?: boolean;
  documentAddress: string;
}

function command(name: string): Command {
  return withDocumentAddress(new Command(name));
}

/** `scalingnote collections` */
export const collections = command('collections')
  .description('list collections')
  // It does something by itself, and has commands: a flag behind one of these is that command's.
  .enablePositionalOptions()
  .option('--json', 'print one JSON document')
  .action(async (flags: Flags) => {
    using client = new DocumentClient({ address: flags.documentAddress, waitForReady: false });
    const listed = await client.listCollections();
    const plain = listed.map((collection) => ({ ...collection, space: collection.space.fingerprint }));
    printResult(flags, plain, () =>
      listed.length === 0
        ? 'no collections yet; "scalingnote ingest FILE --collection NAME" makes one'
        : renderCollections(listed),
    );
  });

interface ReanalyseFlags extends BackupFlags {
  language?: string;
  keepDiacritics?: boolean;
  foldDiacritics?: boolean;
  json?: boolean;
}

/** `scalingnote collections reanalyse NAME` */
const reanalyseCommand = withBackedUp(new Command('reanalyse'))
  .description(
    'make new terms of the stored texts, for searches by words: stemming, prefixes, typing errors; nothing is encoded, and ' +
      'services may go on meanwhile',
  )
  .argument('<name>', 'the collection, by its alias or its physical name')
  .option(
    '--language <code>',
    'language of the texts: "auto" for that of each document, "none", or an ISO 639 code (default: as before, else auto)',
  )
  .addOption(
    new Option('--keep-diacritics', 'take e and é for different letters').conflicts('foldDiacritics'),
  )
  .option('--fold-diacritics', 'take e and é for the same (default: as before, else so)')
  .action(async (name: string, flags: ReanalyseFlags) => {
    checkBackupFlags(flags);
    const { store: kind, data, qdrantUrl: qdrant, language } = flags;
    const code = language === undefined ? undefined : languageCode(language);
    if (code !== language) {
      const fix = code === undefined ? '"auto", "none" or an ISO 639 code, as "en"' : `"${code}"`;
      throw new UsageError(`--language is "${language}"; give ${fix}`);
    }
    await interruptible('the same command begins again, and does no harm', async (signal) => {
      const store = await openExisting(storeConfig('store', { kind, data, qdrant }));
      try {
        const { analysis: record } = await store.findCollection(name, { signal });
        const before = analysisIn(record) ?? DEFAULT_ANALYSIS;
        const analysis = {
          language: language ?? before.language,
          keepDiacritics:
            flags.keepDiacritics === true || (flags.foldDiacritics !== true && before.keepDiacritics),
        };
        const unstemmed = unstemmedNote(analysis);
        if (unstemmed !== undefined) note(unstemmed);
        const progress = new Progress('analyse', 'documents');
        const report = await reanalyse({
          store,
          collection: name,
          analysis,
          signal,
          onProgress: (documents) => progress.update(documents),
        });
        progress.finish(report.documents);
        printResult(flags, report, () => renderReanalysed(name, report));
      } finally {
        await store.close();
      }
    });
  });

function renderReanalysed(
  name: string,
  { documents, withoutText, changed, analysis: { language, keepDiacritics } }: Reanalysed,
): string {
  const more = [
    `language ${language}`,
    `diacritics ${keepDiacritics ? 'kept' : 'folded'}`,
    ...(changed > 0 ? [`${changed} were written by others meanwhile`] : []),
    ...(withoutText > 0 ? [`${withoutText} have no stored texts and keep their terms: send them again`] : []),
  ];
  return `${documents} documents of "${name}" have new terms: ${more.join(', ')}`;
}

collections.addCommand(reanalyseCommand);

/** `metadata.pos:keyword`: the type is what follows the last colon, since a key in quotes may hold one. */
const INDEXED = /^(?<field>.+):(?<type>[^:"]*)$/s;

/** `scalingnote collections index NAME [FIELD:TYPE...]` */
const indexCommand = withBackedUp(new Command('index'))
  .description(
    'index metadata fields, which facets and orders need and filters are fastest on; without fields, list those that are ' +
      'indexed; services may go on meanwhile',
  )
  .argument('<name>', 'the collection, by its alias or its physical name')
  .argument('[fields...]', `as metadata.KEY:TYPE, with a TYPE of ${FIELD_TYPES.join(', ')}`)
  .action(async (name: string, given: readonly string[], flags: BackupFlags & { json?: boolean }) => {
    checkBackupFlags(flags);
    const fields = given.map(fieldAndType);
    const { store: kind, data, qdrantUrl: qdrant } = flags;
    await interruptible('the same command goes on', async (signal) => {
      const store = await openExisting(storeConfig('store', { kind, data, qdrant }));
      try {
        for (const [field, type] of fields) await store.indexField(name, field, type, { signal });
        const { indexedFields = {} } = await store.findCollection(name, { signal });
        printResult(flags, indexedFields, () =>
          Object.keys(indexedFields).length === 0
            ? `no field of "${name}" is indexed`
            : table(['indexed field', 'type'], Object.entries(indexedFields)),
        );
      } finally {
        await store.close();
      }
    });
  });

/** @throws {UsageError} */
function fieldAndType(given: string): [field: string, type: FieldType] {
  const { field = '', type = '' } = INDEXED.exec(given)?.groups ?? {};
  if (isFieldType(type)) return [field, type];
  throw new UsageError(`"${given}" is no metadata.KEY:TYPE; TYPE is ${FIELD_TYPES.join(', ')}`);
}

collections.addCommand(indexCommand);

/** Collections as a table, with the share of unknown tokens if any is known. */
export function renderCollections(listed: readonly (Collection & { unknownTokenShare?: number })[]): string {
  const asked = listed.some(({ unknownTokenShare }) => unknownTokenShare !== undefined);
  return table(
    [
      'collection',
      'documents',
      'passages',
      'words',
      'physical name',
      'space',
      ...(asked ? ['unknown tokens'] : []),
    ],
    listed.map(
      ({ name, readOnly, documents, passages, physicalName, space, analysis, unknownTokenShare }) => [
        readOnly === true ? `${name} (adopted, read only)` : name,
        documents,
        passages,
        readOnly === true ? 'none' : wordsOf(analysis),
        physicalName,
        space.fingerprint,
        ...(asked ? [unknownTokenShare === undefined ? '-' : asPercent(unknownTokenShare)] : []),
      ],
    ),
  );
}

/** How the words of a collection are matched, in a word or two. */
function wordsOf(analysis: Collection['analysis']): string {
  if (!analysis) return 'as written (reanalyse)';
  const { language, keepDiacritics, fingerprint, unfinished } = analysis;
  if (unfinished) return `${language} (unfinished)`;
  const today = lexicalFingerprint(newRecord({ language, keepDiacritics }));
  return fingerprint === today ? language : `${language}, by another version (reanalyse)`;
}

const listAliases = command('list')
  .description('list aliases and the physical collection that each points at')
  .action(async (flags: Flags) => {
    using client = new DocumentClient({ address: flags.documentAddress, waitForReady: false });
    const aliases = await client.listAliases();
    printResult(flags, Object.fromEntries(aliases), () =>
      aliases.size === 0
        ? 'no aliases yet; the first ingest makes one'
        : table(['alias', 'physical name'], [...aliases]),
    );
  });

const switchAlias = command('switch')
  .alias('set')
  .description('point an alias at a physical collection, in one step; creates the alias if needed')
  .argument('<alias>', 'the name that clients use')
  .argument('<physical>', 'the physical collection, as "scalingnote collections" shows it')
  .action(async (alias: string, physical: string, flags: Flags) => {
    using client = new DocumentClient({ address: flags.documentAddress, waitForReady: false });
    const { previous } = await client.switchAlias(alias, physical);
    const before = previous === undefined || previous === physical ? '' : `; before, at ${previous}`;
    const result = { alias, physicalName: physical, previous: previous ?? null };
    printResult(flags, result, () => `${alias} points at ${physical}${before}`);
  });

/** `scalingnote alias list|switch` */
export const alias = new Command('alias')
  .description('list or switch aliases: the names of collections that clients use')
  .addCommand(listAliases)
  .addCommand(switchAlias);

/** `scalingnote drop PHYSICAL` */
export const drop = command('drop')
  .description('delete a physical collection with everything in it; this cannot be undone')
  .argument('<physical>', 'the physical collection, as "scalingnote collections" shows it')
  .option(
    '--with-aliases',
    'also delete the aliases that point at it; without this flag they prevent the drop',
  )
  .action(async (physical: string, flags: Flags & { withAliases?: boolean }) => {
    using client = new DocumentClient({ address: flags.documentAddress, waitForReady: false });
    const { aliases } = await client.dropCollection(physical, { withAliases: flags.withAliases ?? false });
    const gone = aliases.length === 0 ? '' : ` and the aliases ${aliases.join(', ')}`;
    printResult(flags, { physicalName: physical, aliases }, () => `dropped ${physical}${gone}`);
  });
