import {
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Attributes,
  type AttributeValue,
  type Exception,
  type Link,
  type Span as ApiSpan,
  type SpanContext,
  type SpanStatus,
  type TimeInput,
} from '@opentelemetry/api';
import { newSpanId, newTraceId, type TraceParent } from './context.ts';
import { toPerformanceTime } from './clock.ts';

/** Events of one span: OpenTelemetry's own default. A stream of documents has no end. */
export const MAX_EVENTS = 128;

/** What {@link Recording}s report to. */
export interface SpanSink {
  /** Takes the spans of a recording that is to be kept. */
  export(spans: readonly Span[]): void;
  /** Whether there is room for a recording that nobody sampled and that is notable. */
  mayKeep(now: number): boolean;
}

/** Something that happened during a span. Times are those of `performance.now()`. */
export interface SpanEvent {
  name: string;
  time: number;
  attributes: Attributes;
}

/** Work that spans of many requests share, and that is kept with any of them. */
export interface SharedWork {
  readonly span: Span;
  keep(): void;
}

/**
 * The spans of one request in this process, until it is known whether they are kept: where the caller or the sampler
 * wanted them, where the request failed, or where it was slow. So every request is recorded, and a span has to cost
 * next to nothing: an object with numbers in it. Ids are made where somebody asks for them, everything else where spans
 * are kept.
 */
export class Recording {
  readonly sink: SpanSink;
  /** Whether it will be kept, whatever comes. */
  readonly sampled: boolean;
  readonly parent: TraceParent | undefined;
  /** The recording that this one is a part of, which is then kept as well. */
  readonly #within: Recording | undefined;
  #traceId: string | undefined;
  #spans: Span[] = [];
  #kept: boolean | undefined;
  #wanted = false;

  /** @param traceId where there is no parent to have it from. @default made when somebody asks for it */
  constructor(sink: SpanSink, sampled: boolean, parent?: TraceParent, traceId?: string, within?: Recording) {
    this.sink = sink;
    this.sampled = sampled;
    this.parent = parent;
    this.#traceId = parent?.traceId ?? traceId;
    this.#within = within;
  }

