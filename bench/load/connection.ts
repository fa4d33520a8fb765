import { connect, type Socket } from 'node:net';
import {
  ACK,
  CANCEL,
  CONTINUATION,
  DATA,
  DEFAULT_WINDOW,
  END_HEADERS,
  END_STREAM,
  frame,
  FrameReader,
  GOAWAY,
  grpcStatusOf,
  HEADERS,
  INITIAL_WINDOW_SIZE,
  LARGEST_WINDOW,
  MAX_CONCURRENT_STREAMS,
  MAX_FRAME,
  opening,
  PING,
  reset,
  RST_STREAM,
  SETTINGS,
  settingsOf,
  WINDOW_UPDATE,
  windowUpdate,
} from './frames.ts';

/** The server may send so much before it is told that it may send more. */
const WINDOW_STEP = 1 << 20;

/** A call that was handed to a connection. */
export interface Sent {
  /** Whole messages with their prefixes. */
  readonly body: Buffer;
  /** What became of the call: a gRPC status, or a word where there is none. Called once. */
  readonly done: (outcome: number | string) => void;
}

interface Open {
  call: Sent;
  /** What the server's window does not take yet. */
  rest: Buffer;
  window: number;
  /** A header block that goes on in the next frame. */
  headers: Buffer | undefined;
}

/** A connection of HTTP/2 that does nothing but calls of one method with headers that never change. */
export class Connection {
  readonly #socket: Socket;
  readonly #headers: Buffer;
  readonly #open = new Map<number, Open>();
  /** Calls that wait for the server to take more streams. */
  readonly #waiting: Sent[] = [];
  readonly #ids = new Map<Sent, number>();
  #out: Buffer[] = [];
  #nextId = 1;
  #window = DEFAULT_WINDOW;
  #streamWindow = DEFAULT_WINDOW;
  #maxStreams = Infinity;
  #taken = 0;
  #leaving = false;
  #failed: string | undefined;

