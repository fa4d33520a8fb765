import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import {
  ACK,
  CANCEL,
  CONTINUATION,
  DATA,
  DEFAULT_WINDOW,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  grpcStatusOf,
  HEAD,
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
  statusIn,
  WINDOW_UPDATE,
  windowUpdate,
} from './frames.ts';

/** The server may send so much before it is told that it may send more. */
const WINDOW_STEP = 1 << 20;
/** Bytes that are gathered before they are written. */
const OUT_BYTES = 128 * 1024;
/** Buffers that are kept for that, so that a pause of the server makes few. */
const SPARE = 4;
/** Streams of a connection that can be told apart: the newest. Those that are older have been given up. */
const STREAMS = 1 << 16;

/** The calls of a plan as they stand on the wire, made once. */
export interface Template {
  /** The frames of the whole call with streams of zero, where the body fits into one frame. */
  readonly whole: Buffer | undefined;
  readonly body: Buffer;
}

/** @param headers see `callHeaders` */
export function templateOf(headers: Buffer, body: Buffer): Template {
  if (body.length > MAX_FRAME) return { whole: undefined, body };
  const frames = [frame(HEADERS, END_HEADERS, 0, headers), frame(DATA, END_STREAM, 0, body)];
  return { whole: Buffer.concat(frames), body };
}

/** A body that the server's windows do not take as a whole. */
interface Rest {
  bytes: Buffer;
  window: number;
}

/**
 * A connection of HTTP/2 that does nothing but calls of one method with headers that never change. A call is a number of
 * the caller's; nothing is made for one that the windows take at once.
 */
export class Connection {
  readonly #socket: Socket;
  readonly #headers: Buffer;
  readonly #onEnd: (call: number, outcome: number | string) => void;
  /** The call of each stream, and one more; 0 for none. */
  readonly #calls = new Uint32Array(STREAMS);
  readonly #rests = new Map<number, Rest>();
  /** Header blocks that go on in the next frame. */
  readonly #blocks = new Map<number, Buffer>();
  /** Calls that wait for the server to take more streams. */
  readonly #waiting = new Map<number, Template>();
  readonly #spare: Buffer[] = [];
  #out: Buffer = Buffer.allocUnsafeSlow(OUT_BYTES);
  #length = 0;
  #in: Buffer = Buffer.alloc(0);
  #nextId = 1;
  /** No stream before it is open. */
  #oldest = 1;
  #open = 0;
  #window = DEFAULT_WINDOW;
  #streamWindow = DEFAULT_WINDOW;
  #maxStreams = Infinity;
  #taken = 0;
  #leaving = false;
  #failed: string | undefined;
  #isKnown = (): void => {};
  /** Resolves when the server has said what it takes, or can't be reached. */
  readonly known = new Promise<void>((resolve) => (this.#isKnown = resolve));

  /**
   * @param address `ca` where the server speaks TLS
   * @param onEnd what became of a call: a gRPC status, or a word where there is none. Called once for each
   */
  constructor(
    { ca, ...address }: { host: string; port: number; ca?: string | undefined },
    headers: Buffer,
    onEnd: (call: number, outcome: number | string) => void,
  ) {
    this.#headers = headers;
    this.#onEnd = onEnd;
    this.#socket =
      ca === undefined ? connect(address) : connectTls({ ...address, ca, ALPNProtocols: ['h2'] });
    this.#socket.setNoDelay(true);
    this.#socket.on('data', (chunk) => {
      this.#read(chunk);
      this.flush();
    });
    this.#socket.once('error', (error) => this.#fail((error as NodeJS.ErrnoException).code ?? 'FAILED'));
    this.#socket.once('close', () => this.#fail('CLOSED'));
    this.#put(opening());
    this.flush();
  }

  /** Whether it takes calls. */
  get usable(): boolean {
    return this.#failed === undefined && !this.#leaving;
  }

