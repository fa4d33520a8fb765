import { Command } from 'commander';
import { restoreEmbedded } from '../../store/maintenance/embedded-backup.ts';
import { note, printResult } from '../output/print.ts';
import { pullWithProgress } from '../pull-tower.ts';
import { defaultData, withData } from '../stores.ts';
import { renderBackup } from './backup.ts';

interface Flags {
  data?: string;
  from: string;
  replace?: boolean;
  documentTower?: string;
  json?: boolean;
}

/** `scalingnote restore` */
export const restore = withData(new Command('restore'))
  .description('put the store of a backup into a folder; stop the services first')
  .requiredOption('--from <folder>', 'folder of the backup')
  .option('--replace', 'put a store that is there aside, into a folder beside it')
  .option('--document-tower <reference>', 'refuse vectors of another space than this tower makes')
  .action(async (flags: Flags) => {
    const { data = defaultData(), from, replace = false, documentTower } = flags;
    const tower = documentTower === undefined ? undefined : await pullWithProgress(documentTower);
    const fingerprint = tower?.manifest.space.fingerprint;
    const restored = await restoreEmbedded({ from, directory: data, replace, fingerprint });
    if (restored.replaced !== undefined) note(`the store that was there is in ${restored.replaced}`);
    printResult(flags, { data, ...restored }, () => `${renderBackup(restored)}\nin ${data}`);
  });
