import { credentials, makeClientConstructor, type requestCallback } from '@grpc/grpc-js';
import { Command } from 'commander';
import { service as healthService } from 'grpc-health-check';
import { type Collection, DocumentClient, QueryClient, type ServiceInfo } from '../../clients/index.ts';
import { type Addresses, withDocumentAddress, withQueryAddress } from '../connection.ts';
import { note, printJson, style, table } from '../output/print.ts';
import { renderCollections } from './documents.ts';

/** A service as `status` shows it. */
interface ServiceStatus {
  service: 'document' | 'query';
  address: string;
  /** As grpc.health.v1 has it, or that nobody answers. */
  status: 'SERVING' | 'NOT_SERVING' | 'UNREACHABLE';
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

/** A service on this network answers within this, or is as good as away. */
const STATUS_TIMEOUT_MS = 3_000;

/** `scalingnote status` */
export const status = withQueryAddress(withDocumentAddress(new Command('status')))
  .description('health, space, counts and versions of both services')
  .option('--json', 'print one JSON document')
  .action(async (flags: Addresses & { json?: boolean }) => {
    const found = await readStatus(flags);
    if (flags.json === true) {
      printJson({
        ...found,
        collections: found.collections.map((each) => ({ ...each, space: each.space.fingerprint })),
      });
    } else {
      process.stdout.write(`${renderStatus(found.services)}\n`);
      if (found.collections.length > 0) process.stdout.write(`\n${renderCollections(found.collections)}\n`);
    }
    const away = found.services.filter((service) => service.status !== 'SERVING');
    if (away.length > 0) {
      note(
        `${away.map(({ service }) => `the ${service} service`).join(' and ')} not serving; start with "scalingnote up"`,
      );
      process.exitCode = 1;
    }
  });

/** Asks both services what they are. */
export async function readStatus(
  addresses: Addresses,
): Promise<{ services: ServiceStatus[]; collections: Collection[] }> {
  const bounds = { timeoutMs: STATUS_TIMEOUT_MS };
  const documents = new DocumentClient({ address: addresses.documentAddress, attempts: 1 });
  const queries = new QueryClient({ address: addresses.queryAddress, attempts: 1 });
  try {
    const [document, query, collections] = await Promise.all([
      ask('document', addresses.documentAddress, () => documents.describe(bounds)),
      ask('query', addresses.queryAddress, () => queries.describe(bounds)),
      documents.listCollections(bounds).catch(() => []),
    ]);
    return { services: [document, query], collections };
  } finally {
    documents.close();
    queries.close();
  }
}

const HealthClient = makeClientConstructor(healthService, 'grpc.health.v1.Health');

/** What a server says of its own health. */
function checkHealth(address: string): Promise<'SERVING' | 'NOT_SERVING'> {
  const client = new HealthClient(address, credentials.createInsecure());
  return new Promise((resolve, reject) => {
    const deadline = Date.now() + STATUS_TIMEOUT_MS;
    const callback: requestCallback<{ status: string | number }> = (error, response) => {
      client.close();
      if (error) reject(error);
      else resolve(response?.status === 'SERVING' || response?.status === 1 ? 'SERVING' : 'NOT_SERVING');
    };
    (client['check'] as (request: object, options: object, done: typeof callback) => void).call(
      client,
      { service: '' },
      { deadline },
      callback,
    );
  });
}

async function ask(
  service: ServiceStatus['service'],
  address: string,
  describe: () => Promise<ServiceInfo>,
): Promise<ServiceStatus> {
  try {
    const [{ pid, version, uptimeSeconds, tower, store }, health] = await Promise.all([
      describe(),
      checkHealth(address),
    ]);
    return {
      service,
      address,
      status: health,
      pid,
      version,
      uptimeSeconds,
      space: tower.space.fingerprint,
      tower: tower.name,
      device: tower.device,
      store,
    };
  } catch (error) {
    return { service, address, status: 'UNREACHABLE', reason: (error as Error).message };
  }
}

function renderStatus(services: readonly ServiceStatus[]): string {
  return table(
    ['service', 'address', 'status', 'pid', 'tower', 'space'],
    services.map((each) => [
      each.service,
      each.address,
      style(each.status === 'SERVING' ? 'green' : 'red', each.status),
      String(each.pid ?? '-'),
      each.tower ?? '-',
      each.space ?? '-',
    ]),
  );
}
