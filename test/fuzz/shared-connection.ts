import { connect, type Socket } from 'node:net';
import { status as grpcStatus } from '@grpc/grpc-js';
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
} from '../../bench/load/frames.ts';
import type { Outcome, Wire } from './case.ts';
import { block, httpStatusOf } from './hpack.ts';

const NOTHING = Buffer.alloc(0);
/** Of a GOAWAY without an error. */
const NO_ERROR = 0;
/** REFUSED_STREAM: what has it was never looked at. */
const UNSEEN = 'RST_7';
/** The peer may send so much before it is told that it may send more. */
const WINDOW_STEP = 1 << 20;

interface Open {
  rest: Buffer[];
  window: number;
  /** What goes after the data. */
  last: Buffer | undefined;
  /** Whether the last data end the stream. */
  ends: boolean;
  /** Whether we have sent all that we send. */
  hasEnded: boolean;
  headers: Buffer | undefined;
  http: string | undefined;
  body: Buffer[];
  readonly done: (outcome: Outcome) => void;
}

/** A connection of HTTP/2 whose streams are cases. */
export class SharedConnection {
  readonly #socket: Socket;
  readonly #open = new Map<number, Open>();
  #out: Buffer[] = [opening()];
  #flushing = false;
  #nextId = 1;
  #window = DEFAULT_WINDOW;
  #streamWindow = DEFAULT_WINDOW;
  #taken = 0;
  /** Streams that the peer takes at a time: who opens more has the connection ended, and all cases on it. */
  #most = Infinity;
  readonly #waiting: (() => void)[] = [];
  #over: string | undefined;
  #isLeaving = false;

  constructor(address: { host: string; port: number }) {
    const reader = new FrameReader((type, flags, stream, payload) =>
      this.#frame(type, flags, stream, payload),
    );
    this.#socket = connect({ ...address, noDelay: true });
    this.#socket.on('data', (chunk) => reader.read(chunk));
    this.#socket.once('error', () => this.#fail('CLOSED'));
    this.#socket.once('close', () => this.#fail('CLOSED'));
    this.#flush();
  }

  /** Whether it takes streams. */
  get usable(): boolean {
    return this.#over === undefined && !this.#isLeaving && this.#nextId < 2 ** 30;
  }

