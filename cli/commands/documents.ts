import { Command } from 'commander';
import { DocumentClient, type DocumentScope } from '../../clients/index.ts';
import { transportFailure, withDocumentAddress } from '../connection.ts';
import { filterOf, positive, withFilter } from '../input/flags.ts';
import { clip, CliError, note, printResult, UsageError } from '../output/print.ts';
import { SAMPLE_COLLECTION } from '../sample/wordnet.ts';

/** Characters of an identifier that are shown. */
const ID_WIDTH = 64;

interface ScopeFlags {
  collection: string;
  tenant: string;
  filter: string[];
  json?: boolean;
  documentAddress: string;
}

function scoped(name: string): Command {
  return withFilter(withDocumentAddress(new Command(name)))
    .option('-c, --collection <name>', 'name of the collection', SAMPLE_COLLECTION)
    .option('--tenant <tenant>', 'tenant that owns the documents; empty for none', '');
}

function scope({ collection, tenant, filter }: ScopeFlags): DocumentScope {
  return { collection, tenant, filter: filterOf(filter) };
}

/** `scalingnote delete ID...` */
export const deleteDocuments = scoped('delete')
  .description('delete documents by id, or all that match a filter')
  .argument('[id...]', 'ids of documents')
  .option(
    '--version <n>',
    'delete only what has this version or a lower one, and refuse such documents from now on; ids alone',
    positive,
  )
  .action(async (ids: string[], flags: ScopeFlags & { version?: number }) => {
    if (ids.length > 0 === flags.filter.length > 0) {
      throw new UsageError('give ids or --filter, one of the two');
    }
    using client = new DocumentClient({ address: flags.documentAddress });
    if (flags.version !== undefined) return await deleteUpTo(client, ids, flags.version, flags);
    const deleted = await client.delete({ ...scope(flags), documentIds: ids });
    printResult(flags, deleted, () => `${deleted.documents} deleted`);
  });

/** Deletes up to a version over an ingest stream, whose server remembers it: older documents that come late are stale. */
async function deleteUpTo(
  client: DocumentClient,
  ids: readonly string[],
  version: number,
  flags: ScopeFlags,
): Promise<void> {
  if (ids.length === 0) throw new UsageError('--version needs ids; a filter deletes whatever the version is');
  const { collection, tenant } = flags;
  const rejected: { id: string; reason: string; message: string }[] = [];
  const summary = await client.ingest(
    ids.map((id) => ({ delete: id, version })),
    {
      collection,
      tenant,
      // An ingest would make a collection that is not there.
      expectedIdentity: await identityOf(client, collection),
      onOutcome: ({ id, error }) => {
        if (error) rejected.push({ id, reason: error.reason, message: error.message });
      },
      onReconnect: (error, waitMs) =>
        note(`${transportFailure(error)}; trying again in ${Math.ceil(waitMs)} ms`),
    },
  );
  const { deleted, freshnessToken } = summary;
  printResult(flags, { deleted, rejected, freshnessToken }, () => `${deleted} deleted`);
  if (rejected.length === 0) return;
  for (const { id, message } of rejected) note(`${JSON.stringify(clip(id, ID_WIDTH))}: ${message}`);
  throw new CliError(`${rejected.length} of ${ids.length} deletes were rejected`);
}

/** @throws {CliError} where there is no such collection */
async function identityOf(client: DocumentClient, name: string): Promise<string> {
  const [aliases, collections] = await Promise.all([client.listAliases(), client.listCollections()]);
  const found = collections.find(({ physicalName }) => physicalName === aliases.get(name));
  if (found) return found.identity;
  throw new CliError(`no collection "${name}"; list what is there with "scalingnote collections"`);
}

/** `scalingnote count` */
export const count = scoped('count')
  .description('count documents and passages')
  .action(async (flags: ScopeFlags) => {
    using client = new DocumentClient({ address: flags.documentAddress });
    const counted = await client.count(scope(flags));
    printResult(flags, counted, () => `${counted.documents} documents, ${counted.passages} passages`);
  });
