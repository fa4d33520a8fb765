import { Command } from 'commander';
import { backupEmbedded } from '../../store/maintenance/embedded-backup.ts';
import type { BackupManifest } from '../../store/maintenance/manifest.ts';
import { printResult, table } from '../output/print.ts';
import { defaultData, withData } from '../stores.ts';

interface Flags {
  data?: string;
  to: string;
  json?: boolean;
}

/** `scalingnote backup` */
export const backup = withData(new Command('backup'))
  .description('back up an embedded store while the services go on')
  .requiredOption('--to <folder>', 'new folder for the backup')
  .action(async (flags: Flags) => {
    const { data = defaultData(), to } = flags;
    const manifest = await backupEmbedded(data, to);
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