  /** @param headers see `callHeaders` */
  constructor(address: { host: string; port: number }, headers: Buffer) {
    this.#headers = headers;
    const reader = new FrameReader((type, flags, stream, payload) =>
      this.#frame(type, flags, stream, payload),
    );
    this.#socket = connect({ ...address, noDelay: true });
    this.#socket.on('data', (chunk) => {
      reader.read(chunk);
      this.flush();
    });
    this.#socket.once('error', (error) => this.#fail((error as NodeJS.ErrnoException).code ?? 'FAILED'));
    this.#socket.once('close', () => this.#fail('CLOSED'));
    this.#out.push(opening());
    this.flush();
  }

  /** Whether it takes calls. */
  get usable(): boolean {
    return this.#failed === undefined && !this.#leaving;
  }

  /** Calls that were sent and have no answer. */
  get inFlight(): number {
    return this.#open.size;
  }

  /** Sends a call with the next {@link flush}. */
  send(call: Sent): void {
    if (this.#failed !== undefined) call.done(this.#failed);
    else if (this.#open.size >= this.#maxStreams) this.#waiting.push(call);
    else this.#start(call);
  }

  /** Gives a call up, as a client does whose deadline has passed. */
  cancel(call: Sent): void {
    const id = this.#ids.get(call);
    if (id === undefined) {
      const at = this.#waiting.indexOf(call);
      if (at !== -1) this.#waiting.splice(at, 1);
      return;
    }
    this.#out.push(reset(id, CANCEL));
    this.#forget(id, call);
  }

  /** Writes what there is. */
  flush(): void {
    if (this.#out.length === 0 || this.#socket.destroyed) return;
    const out = this.#out.length === 1 ? this.#out[0]! : Buffer.concat(this.#out);
    this.#out = [];
    this.#socket.write(out);
  }

  close(): void {
    this.flush();
    this.#socket.destroy();
  }

  #start(call: Sent): void {
    const id = this.#nextId;
    this.#nextId += 2;
    const open = { call, rest: call.body, window: this.#streamWindow, headers: undefined };
    this.#open.set(id, open);
    this.#ids.set(call, id);
    this.#out.push(frame(HEADERS, END_HEADERS, id, this.#headers));
    this.#sendRest(id, open);
  }

  #sendRest(id: number, open: Open): void {
    while (open.rest.length > 0) {
      const size = Math.min(open.rest.length, MAX_FRAME, this.#window, open.window);
      if (size <= 0) return;
      const payload = open.rest.subarray(0, size);
      open.rest = open.rest.subarray(size);
      this.#window -= size;
      open.window -= size;
      this.#out.push(frame(DATA, open.rest.length === 0 ? END_STREAM : 0, id, payload));
    }
  }

  #frame(type: number, flags: number, stream: number, payload: Buffer): void {
    switch (type) {
      case HEADERS:
      case CONTINUATION:
        return this.#headersCame(flags, stream, payload);
      case DATA: {
        this.#taken += payload.length;
        if (this.#taken >= WINDOW_STEP) {
          this.#out.push(windowUpdate(0, this.#taken));
          this.#taken = 0;
        }
        if (flags & END_STREAM) this.#end(stream, 'NO_STATUS');
        return;
      }
      case RST_STREAM:
        return this.#end(stream, `RST_${payload.readUInt32BE(0)}`);
      case SETTINGS:
        if (!(flags & ACK)) this.#settings(payload);
        return;
      case PING:
        if (!(flags & ACK)) this.#out.push(frame(PING, ACK, 0, payload));
        return;
      case GOAWAY:
        this.#leaving = true;
        // Those that the server has not seen never will be.
        for (const id of this.#open.keys()) {
          if (id > (payload.readUInt32BE(0) & 0x7fffffff)) this.#end(id, 'GOAWAY');
        }
        for (const { done } of this.#waiting.splice(0)) done('GOAWAY');
        return;
      case WINDOW_UPDATE: {
        const more = payload.readUInt32BE(0) & LARGEST_WINDOW;
        const open = this.#open.get(stream);
        if (stream === 0) this.#window += more;
        else if (open) open.window += more;
        this.#sendRests();
        return;
      }
      default:
    }
  }

  #settings(payload: Buffer): void {
    const settings = settingsOf(payload);
    this.#maxStreams = settings.get(MAX_CONCURRENT_STREAMS) ?? this.#maxStreams;
    const window = settings.get(INITIAL_WINDOW_SIZE);
    if (window !== undefined) {
      for (const open of this.#open.values()) open.window += window - this.#streamWindow;
      this.#streamWindow = window;
    }
    this.#out.push(frame(SETTINGS, ACK, 0, Buffer.alloc(0)));
    this.#sendRests();
  }

  #sendRests(): void {
    for (const [id, open] of this.#open) if (open.rest.length > 0) this.#sendRest(id, open);
  }

  #headersCame(flags: number, stream: number, payload: Buffer): void {
    const open = this.#open.get(stream);
    if (!open) return;
    const block = open.headers ? Buffer.concat([open.headers, payload]) : payload;
    // The flag that ends the stream is in the first frame; a block in several frames is always a trailer here.
    open.headers = flags & END_HEADERS ? undefined : block;
    if (!(flags & END_HEADERS)) return;
    const status = grpcStatusOf(block);
    if (status !== undefined) this.#end(stream, status);
    else if (flags & END_STREAM) this.#end(stream, 'NO_STATUS');
  }

  #end(id: number, outcome: number | string): void {
    const open = this.#open.get(id);
    if (!open) return;
    this.#forget(id, open.call);
    open.call.done(outcome);
  }

  #forget(id: number, call: Sent): void {
    this.#open.delete(id);
    this.#ids.delete(call);
    while (this.#open.size < this.#maxStreams) {
      const next = this.#waiting.shift();
      if (!next) return;
      this.#start(next);
    }
  }

  #fail(why: string): void {
    if (this.#failed !== undefined) return;
    this.#failed = why;
    const calls = [...this.#ids.keys(), ...this.#waiting.splice(0)];
    this.#open.clear();
    this.#ids.clear();
    for (const { done } of calls) done(why);
  }
}
