import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { Transform } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

/** A way to a server that a test can cut and mend: what a caller sees of a server that dies and comes back. */
export interface Proxy {
  /** `http://127.0.0.1:PORT`, the same before and after a cut. */
  readonly url: string;
  /** Connections that were made so far. */
  readonly connections: number;
  /** Leads new connections elsewhere. @param target `http://HOST:PORT` */
  lead(target: string): void;
  /**
   * How long each chunk of a new connection takes, in each direction, in milliseconds: asked once for each connection, so
   * that one stream overtakes another. The bytes within a connection stay in order, as TCP keeps them.
   */
  delay(ms: () => number): void;
  /** Resets every connection and refuses new ones. */
  cut(): Promise<void>;
  /** Resets every connection towards the callers alone: the server does not notice, until so many milliseconds have passed. */
  abandon(ms: number): void;
  /** Accepts connections again. */
  mend(): Promise<void>;
  close(): Promise<void>;
}

interface Pair {
  client: Socket;
  upstream: Socket;
}

/** @param target `http://HOST:PORT` of the server */
export async function startProxy(target: string): Promise<Proxy> {
  let { hostname, port } = new URL(target);
  let delayMs = (): number => 0;
  const pairs = new Set<Pair>();
  let connections = 0;
  const server = createServer((client) => {
    connections++;
    const upstream = connect({ port: Number(port), host: hostname, noDelay: true });
    client.setNoDelay();
    const pair = { client, upstream };
    pairs.add(pair);
    // Whoever is abandoned lives on without the other.
    const end = (other: Socket) => (): void => {
      if (!pairs.delete(pair)) return;
      other.destroy();
    };
    client.on('error', () => {}).once('close', end(upstream));
    upstream.on('error', () => {}).once('close', end(client));
    const ms = delayMs();
    if (ms === 0) client.pipe(upstream).pipe(client);
    else {
      client.pipe(slow(ms)).pipe(upstream);
      upstream.pipe(slow(ms)).pipe(client);
    }
  });
  const listen = async (at: number): Promise<void> => {
    if (server.listening) return;
    server.listen(at, '127.0.0.1');
    await once(server, 'listening');
  };
  const cut = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    for (const { client, upstream } of pairs) {
      client.resetAndDestroy();
      upstream.resetAndDestroy();
    }
    await closed;
  };
  await listen(0);
  const address = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${address.port}`,
    get connections() {
      return connections;
    },
    lead: (elsewhere) => void ({ hostname, port } = new URL(elsewhere)),
    delay: (ms) => void (delayMs = ms),
    cut,
    abandon: (ms) => {
      for (const pair of pairs) {
        pairs.delete(pair);
        const { client, upstream } = pair;
        client.unpipe();
        upstream.unpipe();
        // What the server sends is taken, and lost.
        upstream.resume();
        client.resetAndDestroy();
        void sleep(ms).then(() => upstream.resetAndDestroy());
      }
    },
    mend: () => listen(address.port),
    close: cut,
  };
}

/** Passes chunks on in order, each after some time. */
function slow(ms: number): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, passOn) {
      setTimeout(passOn, ms, null, chunk);
    },
  });
}