  /** Sends a call with the next {@link flush}. */
  send(call: number, template: Template): void {
    if (this.#failed !== undefined) this.#onEnd(call, this.#failed);
    else if (this.#open >= this.#maxStreams) this.#waiting.set(call, template);
    else this.#start(call, template);
  }

  /** Gives a call up, as a client does whose deadline has passed. */
  cancel(call: number): void {
    if (this.#waiting.delete(call)) return;
    // Calls are given up in the order in which they began.
    const oldest = Math.max(this.#oldest, this.#nextId - 2 * STREAMS);
    for (this.#oldest = oldest; this.#isFree(this.#oldest); this.#oldest += 2);
    for (let id = this.#oldest; id < this.#nextId; id += 2) {
      if (this.#calls[(id >>> 1) % STREAMS] !== call + 1) continue;
      this.#put(reset(id, CANCEL));
      this.#forget(id);
      return;
    }
  }

  #isFree(id: number): boolean {
    return id < this.#nextId && this.#calls[(id >>> 1) % STREAMS] === 0;
  }

  /** Writes what there is. */
  flush(): void {
    if (this.#length === 0 || this.#socket.destroyed) return;
    const written = this.#out;
    this.#socket.write(written.subarray(0, this.#length), () => {
      if (this.#spare.length < SPARE && written.length === OUT_BYTES) this.#spare.push(written);
    });
    this.#out = this.#spare.pop() ?? Buffer.allocUnsafeSlow(OUT_BYTES);
    this.#length = 0;
  }

  close(): void {
    this.flush();
    this.#socket.destroy();
  }

  #room(bytes: number): void {
    if (this.#length + bytes <= this.#out.length) return;
    this.flush();
    if (bytes > this.#out.length) this.#out = Buffer.allocUnsafeSlow(bytes);
  }

  #put(bytes: Buffer): void {
    this.#room(bytes.length);
    this.#out.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #start(call: number, { whole, body }: Template): void {
    const id = this.#nextId;
    this.#nextId += 2;
    this.#calls[(id >>> 1) % STREAMS] = call + 1;
    this.#open++;
    if (whole && body.length <= this.#window && body.length <= this.#streamWindow) {
      const at =
        this.#length + whole.length <= this.#out.length ? this.#length : (this.#room(whole.length), 0);
      this.#out.set(whole, at);
      this.#out.writeUInt32BE(id, at + 5);
      this.#out.writeUInt32BE(id, at + HEAD + this.#headers.length + 5);
      this.#length = at + whole.length;
      this.#window -= body.length;
      return;
    }
    this.#put(frame(HEADERS, END_HEADERS, id, this.#headers));
    const rest = { bytes: body, window: this.#streamWindow };
    this.#rests.set(id, rest);
    this.#sendRest(id, rest);
  }

  #sendRest(id: number, rest: Rest): void {
    while (rest.bytes.length > 0) {
      const size = Math.min(rest.bytes.length, MAX_FRAME, this.#window, rest.window);
      if (size <= 0) return;
      const payload = rest.bytes.subarray(0, size);
      rest.bytes = rest.bytes.subarray(size);
      this.#window -= size;
      rest.window -= size;
      this.#put(frame(DATA, rest.bytes.length === 0 ? END_STREAM : 0, id, payload));
    }
    this.#rests.delete(id);
  }

  #read(chunk: Buffer): void {
    const bytes = this.#in.length === 0 ? chunk : Buffer.concat([this.#in, chunk]);
    let at = 0;
    while (bytes.length - at >= HEAD) {
      const end = at + HEAD + ((bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!);
      if (end > bytes.length) break;
      const stream = bytes.readUInt32BE(at + 5) & 0x7fffffff;
      this.#frame(bytes[at + 3]!, bytes[at + 4]!, stream, bytes, at + HEAD, end);
      at = end;
    }
    this.#in = at === bytes.length ? EMPTY : bytes.subarray(at);
  }

  #frame(type: number, flags: number, stream: number, bytes: Buffer, from: number, to: number): void {
    switch (type) {
      case HEADERS:
      case CONTINUATION:
        return this.#headersCame(flags, stream, bytes, from, to);
      case DATA: {
        this.#taken += to - from;
        if (this.#taken >= WINDOW_STEP) {
          this.#put(windowUpdate(0, this.#taken));
          this.#taken = 0;
        }
        if (flags & END_STREAM) this.#end(stream, 'NO_STATUS');
        return;
      }
      case RST_STREAM:
        return this.#end(stream, `RST_${bytes.readUInt32BE(from)}`);
      case SETTINGS:
        if (!(flags & ACK)) this.#settings(bytes.subarray(from, to));
        return;
      case PING:
        if (!(flags & ACK)) this.#put(frame(PING, ACK, 0, bytes.subarray(from, to)));
        return;
      case GOAWAY:
        return this.#goAway(bytes.readUInt32BE(from) & 0x7fffffff);
      case WINDOW_UPDATE: {
        const more = bytes.readUInt32BE(from) & LARGEST_WINDOW;
        const rest = this.#rests.get(stream);
        if (stream === 0) this.#window += more;
        else if (rest) rest.window += more;
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
      for (const rest of this.#rests.values()) rest.window += window - this.#streamWindow;
      this.#streamWindow = window;
    }
    this.#put(frame(SETTINGS, ACK, 0, EMPTY));
    this.#isKnown();
    this.#sendRests();
  }

  #sendRests(): void {
    for (const [id, rest] of this.#rests) this.#sendRest(id, rest);
  }

  /** Those that the server has not seen never will be. */
  #goAway(last: number): void {
    this.#leaving = true;
    for (let id = last + 1 + (last % 2); id < this.#nextId; id += 2) this.#end(id, 'GOAWAY');
    const waiting = [...this.#waiting.keys()];
    this.#waiting.clear();
    for (const call of waiting) this.#onEnd(call, 'GOAWAY');
  }

  #headersCame(flags: number, stream: number, bytes: Buffer, from: number, to: number): void {
    let status: number | undefined;
    const before = this.#blocks.size > 0 ? this.#blocks.get(stream) : undefined;
    if (before || !(flags & END_HEADERS)) {
      const block = Buffer.concat([before ?? EMPTY, bytes.subarray(from, to)]);
      // The flag that ends the stream is in the first frame; a block in several frames is always a trailer here.
      if (!(flags & END_HEADERS)) return void this.#blocks.set(stream, block);
      this.#blocks.delete(stream);
      status = grpcStatusOf(block);
    } else status = statusIn(bytes, from, to);
    if (status !== undefined) this.#end(stream, status);
    else if (flags & END_STREAM) this.#end(stream, 'NO_STATUS');
  }

  #end(id: number, outcome: number | string): void {
    const call = this.#calls[(id >>> 1) % STREAMS]!;
    if (call === 0 || id >= this.#nextId) return;
    this.#forget(id);
    this.#onEnd(call - 1, outcome);
  }

  #forget(id: number): void {
    this.#calls[(id >>> 1) % STREAMS] = 0;
    this.#open--;
    if (this.#rests.size > 0) this.#rests.delete(id);
    if (this.#waiting.size === 0) return;
    for (const [call, template] of this.#waiting) {
      if (this.#open >= this.#maxStreams) return;
      this.#waiting.delete(call);
      this.#start(call, template);
    }
  }

  #fail(why: string): void {
    if (this.#failed !== undefined) return;
    this.#failed = why;
    this.#isKnown();
    const calls = [...this.#calls].flatMap((call) => (call === 0 ? [] : [call - 1]));
    calls.push(...this.#waiting.keys());
    this.#calls.fill(0);
    this.#waiting.clear();
    for (const call of calls) this.#onEnd(call, why);
  }
}

const EMPTY = Buffer.alloc(0);
