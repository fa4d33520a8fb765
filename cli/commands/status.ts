import { Command } from 'commander';
import { type Collection, DocumentClient, type Health, QueryClient } from '../../clients/index.ts';
import { type Addresses, withDocumentAddress, withQueryAddress } from '../connection.ts';
import { familiarityAdvice, unknownShare } from '../familiarity.ts';
import { note, printResult, style, table } from '../output/print.ts';
import { renderCollections } from './collections.ts';

/** A service as `status` shows it. */
interface ServiceStatus {
  service: 'document' | 'query';
  address: string;
  /** As grpc.health.v1 has it, or that nobody answers. */
  status: Health | 'UNREACHABLE';
  pid?: number;
  version?: string;
  uptimeSeconds?: number;
  /** Fingerprint of its tower's space. */
  space?: string;
  tower?: string;
  device?: string;
  store?: string;
  /** Why it is not serving. */
  reason?: string;
}

/** A collection as `status` shows it. */
interface CollectionStatus extends Collection {
  /** Share of its tokens that the query tower hardly knows; absent where that is not known. */
  unknownTokenShare?: number;
}

/** A service on this network answers within this, or is as good as away. */
const STATUS_TIMEOUT_MS = 3_000;

/** `scalingnote status` */
export const status = withQueryAddress(withDocumentAddress(new Command('status')))
  .description('show health, space, document counts and versions of both services')
  .action(async (flags: Addresses & { json?: boolean }) => {
    const found = await readStatus(flags);
    const collections = found.collections.map((each) => ({ ...each, space: each.space.fingerprint }));
    printResult(flags, { ...found, collections }, () => {
      const listed = collections.length > 0 ? `\n\n${renderCollections(found.collections)}` : '';
      return `${renderStatus(found.services)}${listed}`;
    });
    if (flags.json !== true) {
      for (const { name, unknownTokenShare } of found.collections) {
        const advice = familiarityAdvice(name, unknownTokenShare);
        if (advice !== undefined) note(advice);
      }
    }
    const away = found.services.filter((service) => service.status !== 'SERVING');
    if (away.length > 0) {
      note(
        `not serving: ${away.map(({ service }) => `the ${service} service`).join(' and ')}; start with "scalingnote up"`,
      );
      process.exitCode = 1;
    }
  });

/** Asks both services what they are. */
async function readStatus(
  addresses: Addresses,
): Promise<{ services: ServiceStatus[]; collections: CollectionStatus[] }> {
  const once = { attempts: 1, timeoutMs: STATUS_TIMEOUT_MS };
  using documents = new DocumentClient({ address: addresses.documentAddress, ...once });
  using queries = new QueryClient({ address: addresses.queryAddress, ...once });
  const [document, query, collections] = await Promise.all([
    ask('document', addresses.documentAddress, documents),
    ask('query', addresses.queryAddress, queries),
    documents.listCollections().catch(() => []),
  ]);
  return {
    services: [document, query],
    collections: await Promise.all(
      collections.map(async (each): Promise<CollectionStatus> => {
        const ours = query.status === 'SERVING' && each.space.fingerprint === query.space;
        const unknownTokenShare = ours ? await unknownShare(queries, { collection: each.name }) : undefined;
        return { ...each, ...(unknownTokenShare === undefined ? {} : { unknownTokenShare }) };
      }),
    ),
  };
}

async function ask(
  service: ServiceStatus['service'],
  address: string,
  client: DocumentClient | QueryClient,
): Promise<ServiceStatus> {
  try {
    const [{ pid, version, uptimeSeconds, tower, store }, health] = await Promise.all([
      client.describe(),
      client.health(),
    ]);
    const { name, device, space } = tower;
    const process = { pid, version, uptimeSeconds, store };
    return { service, address, status: health, ...process, space: space.fingerprint, tower: name, device };
  } catch (error) {
    return { service, address, status: 'UNREACHABLE', reason: (error as Error).message };
  }
}

function renderStatus(services: readonly ServiceStatus[]): string {
  return table(
    ['service', 'address', 'status', 'pid', 'store', 'tower', 'space'],
    services.map((each) => [
      each.service,
      each.address,
      style(each.status === 'SERVING' ? 'green' : 'red', each.status),
      String(each.pid ?? '-'),
      each.store ?? '-',
      each.tower ?? '-',
      each.space ?? '-',
    ]),
  );
}
