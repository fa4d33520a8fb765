/** A header field of HTTP, in the order in which it is sent. */
export type Header = readonly [name: string, value: string];

/** The services that are hunted. */
export type ServiceName = 'query' | 'document';

/** What is sent: on a stream of a connection that other cases use, or on a connection of its own. */
export type Wire =
  /** A stream of HTTP/2. `reset`: given up when all was sent, without an end. `alone`: it may harm its connection. */
  | {
      readonly on: 'stream';
      readonly alone?: boolean;
      readonly headers: readonly Header[];
      readonly data: readonly Buffer[];
      readonly end: 'data' | 'trailers' | 'reset';
    }
  /** Frames after the opening of a connection of HTTP/2. */
  | { readonly on: 'http2'; readonly frames: readonly Buffer[] }
  /** Bytes of a connection, from its first one on. `whole`: they want an answer. */
  | { readonly on: 'tcp'; readonly chunks: readonly Buffer[]; readonly whole: boolean };

/** One thing to send, and what may come of it. Plain data: it can be printed, kept and sent again. */
export interface Case {
  /** Which generator made it. */
  readonly kind: string;
  readonly service: ServiceName;
  /** Whether it goes to the services that want keys. */
  readonly keyed: boolean;
  readonly wire: Wire;
  /** What it may be answered with, see {@link Outcome.statuses}; `*` for all that is no fault in itself. */
  readonly allowed: readonly string[];
  /** What is asked of the answer besides. */
  readonly check?: string;
}

/** What came of a case. */
export interface Outcome {
  /**
   * How each answer ended: `OK` and the other statuses of gRPC, `HTTP_400`, `RST_8`, `GOAWAY_1` (with HTTP/2's code),
   * `CLOSED` (without an answer), `LEFT` (given up by us), `HANG` (neither answered nor closed).
   */
  readonly statuses: readonly string[];
  /** The bytes of the answer: of the stream, or of the connection. */
  readonly body: Buffer;
}

const hex = (bytes: Buffer): string => bytes.toString('hex');
const bytes = (text: string): Buffer => Buffer.from(text, 'hex');

interface Written {
  kind: string;
  service: ServiceName;
  keyed: boolean;
  allowed: string[];
  check?: string;
  wire:
    | { on: 'stream'; alone?: boolean; headers: Header[]; data: string[]; end: 'data' | 'trailers' | 'reset' }
    | { on: 'http2'; frames: string[] }
    | { on: 'tcp'; chunks: string[]; whole: boolean };
}

/** Stands for the key of a site in a case that was written: each site has its own. */
const ANY_KEY = 'sn_KEY';

/** A case as text. */
export function written(one: Case): string {
  const { wire } = one;
  const plain =
    wire.on === 'stream'
      ? { ...wire, data: wire.data.map(hex) }
      : wire.on === 'http2'
        ? { ...wire, frames: wire.frames.map(hex) }
        : { ...wire, chunks: wire.chunks.map(hex) };
  return JSON.stringify({ ...one, wire: plain }).replaceAll(/sn_\w{40,}/g, ANY_KEY);
}

/** The case that a text means; see {@link written}. @param key of the site that it goes to */
export function readCase(text: string, key: string): Case {
  const { wire, ...rest } = JSON.parse(text.replaceAll(ANY_KEY, key)) as Written;
  switch (wire.on) {
    case 'stream':
      return { ...rest, wire: { ...wire, data: wire.data.map(bytes) } };
    case 'http2':
      return { ...rest, wire: { ...wire, frames: wire.frames.map(bytes) } };
    case 'tcp':
      return { ...rest, wire: { ...wire, chunks: wire.chunks.map(bytes) } };
  }
}
