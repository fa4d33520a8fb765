import { Command } from 'commander';
import { restoreEmbedded } from '../../store/maintenance/embedded-backup.ts';
import { restoreQdrant } from '../../store/maintenance/qdrant-backup.ts';
import { note, printResult, UsageError } from '../output/print.ts';
import { pullWithProgress } from '../pull-tower.ts';
import { type BackupFlags, checkBackupFlags, defaultData, qdrantPlace, withBackedUp } from '../stores.ts';
import { renderBackup } from './backup.ts';

interface Flags extends BackupFlags {
  from: string;
  replace?: boolean;
  documentTower?: string;
  json?: boolean;
}

/** `scalingnote restore` */
export const restore = withBackedUp(new Command('restore'))
  .description('put a backup into a store; its collections get new identities. Stop the services first')
  .requiredOption('--from <folder>', 'folder of the backup')
  .option('--replace', 'put an embedded store that is there aside, into a folder beside it')
  .option('--document-tower <reference>', 'refuse vectors of another space than this tower makes')
  .action(async (flags: Flags) => {
    checkBackupFlags(flags);
    const { store, data = defaultData(), from, replace = false, documentTower } = flags;
    if (store === 'qdrant' && replace) {
      throw new UsageError('--replace does not fit --store qdrant: drop the collection first');
    }
    const tower = documentTower === undefined ? undefined : await pullWithProgress(documentTower);
    const fingerprint = tower?.manifest.space.fingerprint;
    if (store === 'qdrant') {
      const place = qdrantPlace(flags);
      const restored = await restoreQdrant(place, { from, fingerprint });
      printResult(
        flags,
        { qdrant: place.url, ...restored },
        () => `${renderBackup(restored)}\nin ${place.url}`,
      );
      return;
    }
    const restored = await restoreEmbedded({ from, directory: data, replace, fingerprint });
    if (restored.replaced !== undefined) note(`the store that was there is in ${restored.replaced}`);
    printResult(flags, { data, ...restored }, () => `${renderBackup(restored)}\nin ${data}`);
  });
