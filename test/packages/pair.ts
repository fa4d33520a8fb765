import { join } from 'node:path';
import { startService, stopServices } from '../../services/runtime/testing/processes.ts';
import { writeTinyTower } from '../../towers/testing/tiny-tower.ts';

/** Both services as processes, with the embedded store and towers of twelve words. */
export interface Pair {
  /** `host:port` of each. */
  documents: string;
  queries: string;
  stop(): Promise<void>;
}

/** @param folder - for towers and store */
export async function startPair(folder: string): Promise<Pair> {
  const start = async (service: 'document' | 'query'): Promise<string> => {
    const tower = join(folder, `${service}-tower`);
    writeTinyTower(tower, { role: service });
    const flags = ['--port', '0', '--metrics-port', '0', '--data', join(folder, 'data')];
    const own = ['--console-address', '', `--${service}-tower`, `file:${tower}`];
    return (await startService(service, ...flags, ...own)).address;
  };
  // The document service makes the store.
  const documents = await start('document');
  return { documents, queries: await start('query'), stop: stopServices };
}