  get traceId(): string {
    return (this.#traceId ??= newTraceId());
  }

  add(span: Span): void {
    this.#spans.push(span);
  }

  /** A span has ended; with the root it is decided what becomes of all. */
  ended(span: Span): void {
    if (this.#kept !== undefined) {
      if (this.#kept) this.sink.export([span]);
      return;
    }
    if (span !== this.#spans[0]) return;
    this.#kept = this.sampled || this.#wanted || (span.notable && this.sink.mayKeep(span.endTime));
    if (this.#kept) {
      this.#within?.keep();
      this.sink.export(this.#spans.filter((each) => each.hasEnded));
    }
    this.#spans = [];
  }

  /** Has this recording kept, because a part of it is. */
  keep(): void {
    this.#wanted = true;
    this.#within?.keep();
  }
}

/**
 * A stretch of work. It is a span of OpenTelemetry's interface, so that libraries can begin theirs under it, and does
 * not use OpenTelemetry's own implementation: that takes 2.5 µs a span, and makes nothing of one that nobody sampled,
 * though it may turn out to be slow.
 */
export class Span implements ApiSpan {
  name: string;
  readonly kind: SpanKind;
  readonly recording: Recording;
  /** Which span of this process it belongs to; the root of a recording has none. */
  readonly parent: Span | undefined;
  /** As of `performance.now()`. */
  readonly startTime: number;
  endTime = -1;
  attributes: Attributes | undefined;
  links: Link[] | undefined;
  events: SpanEvent[] | undefined;
  droppedEvents = 0;
  status: SpanStatus = UNSET;
  /** Whether somebody will want to see it, sampled or not: it stands for a request that failed or was slow. */
  notable = false;
  /** Runs of the model that this work was a part of; each becomes a link. */
  batches: SharedWork[] | undefined;
  #id: string | undefined;

  constructor(
    recording: Recording,
    parent: Span | undefined,
    name: string,
    kind: SpanKind,
    startTime: number,
    attributes: Attributes | undefined,
  ) {
    this.recording = recording;
    this.parent = parent;
    this.name = name;
    this.kind = kind;
    this.startTime = startTime;
    this.attributes = attributes;
    recording.add(this);
  }

  get id(): string {
    return (this.#id ??= newSpanId());
  }

  get traceId(): string {
    return this.recording.traceId;
  }

  /** Whether it is certain already that it will be kept. */
  get sampled(): boolean {
    return this.recording.sampled;
  }

  get hasEnded(): boolean {
    return this.endTime >= 0;
  }

  /** What a call that is made on behalf of this span carries on. */
  get context(): TraceParent {
    const state = this.recording.parent?.state;
    return { traceId: this.traceId, spanId: this.id, sampled: this.sampled, ...(state && { state }) };
  }

  /** What a line of the log carries. */
  get logFields(): { trace_id: string; span_id: string } {
    return { trace_id: this.traceId, span_id: this.id };
  }

  /** Begins a part of this. */
  child(name: string, options: { kind?: SpanKind; startTime?: number; attributes?: Attributes } = {}): Span {
    const { kind = SpanKind.INTERNAL, startTime = performance.now(), attributes } = options;
    return new Span(this.recording, this, name, kind, startTime, attributes);
  }

  /** Tells of a part of this that is over. Times as of `performance.now()`. */
  record(name: string, startTime: number, endTime: number, attributes?: Attributes): Span {
    const span = new Span(this.recording, this, name, SpanKind.INTERNAL, startTime, attributes);
    span.endTime = endTime;
    this.recording.ended(span);
    return span;
  }

  /**
   * Begins a part of a stream that may last for days: it is decided on and sent when it ends, not with the stream.
   *
   * @param options.parent - the trace that it belongs to, where that is another one: the two are then linked
   */
  part(
    name: string,
    options: { kind?: SpanKind; startTime?: number; attributes?: Attributes; parent?: TraceParent } = {},
  ): Span {
    const { kind = SpanKind.INTERNAL, startTime = performance.now(), attributes, parent } = options;
    const { sink } = this.recording;
    const above = parent ?? this.context;
    const recording = new Recording(sink, above.sampled, above, undefined, this.recording);
    const span = new Span(recording, undefined, name, kind, startTime, attributes);
    if (parent) span.addLink({ context: this.spanContext() });
    return span;
  }

  /** What went wrong, in a stable word; see `error.type` of the semantic conventions. */
  fail(type: string, message?: string): this {
    this.setAttribute('error.type', type);
    this.notable = true;
    this.status = { code: SpanStatusCode.ERROR, ...(message === undefined ? {} : { message }) };
    return this;
  }

  end(endTime?: TimeInput): void {
    if (this.hasEnded) return;
    this.endTime = endTime === undefined ? performance.now() : toPerformanceTime(endTime);
    this.recording.ended(this);
  }

  setAttribute(key: string, value: AttributeValue): this {
    (this.attributes ??= {})[key] = value;
    return this;
  }

  setAttributes(attributes: Attributes): this {
    Object.assign((this.attributes ??= {}), attributes);
    return this;
  }

  addEvent(name: string, attributes: Attributes | TimeInput = {}, time?: TimeInput): this {
    this.events ??= [];
    if (this.events.length >= MAX_EVENTS) {
      this.droppedEvents++;
      return this;
    }
    const isTime = typeof attributes !== 'object' || attributes instanceof Date || Array.isArray(attributes);
    const at = isTime ? attributes : time;
    this.events.push({
      name,
      time: at === undefined ? performance.now() : toPerformanceTime(at),
      attributes: isTime ? {} : attributes,
    });
    return this;
  }

  addLink(link: Link): this {
    (this.links ??= []).push(link);
    return this;
  }

  addLinks(links: Link[]): this {
    (this.links ??= []).push(...links);
    return this;
  }

  /** Links to a run of a model, which is kept if this span is. */
  addBatch(batch: SharedWork): this {
    // An array that begins with what is in it takes a fifth of the memory of one that grows from nothing.
    if (this.batches) this.batches.push(batch);
    else this.batches = [batch];
    return this;
  }

  setStatus(status: SpanStatus): this {
    this.status = status;
    return this;
  }

  updateName(name: string): this {
    this.name = name;
    return this;
  }

  recordException(exception: Exception, time?: TimeInput): void {
    const { name, message } =
      typeof exception === 'string' ? { name: 'Error', message: exception } : exception;
    this.addEvent(
      'exception',
      { 'exception.type': name ?? 'Error', 'exception.message': message ?? '' },
      time,
    );
  }

  isRecording(): boolean {
    return !this.hasEnded;
  }

  spanContext(): SpanContext {
    const traceFlags = this.sampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
    const traceState = this.recording.parent?.state;
    return { traceId: this.traceId, spanId: this.id, traceFlags, ...(traceState && { traceState }) };
  }
}

const UNSET: SpanStatus = { code: SpanStatusCode.UNSET };
