import { lookup } from 'node:dns/promises';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { StartError } from '../start-error.ts';
import { bindFailure } from '../listen-address.ts';

/** Where connections come from. */
export interface Door {
  readonly port: number;
  /** Takes no more connections; resolves when all that came have ended. */
  close(): Promise<void>;
}

/** Opens a door. @param accept is given each connection */
export type OpenDoor = (accept: (socket: Socket) => void) => Door | Promise<Door>;

/** Failures of an address that this machine does not have, `::1` where IPv6 is off. */
const NO_SUCH_ADDRESS: ReadonlySet<string | undefined> = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT']);

/**
 * Binds every address of a host, all at one port.
 *
 * @param options.unread leaves what comes in the connections to whoever they are given to. @default false
 * @throws {StartError} where one can't be bound, or none is there
 */
export async function openPort(
  options: { host: string; port: number; portSetting: string; unread?: boolean },
  accept: (socket: Socket) => void,
): Promise<Door> {
  const servers = await bind(options, () =>
    createServer({ noDelay: true, pauseOnConnect: options.unread ?? false }, accept),
  );
  return {
    port: (servers[0]!.address() as AddressInfo).port,
    close: async () => {
      await Promise.all(
        servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
      );
    },
  };
}

async function bind(
  { host, port, portSetting }: { host: string; port: number; portSetting: string },
  create: () => Server,
): Promise<Server[]> {
  const servers: Server[] = [];
  let missing: Error | undefined;
  try {
    for (const { address } of await lookup(host, { all: true })) {
      const server = create();
      const at = servers[0] ? (servers[0].address() as AddressInfo).port : port;
      try {
        await new Promise<void>((resolve, reject) => {
          server.once('error', reject);
          server.listen({ host: address, port: at }, resolve);
        });
        servers.push(server);
      } catch (error) {
        if (!NO_SUCH_ADDRESS.has((error as NodeJS.ErrnoException).code)) throw error;
        missing = error as Error;
      }
    }
    if (servers.length === 0) throw missing ?? new Error(`${host} has no address`);
    return servers;
  } catch (error) {
    for (const server of servers) server.close();
    throw new StartError(bindFailure(error as Error, host, port, portSetting), { cause: error });
  }
}
