import { EventEmitter } from 'node:events';
import { Duplex } from 'node:stream';
import { Metadata, status as Code } from '@grpc/grpc-js';
import type { IngestRequest } from '../../proto/generated/scalingnote/v1/IngestRequest.ts';
import type { IngestResponse } from '../../proto/generated/scalingnote/v1/IngestResponse.ts';
import type { IngestResponse__Output } from '../../proto/generated/scalingnote/v1/IngestResponse.ts';
import { v1 } from '../../proto/load.ts';
import type { Simulation } from '../../store/testing/simulation.ts';

const { requestSerialize, responseDeserialize, responseSerialize } = v1.DocumentService.service.Ingest;

/** Messages that a side may have under way before it is asked to wait. */
const UNDER_WAY = 8;

/** How long a server may work on for a client that is gone, before it counts. */
const UNNOTICED_MS = 20;

/** What may happen to messages on their way; a test changes them to see whether the judge notices. */
export interface Tampering {
  /** What becomes of a message to the server; `undefined` loses it. */
  request?(message: IngestRequest, connection: number): IngestRequest | undefined;
  /** What becomes of a message to the client. */
  response?(message: IngestResponse__Output, connection: number): IngestResponse__Output;
}

/** Delivers in order, each after some time; all that has come by then may go together. */
class Pipe<Item> {
  readonly #simulation: Simulation;
  readonly #deliver: (item: Item) => void;
  readonly #latency: number;
  #queue: Item[] = [];
  #running = false;
  #closed = false;

  constructor(simulation: Simulation, latency: number, deliver: (item: Item) => void) {
    this.#simulation = simulation;
    this.#latency = latency;
    this.#deliver = deliver;
  }

  get length(): number {
    return this.#queue.length;
  }

  push(item: Item): void {
    if (this.#closed) return;
    this.#queue.push(item);
    if (!this.#running) void this.#run();
  }

  /** Loses all that is under way. */
  close(): void {
    this.#closed = true;
    this.#queue = [];
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#queue.length > 0) {
      await this.#simulation.pause(this.#simulation.below(this.#latency));
      const arrived = this.#queue.splice(0, 1 + this.#simulation.below(this.#queue.length));
      for (const item of arrived) this.#deliver(item);
    }
    this.#running = false;
  }
}

type ToClient = { message: Buffer } | { end: true } | { error: Error };

/** A status as grpc-js gives it to a client. */
export function transportError(code: Code, details: string): Error {
  return Object.assign(new Error(`${code}: ${details}`), { code, details, metadata: new Metadata() });
}

/** The client's end of a stream: what `clients/ingest.ts` needs of a `ClientDuplexStream`. */
export class ClientCall extends EventEmitter {
  readonly #connection: Connection;
  writableNeedDrain = false;

  constructor(connection: Connection) {
    super();
    this.#connection = connection;
  }

  write(message: IngestRequest): boolean {
    this.writableNeedDrain = !this.#connection.send(message);
    return !this.writableNeedDrain;
  }

  end(): void {
    this.#connection.halfClose();
  }

  cancel(): void {
    this.#connection.cancel();
  }
}

/** The server's end of a stream: what `services/runtime/handler.ts` needs of a `ServerDuplexStream`. */
export class ServerCall extends Duplex {
  readonly metadata = new Metadata();
  cancelled = false;
  readonly #inbox: unknown[] = [];
  #wanted = false;
  #ended = false;
  #send: (response: IngestResponse, done: () => void) => void;
  #finish: () => void;
  onTaken = (): void => {};

  constructor(send: (response: IngestResponse, done: () => void) => void, finish: () => void) {
    super({ objectMode: true, allowHalfOpen: true, autoDestroy: false, emitClose: false });
    this.#send = send;
    this.#finish = finish;
  }

  /** Messages that have arrived and were not read. */
  get waiting(): number {
    return this.#inbox.length;
  }

  getDeadline(): number {
    return Infinity;
  }

