import { type HubOptions, type LocalTower, pullTower } from '../towers/pull.ts';
import { note } from './output/print.ts';
import { Progress } from './output/progress.ts';

/** Brings a tower to this machine, with a progress bar where it has to be fetched. */
export async function pullWithProgress(reference: string, hub: HubOptions = {}): Promise<LocalTower> {
  let progress: Progress | undefined;
  let received = 0;
  const tower = await pullTower(reference, {
    log: note,
    hub,
    onProgress: ({ receivedBytes, totalBytes }) => {
      progress ??= new Progress(`fetching ${reference}`, 'bytes');
      received = receivedBytes;
      progress.update(receivedBytes, totalBytes);
    },
  });
  progress?.finish(received);
  return tower;
}
