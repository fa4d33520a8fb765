import { Command } from 'commander';
import { usingDocuments, withDocumentAddress } from '../connection.ts';
import { filterOf, withFilter } from '../input/filter-flags.ts';
import { printJson, UsageError } from '../output/print.ts';
import { SAMPLE_COLLECTION } from '../sample/wordnet.ts';

interface ScopeFlags {
  collection: string;
  tenant: string;
  filter: string[];
  json?: boolean;
  documentAddress: string;
}

function scoped(command: Command): Command {
  return withFilter(withDocumentAddress(command))
    .option('-c, --collection <name>', 'collection', SAMPLE_COLLECTION)
    .option('--tenant <tenant>', 'whose documents', '')
    .option('--json', 'print one JSON document');
}

function scope(flags: ScopeFlags) {
  const filter = filterOf(flags.filter);
  return { collection: flags.collection, tenant: flags.tenant, ...(filter === undefined ? {} : { filter }) };
}

/** `scalingnote delete ID...` */
export const deleteDocuments = scoped(new Command('delete'))
  .description('delete documents by id, or all that a filter holds for')
  .argument('[id...]', 'identifiers')
  .action(async (ids: string[], flags: ScopeFlags) => {
    if (ids.length > 0 === flags.filter.length > 0) {
      throw new UsageError('give identifiers or --filter, one of the two');
    }
    const documents = await usingDocuments(flags.documentAddress, (client) =>
      client.delete({ ...scope(flags), documentIds: ids }),
    );
    if (flags.json === true) printJson({ documents });
    else process.stdout.write(`${documents} deleted\n`);
  });

/** `scalingnote count` */
export const count = scoped(new Command('count'))
  .description('count documents and passages')
  .action(async (flags: ScopeFlags) => {
    const counted = await usingDocuments(flags.documentAddress, (client) => client.count(scope(flags)));
    if (flags.json === true) printJson(counted);
    else process.stdout.write(`${counted.documents} documents, ${counted.passages} passages\n`);
  });