  /** A message has arrived; `null` when no more will come. */
  arrive(message: unknown): void {
    this.#inbox.push(message);
    if (this.#wanted) this.#next();
  }

  /** The client is gone. */
  giveUp(): void {
    if (this.cancelled) return;
    this.cancelled = true;
    this.emit('cancelled');
  }

  override _read(): void {
    this.#wanted = true;
    this.#next();
  }

  override _write(response: IngestResponse, _encoding: string, callback: () => void): void {
    this.#send(response, callback);
  }

  override _final(callback: () => void): void {
    this.#finish();
    callback();
  }

  #next(): void {
    if (this.#inbox.length === 0 || this.#ended) return;
    const message = this.#inbox.shift();
    this.#wanted = false;
    if (message === null) this.#ended = true;
    this.push(message);
    this.onTaken();
  }
}

/** One stream between a client and a server. */
export class Connection {
  readonly number: number;
  readonly client: ClientCall;
  readonly server: ServerCall;
  readonly #simulation: Simulation;
  readonly #tampering: Tampering;
  readonly #halfOpenMs: number;
  readonly #toServer: Pipe<Buffer | null>;
  readonly #toClient: Pipe<ToClient>;
  readonly #waiting: (() => void)[] = [];
  #isOver = false;
  onOver = (): void => {};
  /** The client has lost the connection, and the server will work on for a while. */
  onUnnoticed = (): void => {};

  /** @param halfOpenMs how much later than the client the server may notice that the connection is gone */
  constructor(
    simulation: Simulation,
    number: number,
    deserialize: (bytes: Buffer) => unknown,
    { tampering, halfOpenMs, latency }: { tampering: Tampering; halfOpenMs: number; latency: number },
  ) {
    this.#simulation = simulation;
    this.number = number;
    this.#tampering = tampering;
    this.#halfOpenMs = halfOpenMs;
    this.client = new ClientCall(this);
    this.server = new ServerCall(
      (response, done) => {
        this.#toClient.push({ message: responseSerialize(response) });
        if (this.#toClient.length < UNDER_WAY || this.#isOver) done();
        else this.#waiting.push(done);
      },
      () => this.#toClient.push({ end: true }),
    );
    this.server.on('error', (error: Error) => this.#toClient.push({ error }));
    this.server.onTaken = () => this.#drain();
    this.#toServer = new Pipe(simulation, latency, (bytes) => {
      this.server.arrive(bytes === null ? null : deserialize(bytes));
      this.#drain();
    });
    this.#toClient = new Pipe(simulation, latency, (item) => this.#arrive(item));
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** @returns whether the client may send more at once */
  send(message: IngestRequest): boolean {
    const sent = this.#tampering.request ? this.#tampering.request(message, this.number) : message;
    if (sent && !this.#isOver) this.#toServer.push(requestSerialize(sent));
    return this.#hasRoom();
  }

  halfClose(): void {
    if (!this.#isOver) this.#toServer.push(null);
  }

  /** The client gives the stream up. */
  cancel(): void {
    this.#break(transportError(Code.CANCELLED, 'Cancelled on client'), 0);
  }

  /** The network loses the connection, with all that is under way. */
  cut(): void {
    const { code, details } = this.#simulation.pick([
      { code: Code.UNAVAILABLE, details: 'Connection dropped' },
      { code: Code.UNAVAILABLE, details: 'read ECONNRESET' },
      { code: Code.INTERNAL, details: 'Received RST_STREAM with code 2' },
      { code: Code.CANCELLED, details: 'Call cancelled' },
    ]);
    this.#break(transportError(code, details), this.#simulation.below(20));
  }

  #break(status: Error, afterMs: number): void {
    if (this.#isOver) return;
    this.#over();
    const { server } = this;
    const told = this.#simulation.below(this.#halfOpenMs + 1);
    if (told > UNNOTICED_MS) this.onUnnoticed();
    void this.#simulation.pause(told).then(async () => {
      // To grpc-js the messages have ended when the client is gone, and the signal comes a moment later.
      if (this.#simulation.chance(0.5)) server.arrive(null);
      await this.#simulation.pause(this.#simulation.below(2));
      server.giveUp();
    });
    void this.#simulation.pause(afterMs).then(() => this.client.emit('error', status));
  }

  #arrive(item: ToClient): void {
    for (const done of this.#waiting.splice(0)) done();
    if ('message' in item) {
      const message = responseDeserialize(item.message);
      this.client.emit('data', this.#tampering.response?.(message, this.number) ?? message);
    } else {
      this.#over();
      if ('end' in item) this.client.emit('end');
      else this.client.emit('error', item.error);
      // grpc-js says so after a proper end as well.
      this.server.giveUp();
    }
  }

  #over(): void {
    this.#isOver = true;
    this.#toServer.close();
    this.#toClient.close();
    for (const done of this.#waiting.splice(0)) done();
    this.onOver();
  }

  #hasRoom(): boolean {
    return this.#toServer.length + this.server.waiting < UNDER_WAY;
  }

  #drain(): void {
    if (!this.client.writableNeedDrain || !this.#hasRoom() || this.#isOver) return;
    this.client.writableNeedDrain = false;
    this.client.emit('drain');
  }
}
