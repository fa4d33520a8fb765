import { Hono } from 'hono';
import type { DocumentClient, QueryClient } from '../../clients/index.ts';
import { packageVersion } from '../runtime/service-info.ts';
import type { Desk, DeskOf } from './desk.ts';
import { callProblem } from './http/errors.ts';
import { unsampled } from './unsampled.ts';
import type { Collection, ServiceState, SystemAnswer } from './shared/wire.ts';

/** A service that does not answer within this counts as away. */
const LOOK_TIMEOUT_MS = 2_000;

/** Tells which services, towers and collections there are. */
export function systemRoutes(deskOf: DeskOf): Hono {
  const look = async ({ documents, queries }: Desk): Promise<SystemAnswer> => {
    const [collections, ...services] = await Promise.all([
      collectionsOf(documents.client).then(
        (listed) => ({ collections: listed }),
        (error: unknown) => ({
          collections: [],
          collectionsProblem: callProblem(error, documents.address),
        }),
      ),
      stateOf('document', documents.address, documents.client),
      ...[...queries.clients].map(([address, client]) => stateOf('query', address, client)),
    ]);
    return { version: packageVersion, services, ...collections };
  };
  return new Hono().get('/api/system', async (context) => context.json(await look(deskOf(context))));
}

async function collectionsOf(client: DocumentClient): Promise<Collection[]> {
  const bounds = { timeoutMs: LOOK_TIMEOUT_MS, ...unsampled() };
  const [listed, aliases] = await Promise.all([client.listCollections(bounds), client.listAliases(bounds)]);
  return listed.map(({ physicalName, space, documents, passages, identity }) => {
    const own = [...aliases].filter(([, leadsTo]) => leadsTo === physicalName);
    return { physicalName, aliases: own.map(([alias]) => alias), space, documents, passages, identity };
  });
}

async function stateOf(
  kind: ServiceState['kind'],
  address: string,
  client: DocumentClient | QueryClient,
): Promise<ServiceState> {
  const started = performance.now();
  const bounds = { timeoutMs: LOOK_TIMEOUT_MS, ...unsampled() };
  try {
    const [health, info] = await Promise.all([client.health(bounds), client.describe(bounds)]);
    return { kind, address, health, info, latencyMs: performance.now() - started };
  } catch (error) {
    return { kind, address, health: 'UNREACHABLE', problem: callProblem(error, address) };
  }
}
