import { Command } from 'commander';
import { backupEmbedded } from '../../store/maintenance/embedded-backup.ts';
import { backupQdrant } from '../../store/maintenance/qdrant-backup.ts';
import type { BackupManifest } from '../../store/maintenance/manifest.ts';
import { printResult, table, UsageError } from '../output/print.ts';
import { type BackupFlags, checkBackupFlags, defaultData, qdrantPlace, withBackedUp } from '../stores.ts';

interface Flags extends BackupFlags {
  collection?: string;
  to: string;
  json?: boolean;
}

/** `scalingnote backup` */
export const backup = withBackedUp(new Command('backup'))
  .description('back up a store while the services go on')
  .option('-c, --collection <name>', 'one collection of Qdrant (default: all of them)')
  .requiredOption('--to <folder>', 'new folder for the backup')
  .action(async (flags: Flags) => {
    checkBackupFlags(flags);
    const { store, data = defaultData(), collection, to } = flags;
    if (store === 'embedded' && collection !== undefined) {
      throw new UsageError('--collection does not fit --store embedded, whose backup has all collections');
    }
    const manifest =
      store === 'embedded'
        ? await backupEmbedded(data, to)
        : await backupQdrant(qdrantPlace(flags), to, collection);
    printResult(flags, { to, ...manifest }, () => `${renderBackup(manifest)}\nin ${to}`);
  });

/** The collections of a backup, as a table. */
export function renderBackup({ collections }: Pick<BackupManifest, 'collections'>): string {
  return table(
    ['collection', 'documents', 'passages', 'space', 'identity'],
    collections.map(({ name, documents, passages, space, identity }) => [
      name,
      documents,
      passages,
      space.fingerprint,
      identity,
    ]),
  );
}
