import {
  type Context,
  ROOT_CONTEXT,
  SpanKind,
  trace,
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
import type { BatchSpan } from './batch-span.ts';
import { toPerformanceTime } from './clock.ts';
import { isSampled, type Span, type SpanStart } from './span.ts';
import { newSpanId, newTraceId } from './trace-context.ts';

/** Events of one span: OpenTelemetry's own default. A stream of documents has no end. */
export const MAX_EVENTS = 128;

/** Where {@link Recording}s put their spans. */
export interface SpanSink {
  export(spans: readonly RecordedSpan[]): void;
  /** Whether there is room for a recording that was not sampled and is notable. */
  mayKeep(now: number): boolean;
}

/** Something that happened during a span. `time` as of `performance.now()`. */
export interface SpanEvent {
  name: string;
  time: number;
  attributes: Attributes;
}

/**
 * The spans of one request in this process, until the request ends. They are exported if the caller or the sampler
 * asked for them, if the request failed, or if it was slow. So every request is recorded, and a span has to cost next to
 * nothing: an object with numbers in it. Ids are made when somebody asks for them, everything else on export.
 */
export class Recording {
  readonly sink: SpanSink;
  /** Whether it will be exported, whatever comes. */
  readonly sampled: boolean;
  readonly parent: SpanContext | undefined;
  /** The recording that this one is a part of; it is exported if this one is. */
  readonly #within: Recording | undefined;
  #traceId: string | undefined;
  #spans: RecordedSpan[] = [];
  /** Decided when the first span ends. */
  #kept: boolean | undefined;
  #wanted = false;

  /** @param traceId where there is no parent to have it from. @default made when somebody asks for it */
  constructor(sink: SpanSink, sampled: boolean, parent?: SpanContext, traceId?: string, within?: Recording) {
    this.sink = sink;
    this.sampled = sampled;
    this.parent = parent;
    this.#traceId = parent?.traceId ?? traceId;
    this.#within = within;
  }

  get traceId(): string {
    return (this.#traceId ??= newTraceId());
  }

  add(span: RecordedSpan): void {
    this.#spans.push(span);
  }

  /** A span has ended. The end of the first span decides on all. */
  ended(span: RecordedSpan): void {
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

  /** Exports this recording when it ends, because a part of it was exported. */
  keep(): void {
    this.#wanted = true;
    this.#within?.keep();
  }
}

/**
 * A span of our own tracer. It implements OpenTelemetry's interface, so that libraries can begin spans below it. What it
 * costs beside a span of OpenTelemetry's SDK, which drops an unsampled request before it turns out to be slow, is in
 * `docs/decisions/tracer.md`.
 */
export class RecordedSpan implements Span, ApiSpan {
  name: string;
  readonly kind: SpanKind;
  readonly recording: Recording;
  /** The span of this recording that it belongs to; the first has none. */
  readonly parent: RecordedSpan | undefined;
  readonly startTime: number;
  endTime = -1;
  attributes: Attributes | undefined;
  links: Link[] | undefined;
  events: SpanEvent[] | undefined;
  droppedEvents = 0;
  status: SpanStatus = UNSET;
  notable = false;
  /** Each becomes a link. */
  batches: BatchSpan[] | undefined;
  #id: string | undefined;

  constructor(
    recording: Recording,
    parent: RecordedSpan | undefined,
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

  get sampled(): boolean {
    return this.recording.sampled;
  }

  get hasEnded(): boolean {
    return this.endTime >= 0;
  }

  get libraryContext(): Context | undefined {
    return this.sampled ? trace.setSpan(ROOT_CONTEXT, this) : undefined;
  }

  get logFields(): { trace_id: string; span_id: string } {
    return { trace_id: this.traceId, span_id: this.id };
  }

  child(
    name: string,
    { kind = SpanKind.INTERNAL, startTime = performance.now(), attributes }: SpanStart = {},
  ): RecordedSpan {
    return new RecordedSpan(this.recording, this, name, kind, startTime, attributes);
  }

  record(name: string, startTime: number, endTime: number, attributes?: Attributes): RecordedSpan {
    const span = new RecordedSpan(this.recording, this, name, SpanKind.INTERNAL, startTime, attributes);
    span.endTime = endTime;
    this.recording.ended(span);
    return span;
  }

  part(name: string, { parent, ...start }: SpanStart & { parent?: SpanContext } = {}): RecordedSpan {
    const { kind = SpanKind.INTERNAL, startTime = performance.now(), attributes } = start;
    const { sink } = this.recording;
    const above = parent ?? this.spanContext();
    const recording = new Recording(sink, isSampled(above), above, undefined, this.recording);
    const span = new RecordedSpan(recording, undefined, name, kind, startTime, attributes);
    if (parent) span.addLink({ context: this.spanContext() });
    return span;
  }

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

  addBatch(batch: BatchSpan): this {
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
    const attributes = { 'exception.type': name ?? 'Error', 'exception.message': message ?? '' };
    this.addEvent('exception', attributes, time);
  }

  isRecording(): boolean {
    return !this.hasEnded;
  }

  spanContext(): SpanContext {
    const traceFlags = this.sampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
    const traceState = this.recording.parent?.traceState;
    return { traceId: this.traceId, spanId: this.id, traceFlags, ...(traceState && { traceState }) };
  }
}

const UNSET: SpanStatus = { code: SpanStatusCode.UNSET };
