import { Command } from 'commander';
import type { Collection } from '../../clients/index.ts';
import { asPercent } from '../familiarity.ts';
import { usingDocuments, withDocumentAddress } from '../connection.ts';
import { printJson, table } from '../output/print.ts';

interface Flags {
  json?: boolean;
  documentAddress: string;
}

function command(name: string): Command {
  return withDocumentAddress(new Command(name)).option('--json', 'print one JSON document');
}

/** `scalingnote collections` */
export const collections = command('collections')
  .description('list collections')
  .action(async (flags: Flags) => {
    const listed = await usingDocuments(flags.documentAddress, (client) => client.listCollections());
    if (flags.json === true) {
      printJson(listed.map((collection) => ({ ...collection, space: collection.space.fingerprint })));
    } else if (listed.length === 0) {
      process.stdout.write('no collections yet; "scalingnote ingest FILE --collection NAME" makes one\n');
    } else {
      process.stdout.write(`${renderCollections(listed)}\n`);
    }
  });

/** Collections as a table, with the share of unknown tokens where it was asked for. */
export function renderCollections(listed: readonly (Collection & { unknownTokenShare?: number })[]): string {
  const asked = listed.some(({ unknownTokenShare }) => unknownTokenShare !== undefined);
  return table(
    ['collection', 'documents', 'passages', 'physical name', 'space', ...(asked ? ['unknown tokens'] : [])],
    listed.map(({ name, documents, passages, physicalName, space, unknownTokenShare }) => [
      name,
      documents,
      passages,
      physicalName,
      space.fingerprint,
      ...(asked ? [unknownTokenShare === undefined ? '-' : asPercent(unknownTokenShare)] : []),
    ]),
  );
}

const listAliases = command('list')
  .description('which name leads to which physical collection')
  .action(async (flags: Flags) => {
    const aliases = await usingDocuments(flags.documentAddress, (client) => client.listAliases());
    if (flags.json === true) printJson(Object.fromEntries(aliases));
    else if (aliases.size === 0) process.stdout.write('no aliases yet; the first ingest makes one\n');
    else process.stdout.write(`${table(['alias', 'physical name'], [...aliases])}\n`);
  });

const switchAlias = command('switch')
  .alias('set')
  .description('point an alias at a physical collection, in one step; makes it where it is not there')
  .argument('<alias>', 'the name that clients use')
  .argument('<physical>', 'the physical collection, as "scalingnote collections" shows it')
  .action(async (alias: string, physical: string, flags: Flags) => {
    const { previous } = await usingDocuments(flags.documentAddress, (client) =>
      client.switchAlias(alias, physical),
    );
    if (flags.json === true) printJson({ alias, physicalName: physical, previous: previous ?? null });
    else {
      const before = previous === undefined || previous === physical ? '' : `; before, to ${previous}`;
      process.stdout.write(`${alias} leads to ${physical}${before}\n`);
    }
  });

/** `scalingnote alias list|switch` */
export const alias = new Command('alias')
  .description('names of collections and where they lead')
  .addCommand(listAliases)
  .addCommand(switchAlias);

/** `scalingnote drop PHYSICAL` */
export const drop = command('drop')
  .description('drop a physical collection with all that is in it; there is no way back')
  .argument('<physical>', 'the physical collection, as "scalingnote collections" shows it')
  .option('--with-aliases', 'drop it though aliases lead to it, and these as well')
  .action(async (physical: string, flags: Flags & { withAliases?: boolean }) => {
    const { aliases } = await usingDocuments(flags.documentAddress, (client) =>
      client.dropCollection(physical, { withAliases: flags.withAliases ?? false }),
    );
    if (flags.json === true) printJson({ physicalName: physical, aliases });
    else {
      const gone = aliases.length === 0 ? '' : `, and with it ${aliases.join(', ')}`;
      process.stdout.write(`${physical} is gone${gone}\n`);
    }
  });
