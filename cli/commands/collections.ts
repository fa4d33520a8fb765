import { Command } from 'commander';
import { type Collection, DocumentClient } from '../../clients/index.ts';
import { asPercent } from '../familiarity.ts';
import { withDocumentAddress } from '../connection.ts';
import { printResult, table } from '../output/print.ts';

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

/** Collections as a table, with the share of unknown tokens if any is known. */
export function renderCollections(listed: readonly (Collection & { unknownTokenShare?: number })[]): string {
  const asked = listed.some(({ unknownTokenShare }) => unknownTokenShare !== undefined);
  return table(
    ['collection', 'documents', 'passages', 'physical name', 'space', ...(asked ? ['unknown tokens'] : [])],
    listed.map(({ name, readOnly, documents, passages, physicalName, space, unknownTokenShare }) => [
      readOnly === true ? `${name} (adopted, read only)` : name,
      documents,
      passages,
      physicalName,
      space.fingerprint,
      ...(asked ? [unknownTokenShare === undefined ? '-' : asPercent(unknownTokenShare)] : []),
    ]),
  );
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