  /** Sends a case. @param ms after which it hangs */
  send(wire: Wire & { on: 'stream' }, ms: number): Promise<Outcome> {
    return new Promise((resolve) => {
      const begin = (): void => this.#begin(wire, ms, resolve);
      if (this.usable && this.#open.size >= this.#most) this.#waiting.push(begin);
      else begin();
    });
  }

  #begin(wire: Wire & { on: 'stream' }, ms: number, resolve: (outcome: Outcome) => void): void {
    const id = this.#nextId;
    this.#nextId += 2;
    const timer = setTimeout(() => this.#hang(id), ms);
    const done = (outcome: Outcome): void => {
      clearTimeout(timer);
      resolve(outcome);
    };
    if (this.#over !== undefined || this.#isLeaving) {
      done({ statuses: [this.#over ?? UNSEEN], body: NOTHING });
      return;
    }
    const { headers, data, end } = wire;
    const ends = end === 'data';
    const isBare = ends && data.length === 0;
    this.#sendBlock(id, block(headers), isBare ? END_STREAM : 0);
    const open: Open = {
      rest: [...data],
      window: this.#streamWindow,
      last:
        end === 'trailers'
          ? frame(HEADERS, END_HEADERS | END_STREAM, id, block([['x-trailer', 'one']]))
          : undefined,
      ends: ends && !isBare,
      hasEnded: isBare,
      headers: undefined,
      http: undefined,
      body: [],
      done,
    };
    this.#open.set(id, open);
    this.#sendRest(id, open);
    if (end === 'reset') this.#end(id, 'LEFT', true);
    this.#flush();
  }

  close(): void {
    this.#socket.destroy();
  }

  #sendBlock(id: number, headers: Buffer, flags: number): void {
    if (headers.length <= MAX_FRAME) {
      this.#out.push(frame(HEADERS, END_HEADERS | flags, id, headers));
      return;
    }
    this.#out.push(frame(HEADERS, flags, id, headers.subarray(0, MAX_FRAME)));
    for (let at = MAX_FRAME; at < headers.length; at += MAX_FRAME) {
      const isLast = at + MAX_FRAME >= headers.length;
      const part = headers.subarray(at, at + MAX_FRAME);
      this.#out.push(frame(CONTINUATION, isLast ? END_HEADERS : 0, id, part));
    }
  }

  #sendRest(id: number, open: Open): void {
    while (open.rest.length > 0) {
      const next = open.rest[0]!;
      const size = Math.min(next.length, MAX_FRAME, this.#window, open.window);
      if (size <= 0 && next.length > 0) return;
      if (size === next.length) open.rest.shift();
      else open.rest[0] = next.subarray(size);
      this.#window -= size;
      open.window -= size;
      const isLast = open.rest.length === 0 && open.ends;
      open.hasEnded = isLast;
      this.#out.push(frame(DATA, isLast ? END_STREAM : 0, id, next.subarray(0, size)));
    }
    if (open.last) {
      this.#out.push(open.last);
      open.hasEnded = true;
    }
    open.last = undefined;
  }

  /** Writes what there is, once a turn. */
  #flush(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    setImmediate(() => {
      this.#flushing = false;
      if (this.#out.length === 0 || this.#socket.destroyed) return;
      const out = Buffer.concat(this.#out);
      this.#out = [];
      this.#socket.write(out);
    });
  }

  #frame(type: number, flags: number, id: number, payload: Buffer): void {
    const open = this.#open.get(id);
    switch (type) {
      case HEADERS:
      case CONTINUATION:
        if (open) this.#headers(id, open, flags, payload);
        return;
      case DATA:
        this.#taken += payload.length;
        if (this.#taken >= WINDOW_STEP) {
          this.#out.push(windowUpdate(0, this.#taken));
          this.#taken = 0;
          this.#flush();
        }
        open?.body.push(Buffer.from(payload));
        if (flags & END_STREAM) this.#end(id, undefined);
        return;
      case RST_STREAM:
        return this.#end(id, `RST_${payload.readUInt32BE(0)}`);
      case SETTINGS:
        if ((flags & ACK) === 0) this.#settings(payload);
        return;
      case PING:
        if ((flags & ACK) === 0) this.#out.push(frame(PING, ACK, 0, payload));
        return this.#flush();
      case GOAWAY: {
        const code = payload.readUInt32BE(4);
        if (code === NO_ERROR) return this.#leave(payload.readUInt32BE(0) & LARGEST_WINDOW);
        return this.#fail(`GOAWAY_${code}`);
      }
      case WINDOW_UPDATE: {
        const more = payload.readUInt32BE(0) & LARGEST_WINDOW;
        if (id === 0) this.#window += more;
        else if (open) open.window += more;
        return this.#sendRests();
      }
      default:
    }
  }

  #settings(payload: Buffer): void {
    const window = settingsOf(payload).get(INITIAL_WINDOW_SIZE);
    this.#most = settingsOf(payload).get(MAX_CONCURRENT_STREAMS) ?? this.#most;
    if (window !== undefined) {
      for (const open of this.#open.values()) open.window += window - this.#streamWindow;
      this.#streamWindow = window;
    }
    this.#out.push(frame(SETTINGS, ACK, 0, NOTHING));
    this.#sendRests();
  }

  #sendRests(): void {
    for (const [id, open] of this.#open) if (open.rest.length > 0) this.#sendRest(id, open);
    this.#flush();
  }

  #headers(id: number, open: Open, flags: number, payload: Buffer): void {
    const headers = open.headers ? Buffer.concat([open.headers, payload]) : Buffer.from(payload);
    open.headers = flags & END_HEADERS ? undefined : headers;
    if ((flags & END_HEADERS) === 0) return;
    open.http ??= httpStatusOf(headers) ?? 'unknown';
    const code = grpcStatusOf(headers);
    if (code !== undefined) this.#end(id, grpcStatus[code] ?? `GRPC_${code}`);
    else if (flags & END_STREAM) this.#end(id, undefined);
  }

  #hang(id: number): void {
    const open = this.#open.get(id);
    if (!open) return;
    const unsent = open.rest.reduce((sum, part) => sum + part.length, 0);
    const windows = `${open.window} of the stream and ${this.#window} of the connection`;
    open.body.push(Buffer.from(`${unsent} bytes were not sent; the window has ${windows}`));
    this.#end(id, 'HANG', true);
  }

  /** @param status that of HTTP where there is none */
  #end(id: number, status: string | undefined, resets = false): void {
    const open = this.#open.get(id);
    if (!open) return;
    this.#open.delete(id);
    // What we did not end, the peer may wait for, and counts.
    if (resets || open.rest.length > 0 || !open.hasEnded) this.#out.push(reset(id, CANCEL));
    this.#flush();
    const told = status ?? `HTTP_${open.http}`;
    open.done({ statuses: [told], body: Buffer.concat(open.body) });
    if (this.#isLeaving && this.#open.size === 0) this.#fail(UNSEEN);
    else if (this.#open.size < this.#most) this.#waiting.shift()?.();
  }

  /** The peer takes nothing more, as one does whose connections have an age: what it has begun it ends. */
  #leave(last: number): void {
    this.#isLeaving = true;
    for (const id of this.#open.keys()) if (id > last) this.#end(id, UNSEEN);
    for (const begin of this.#waiting.splice(0)) begin();
    if (this.#open.size === 0) this.#fail(UNSEEN);
  }

  #fail(why: string): void {
    if (this.#over !== undefined) return;
    this.#over = why;
    for (const id of this.#open.keys()) this.#end(id, why);
    for (const begin of this.#waiting.splice(0)) begin();
    this.#socket.destroySoon();
  }
}
