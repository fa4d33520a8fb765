import { connect, type Socket } from 'node:net';
import {
  ACK,
  callHeaders,
  END_HEADERS,
  frame,
  FrameReader,
  GOAWAY,
  grpcStatusOf,
  HEADERS,
  opening,
  PING,
  RST_STREAM,
  SETTINGS,
  settingsOf,
} from '../../load/frames.ts';

/** A peer that sends whatever frames it is told, and keeps what it is answered. */
export class RawPeer {
  readonly socket: Socket;
  readonly settings = new Map<number, number>();
  /** Error codes of streams that were reset, by stream. */
  readonly resets = new Map<number, number>();
  /** Statuses of calls that ended with one, by stream. */
  readonly statuses = new Map<number, number>();
  /** Error code of the connection's end, where the server said one. */
  goaway: number | undefined;
  closed = false;
  pongs = 0;

  readonly #agrees: boolean;

  /** @param agrees whether it says that it has read the server's settings, after which it is held to them */
  constructor(port: number, host = '127.0.0.1', agrees = false) {
    this.#agrees = agrees;
    this.socket = connect({ port, host, noDelay: true });
    const reader = new FrameReader((type, flags, stream, payload) => {
      if (type === GOAWAY) this.goaway = payload.readUInt32BE(4);
      else if (type === RST_STREAM) this.resets.set(stream, payload.readUInt32BE(0));
      else if (type === PING && flags & ACK) this.pongs++;
      else if (type === SETTINGS && !(flags & ACK)) {
        for (const [id, value] of settingsOf(payload)) this.settings.set(id, value);
        if (this.#agrees) this.send(frame(SETTINGS, ACK, 0, Buffer.alloc(0)));
      } else if (type === HEADERS) {
        const code = grpcStatusOf(payload);
        if (code !== undefined) this.statuses.set(stream, code);
      }
    });
    this.socket.on('data', (chunk) => reader.read(chunk));
    this.socket.on('error', () => {});
    this.socket.on('close', () => (this.closed = true));
  }

  /** Begins to speak HTTP/2. */
  open(): this {
    this.socket.write(opening());
    return this;
  }

  send(...frames: Buffer[]): void {
    this.socket.write(Buffer.concat(frames));
  }
}

/** The first frame of a call of gRPC, whose body does not come. */
export function head(path: string, stream: number, headers: Readonly<Record<string, string>> = {}): Buffer {
  return frame(HEADERS, END_HEADERS, stream, callHeaders(path, 'localhost', headers));
}
