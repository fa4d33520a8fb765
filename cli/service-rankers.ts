import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { DocumentClient, QueryClient } from '../clients/index.ts';
import { defaultCacheDir } from '../towers/cache.ts';
import { type Dataset, readDataset } from '../training/evaluation/dataset.ts';
import type { Hit, Ranker } from '../training/evaluation/ranker.ts';
import { type ServiceProcess, startService } from './service-processes.ts';
import type { Addresses } from './connection.ts';
import { CliError, note } from './output/print.ts';
import { Progress } from './output/progress.ts';

/** Characters of a data set's name in the collection's name, at most. */
const NAME_CHARACTERS = 40;

/** Hits that one request may ask the query service for. */
const MAX_LIMIT = 1000;

/** Which services to measure: running ones, or ones to start for the run, with a query service for each tower. */
export type Services = { addresses: Addresses } | { documentTower: string; queryTowers: readonly string[] };

/** A data set behind real services. */
export interface ServiceRankers {
  rankers: Ranker[];
  /** Closes the connections, and stops the services that were started. */
  close(): Promise<void>;
}

/**
 * Ingests a data set into a collection of its own through the Ingest RPC, and ranks through the Search RPC. Services that
 * it starts keep their store in the cache folder of towers, so that the next run finds the documents there and encodes
 * none.
 *
 * @throws {CliError} where a service can't be started, or a document is rejected
 */
export async function rankThroughServices(dataset: string, services: Services): Promise<ServiceRankers> {
  const started: ServiceProcess[] = [];
  const clients: (DocumentClient | QueryClient)[] = [];
  const close = async (): Promise<void> => {
    for (const client of clients) client.close();
    await Promise.all(started.map((service) => service.stop()));
  };
  const start = async (name: ServiceProcess['name'], ...flags: string[]): Promise<string> => {
    const data = join(defaultCacheDir(), 'evaluation');
    const service = await startService(name, ['--data', data, '--port', '0', ...flags]);
    started.push(service);
    return service.address;
  };
  try {
    const documentAddress =
      'addresses' in services
        ? services.addresses.documentAddress
        : await start('document', '--document-tower', services.documentTower);
    const queryAddresses: string[] = [];
    if ('addresses' in services) queryAddresses.push(services.addresses.queryAddress);
    else {
      for (const tower of services.queryTowers)
        queryAddresses.push(await start('query', '--query-tower', tower));
    }
    const documents = new DocumentClient({ address: documentAddress, waitForReady: false });
    clients.push(documents);
    const collection = await ingest(documents, await readDataset(dataset));
    const rankers: Ranker[] = [];
    for (const address of queryAddresses) {
      const queries = new QueryClient({ address, waitForReady: false });
      clients.push(queries);
      const { tower } = await queries.describe();
      rankers.push({
        name: `${tower.name}, through the services`,
        rank: async (query, limit) => {
          const hits: Hit[] = [];
          while (hits.length < limit) {
            const wanted = Math.min(limit - hits.length, MAX_LIMIT);
            const page = { limit: wanted, offset: hits.length, omitText: true, omitMetadata: true };
            const { hits: found } = await queries.search({ collection, query, ...page });
            for (const { id, score } of found) hits.push({ id, score });
            if (found.length < wanted) break;
          }
          return hits;
        },
      });
    }
    return { rankers, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** @returns the collection, which holds the data set's documents and no others */
async function ingest(client: DocumentClient, { name, documents }: Dataset): Promise<string> {
  const { space } = (await client.describe()).tower;
  // Another space or other documents make another collection: nothing of an earlier run can stand among the answers.
  const identity = createHash('sha256').update(space.fingerprint);
  for (const { id } of documents) identity.update(JSON.stringify(id));
  const collection = `eval-${name.replaceAll(/\W+/g, '_').slice(0, NAME_CHARACTERS)}-${identity.digest('hex').slice(0, 8)}`;
  note(`putting ${name} into collection "${collection}"`);
  const progress = new Progress('ingest', 'documents');
  let done = 0;
  await client.ingest(
    documents.filter(({ title, text }) => title.trim() !== '' || text.trim() !== ''),
    {
      collection,
      onOutcome: ({ id, error }) => {
        if (error) throw new CliError(`document ${JSON.stringify(id)} of ${name}: ${error.message}`);
        progress.update(++done, documents.length);
      },
    },
  );
  progress.finish(done);
  return collection;
}
