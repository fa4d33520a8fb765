import { Command } from 'commander';
import { DocumentClient, type DocumentScope } from '../../clients/index.ts';
import { withDocumentAddress } from '../connection.ts';
import { filterOf, withFilter } from '../input/flags.ts';
import { printResult, UsageError } from '../output/print.ts';
import { SAMPLE_COLLECTION } from '../sample/wordnet.ts';

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
  .action(async (documentIds: string[], flags: ScopeFlags) => {
    if (documentIds.length > 0 === flags.filter.length > 0) {
      throw new UsageError('give ids or --filter, one of the two');
    }
    using client = new DocumentClient({ address: flags.documentAddress });
    const documents = await client.delete({ ...scope(flags), documentIds });
    printResult(flags, { documents }, () => `${documents} deleted`);
  });

/** `scalingnote count` */
export const count = scoped('count')
  .description('count documents and passages')
  .action(async (flags: ScopeFlags) => {
    using client = new DocumentClient({ address: flags.documentAddress });
    const counted = await client.count(scope(flags));
    printResult(flags, counted, () => `${counted.documents} documents, ${counted.passages} passages`);
  });
