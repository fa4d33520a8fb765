/** The parts of HTTP/2 (RFC 9113) and HPACK (RFC 7541) that a client of one kind of call needs. */

export const DATA = 0x0;
export const HEADERS = 0x1;
export const RST_STREAM = 0x3;
export const SETTINGS = 0x4;
export const PING = 0x6;
export const GOAWAY = 0x7;
export const WINDOW_UPDATE = 0x8;
export const CONTINUATION = 0x9;

export const END_STREAM = 0x1;
export const ACK = 0x1;
export const END_HEADERS = 0x4;

export const HEADER_TABLE_SIZE = 0x1;
export const ENABLE_PUSH = 0x2;
export const MAX_CONCURRENT_STREAMS = 0x3;
export const INITIAL_WINDOW_SIZE = 0x4;

/** Error code of a call that its caller gave up. */
export const CANCEL = 0x8;

/** Largest payload of a frame that every peer takes. */
export const MAX_FRAME = 16_384;
export const DEFAULT_WINDOW = 65_535;
export const LARGEST_WINDOW = 2 ** 31 - 1;

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
/** Bytes of a frame before its payload. */
export const HEAD = 9;

export function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(HEAD + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  bytes.set(payload, HEAD);
  return bytes;
}

export function windowUpdate(stream: number, more: number): Buffer {
  return frame(WINDOW_UPDATE, 0, stream, uint32(more));
}

export function reset(stream: number, code: number): Buffer {
  return frame(RST_STREAM, 0, stream, uint32(code));
}

/** The settings of a SETTINGS frame. */
export function settingsOf(payload: Buffer): Map<number, number> {
  const settings = new Map<number, number>();
  for (let at = 0; at + 6 <= payload.length; at += 6) {
    settings.set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2));
  }
  return settings;
}

/**
 * What a connection begins with. The peer may send as much as it likes, and may not compress headers by what it sent
 * before: equal answers are then equal bytes, and {@link grpcStatusOf} needs no state.
 */
export function opening(): Buffer {
  const settings = Buffer.concat(
    [
      [HEADER_TABLE_SIZE, 0],
      [ENABLE_PUSH, 0],
      [INITIAL_WINDOW_SIZE, LARGEST_WINDOW],
    ].map(([id, value]) => Buffer.concat([Buffer.from([0, id!]), uint32(value!)])),
  );
  return Buffer.concat([
    PREFACE,
    frame(SETTINGS, 0, 0, settings),
    windowUpdate(0, LARGEST_WINDOW - DEFAULT_WINDOW),
  ]);
}

/** The header block of a gRPC call, the same for every call: nothing in it refers to what was sent before. */
export function callHeaders(
  path: string,
  authority: string,
  headers: Readonly<Record<string, string>>,
  scheme: 'http' | 'https' = 'http',
): Buffer {
  return Buffer.concat([
    // `:method POST` and `:scheme`, by their places in the static table.
    Buffer.from([0x83, scheme === 'http' ? 0x86 : 0x87]),
    Buffer.from([0x04]),
    text(path),
    Buffer.from([0x01]),
    text(authority),
    ...Object.entries({ te: 'trailers', 'content-type': 'application/grpc', ...headers }).flatMap(
      ([name, value]) => [Buffer.from([0x00]), text(name), text(value)],
    ),
  ]);
}

/** `grpc-status` as HPACK's code writes it, which is shorter than its letters, and as letters. */
const STATUS_NAMES = [Buffer.from('889acac8b21234da8f', 'hex'), Buffer.from('\x0bgrpc-status')];

/** The status in a header block; `undefined` where it has none. */
export function grpcStatusOf(block: Buffer): number | undefined {
  return statusIn(block, 0, block.length);
}

/** The same of a part of some bytes. A number of two digits is no shorter in HPACK's code. */
export function statusIn(bytes: Buffer, from: number, to: number): number | undefined {
  for (const name of STATUS_NAMES) {
    const [first, second] = [name[0], name[1]];
    for (let at = from; at + name.length < to; at++) {
      if (bytes[at] !== first || bytes[at + 1] !== second) continue;
      if (bytes.compare(name, 0, name.length, at, at + name.length) !== 0) continue;
      return digits(bytes, at + name.length + 1, bytes[at + name.length]!, to);
    }
  }
  return undefined;
}

function digits(bytes: Buffer, from: number, length: number, to: number): number | undefined {
  if (length < 1 || length > 2 || from + length > to) return undefined;
  let value = 0;
  for (let at = from; at < from + length; at++) {
    const digit = bytes[at]! - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = 10 * value + digit;
  }
  return value;
}

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);
  readonly #onFrame: (type: number, flags: number, stream: number, payload: Buffer) => void;

  constructor(onFrame: (type: number, flags: number, stream: number, payload: Buffer) => void) {
    this.#onFrame = onFrame;
  }

  read(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= HEAD) {
      const end = at + HEAD + bytes.readUIntBE(at, 3);
      if (end > bytes.length) break;
      const stream = bytes.readUInt32BE(at + 5) & 0x7fffffff;
      this.#onFrame(bytes[at + 3]!, bytes[at + 4]!, stream, bytes.subarray(at + HEAD, end));
      at = end;
    }
    this.#rest = bytes.subarray(at);
  }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A string without HPACK's code. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  const prefix: number[] = [];
  let length = bytes.length;
  if (length < 127) prefix.push(length);
  else {
    prefix.push(127);
    length -= 127;
    for (; length >= 128; length = Math.floor(length / 128)) prefix.push((length % 128) + 128);
    prefix.push(length);
  }
  return Buffer.concat([Buffer.from(prefix), bytes]);
}
