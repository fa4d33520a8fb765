import { Command } from 'commander';
import {
  type Collection,
  DocumentClient,
  type Health,
  QueryClient,
  ScalingnoteError,
} from '../../clients/index.ts';
import { type Addresses, transportFailure, withDocumentAddress, withQueryAddress } from '../connection.ts';
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
  /** Why it is not serving, or can't be reached. */
  reason?: string;
  /** Why it takes no documents, though it serves. */
  writesRefused?: string;
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
    const { collectionsProblem: unlisted } = found;
    if (unlisted !== undefined) note(`collections can't be listed: ${unlisted}`);
    for (const each of found.services) {
      if (each.status !== 'SERVING') note(problemOf(each));
      else if (each.writesRefused)
        note(`the ${each.service} service takes no documents: ${each.writesRefused}`);
    }
    const isWell = (each: ServiceStatus): boolean => each.status === 'SERVING' && !each.writesRefused;
    if (!found.services.every(isWell)) process.exitCode = 1;
  });

/** What `status` shows. */
interface Status {
  services: ServiceStatus[];
  collections: CollectionStatus[];
  /** Why collections can't be listed, though the document service serves. */
  collectionsProblem?: string;
}

/** Asks both services what they are. */
async function readStatus(addresses: Addresses): Promise<Status> {
  const once = { attempts: 1, timeoutMs: STATUS_TIMEOUT_MS };
  using documents = new DocumentClient({ address: addresses.documentAddress, ...once });
  using queries = new QueryClient({ address: addresses.queryAddress, ...once });
  const [document, query, [collections, problem]] = await Promise.all([
    ask('document', addresses.documentAddress, documents),
    ask('query', addresses.queryAddress, queries),
    documents.listCollections().then(
      (listed): [Collection[], string?] => [listed],
      (error: unknown): [Collection[], string] => [[], messageOf(error)],
    ),
  ]);
  return {
    services: [document, query],
    ...(problem !== undefined && document.status === 'SERVING' && { collectionsProblem: problem }),
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
    const [{ pid, version, uptimeSeconds, tower, store, notServingReason, writesRefusedReason }, health] =
      await Promise.all([client.describe(), client.health()]);
    const { name, device, space } = tower;
    const process = { pid, version, uptimeSeconds, store };
    // The service may have changed its mind between the two answers.
    const reason = health === 'SERVING' || notServingReason === undefined ? {} : { reason: notServingReason };
    const what = { service, address, status: health, ...process, space: space.fingerprint };
    const refused = writesRefusedReason === undefined ? {} : { writesRefused: writesRefusedReason };
    return { ...what, tower: name, device, ...reason, ...refused };
  } catch (error) {
    return { service, address, status: 'UNREACHABLE', reason: messageOf(error) };
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

/** Why a service does not serve, and what to do, in one line. */
function problemOf({ service, address, status: health, reason }: ServiceStatus): string {
  if (health !== 'UNREACHABLE')
    return `the ${service} service does not serve: ${reason ?? 'it gives no reason'}`;
  return `the ${service} service can't be reached at ${address} (${reason}); start it with "scalingnote up"`;
}

function messageOf(error: unknown): string {
  return error instanceof ScalingnoteError ? transportFailure(error) : String(error);
}
