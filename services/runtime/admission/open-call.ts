import type { ServerHttp2Stream } from 'node:http2';
import type { ServiceError } from '../errors.ts';
import type { Arrival, Ticket } from '../listener/seams.ts';
import type { Untaken } from './answers.ts';
import type { Kind } from './admission.ts';
import type { Applicant, Priority } from './call-queue.ts';
import type { MessageMeter } from './message-meter.ts';

/** Who is told what becomes of a call. */
export interface Keeper {
  /** There is no room for what comes of its body. */
  noRoom(call: OpenCall): void;
  /** A message came as a whole, the first of its call. */
  whole(call: OpenCall): void;
  /** It needs no slot any more. */
  giveSlot(call: OpenCall): void;
  ended(call: OpenCall): void;
}

/** A call that asks to be let in, or was. One object: there are thousands a second. */
export class OpenCall implements Applicant, Ticket {
  readonly method: string;
  readonly kind: Kind;
  /** Whether it counts as a stream: it may last, whatever it does. */
  readonly isStream: boolean;
  readonly flow: string;
  readonly priority: Priority;
  /** Its address, where it is counted by it. */
  readonly peer: string;
  readonly arrived: number;
  readonly deadline: number;
  readonly stream: ServerHttp2Stream | undefined;
  readonly meter: MessageMeter | undefined;
  readonly answer: Arrival['answer'];
  readonly untaken: Untaken = { bytes: 0, since: 0 };
  turn: Promise<void> | undefined;
  visitor: object | undefined;
  hasSlot = false;
  refusal: ServiceError | undefined;
  isOver = false;
  readonly #keeper: Keeper;

  constructor(
    keeper: Keeper,
    { method, stream, answer }: Arrival,
    its: Pick<OpenCall, 'kind' | 'isStream' | 'flow' | 'peer' | 'arrived' | 'deadline' | 'meter'>,
  ) {
    this.#keeper = keeper;
    this.method = method;
    this.stream = stream;
    this.answer = answer;
    this.kind = its.kind;
    this.isStream = its.isStream;
    this.flow = its.flow;
    this.priority = its.kind === 'batch' ? 'batch' : 'interactive';
    this.peer = its.peer;
    this.arrived = its.arrived;
    this.deadline = its.deadline;
    this.meter = its.meter;
  }

  /** Whether its handler has begun with its head, and tells how it ended. */
  get isWatched(): boolean {
    return this.isStream && this.kind !== 'free';
  }

  read(chunk: Buffer): void {
    const { meter } = this;
    if (this.isOver || !meter) return;
    const wasWhole = meter.isWhole;
    if (!meter.read(chunk)) this.#keeper.noRoom(this);
    else if (!wasWhole && meter.isWhole) this.#keeper.whole(this);
  }

  inflated(bytes: number): void {
    this.meter?.inflated(bytes);
  }

  answered(): void {
    if (this.hasSlot) this.#keeper.giveSlot(this);
  }

  done(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.meter?.end();
    this.#keeper.ended(this);
  }
}
