import { once } from 'node:events';
import { connect, type ClientHttp2Session } from 'node:http2';
import { Pool } from 'undici';

/** Makes one call and checks that it succeeded. */
export type Caller = (index: number) => Promise<void>;

/** The duration of each call in milliseconds, and the throughput. */
export interface Load {
  samples: number[];
  perSecond: number;
}

/** Makes `count` calls, `inFlight` at a time; `index` counts from `first`. */
export async function drive(call: Caller, first: number, count: number, inFlight: number): Promise<Load> {
  const samples: number[] = [];
  let next = first;
  const started = performance.now();
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (next < first + count) {
        const began = performance.now();
        await call(next++);
        samples.push(performance.now() - began);
      }
    }),
  );
  return { samples, perSecond: (count * 1000) / (performance.now() - started) };
}

/** A message in gRPC's wire format: a flag (not compressed), its length, its bytes. */
export function frame(message: Buffer): Buffer {
  const framed = Buffer.alloc(5 + message.length);
  framed.writeUInt32BE(message.length, 1);
  message.copy(framed, 5);
  return framed;
}

/** The messages in the bytes that a server sent. */
export function* messagesIn(bytes: Buffer): Generator<Buffer, void, undefined> {
  for (let at = 0; at < bytes.length;) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    yield bytes.subarray(at + 5, end);
    at = end;
  }
}

/**
 * A gRPC client that does as little as possible: grpc-js's own takes more of a core than the services that it
 * would measure. It sends messages that are encoded already, does not decode answers, and checks that each
 * call succeeded.
 */
export class LeanGrpc {
  readonly #session: ClientHttp2Session;

  constructor(address: string) {
    this.#session = connect(`http://${address}`, { settings: { initialWindowSize: 4 * 1024 * 1024 } });
    this.#session.once('connect', () => this.#session.setLocalWindowSize(16 * 1024 * 1024));
  }

  /** Sends framed messages to a method and returns the answer. @throws if the status is not OK */
  async call(path: string, frames: Iterable<Buffer>): Promise<Buffer> {
    const stream = this.#session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const chunks: Buffer[] = [];
    const ended = new Promise<void>((resolve, reject) => {
      let status: unknown;
      let said: unknown;
      const note = (headers: Record<string, unknown>): void => {
        status = headers['grpc-status'] ?? status;
        said = headers['grpc-message'] ?? said;
      };
      stream.on('response', note).on('trailers', note);
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('error', reject);
      stream.on('end', () => {
        // The trailers arrive before the data ends.
        if (status === '0') resolve();
        else reject(new Error(`${path} ended with status ${String(status)}: ${String(said)}`));
      });
    });
    for (const each of frames) if (!stream.write(each)) await Promise.race([once(stream, 'drain'), ended]);
    stream.end();
    await ended;
    return Buffer.concat(chunks);
  }

  close(): void {
    this.#session.close();
  }
}

/** A request of Qdrant's REST API. */
export interface RestRequest {
  method: 'POST' | 'PUT';
  path: string;
  body: string;
}

/** Sends requests to Qdrant as fast as Node can. */
export class DirectQdrant {
  readonly #pool: Pool;
  readonly #headers: Record<string, string>;

  constructor(url: string, apiKey: string | undefined, connections: number) {
    this.#pool = new Pool(new URL(url).origin, { connections });
    this.#headers = {
      'content-type': 'application/json',
      'accept-encoding': 'identity',
      ...(apiKey === undefined ? {} : { 'api-key': apiKey }),
    };
  }

  /** @throws if the status is not 200 */
  async send({ method, path, body }: RestRequest): Promise<Buffer> {
    const answer = await this.#pool.request({ method, path, body, headers: this.#headers });
    const bytes = Buffer.from(await answer.body.arrayBuffer());
    if (answer.statusCode !== 200) throw new Error(`${path}: ${answer.statusCode} ${bytes.toString()}`);
    return bytes;
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }
}
