import {
  type Attributes,
  type AttributeValue,
  type Link,
  type SpanStatus,
  SpanStatusCode,
  TraceFlags,
} from '@opentelemetry/api';
import type { InstrumentationScope } from '@opentelemetry/core';
import { BackWriter, nanosecondHalves } from './back-writer.ts';
import { toHrTime } from './clock.ts';
import type { Span, SpanEvent } from './span.ts';

/** Bytes that a request begins with room for: about what it has at the usual 512 spans. */
const CAPACITY = 128 * 1024;

/** OTLP's flags beside those of W3C: whether it is known where the parent is, and whether that is another process. */
const IS_REMOTE_KNOWN = 0x100;
const IS_REMOTE = 0x200;

/**
 * A request of OTLP's to take spans, each of them written when it is added, so that nothing of it has to be kept.
 * OpenTelemetry's own exporters take a span five objects and twice the time.
 *
 * Source: OTLP 1.5, `opentelemetry/proto/trace/v1/trace.proto`. Fields stand from last to first.
 */
export class SpanRequest {
  /** Spans in it. */
  size = 0;
  readonly #writer = new BackWriter(CAPACITY);
  readonly #resource: Attributes;
  readonly #scope: InstrumentationScope;

  constructor(resource: Attributes, scope: InstrumentationScope) {
    this.#resource = resource;
    this.#scope = scope;
  }

  /** @param span that has ended */
  add(span: Span): void {
    this.size++;
    const writer = this.#writer;
    const from = writer.length;
    const { recording, parent, traceId, links, events, batches, attributes } = span;
    const remote = parent ? 0 : recording.parent ? IS_REMOTE : 0;
    // What is sent has been sampled, be it at the end.
    writer.fixed32(16, TraceFlags.SAMPLED | IS_REMOTE_KNOWN | remote);
    writeStatus(writer, span.status);
    if (links) for (const link of links) writeLink(writer, link);
    if (batches) for (const batch of batches) writeLink(writer, { context: batch.span.spanContext() });
    if (span.droppedEvents > 0) writer.integer(12, span.droppedEvents);
    if (events) for (let index = events.length; index > 0; index--) writeEvent(writer, events[index - 1]!);
    if (attributes) writeAttributes(writer, 9, attributes);
    writeTime(writer, 8, span.endTime);
    writeTime(writer, 7, span.startTime);
    writer.integer(6, span.kind + 1);
    writer.string(5, span.name);
    const parentId = parent ? parent.id : recording.parent?.spanId;
    if (parentId !== undefined) writer.hex(4, parentId);
    if (recording.parent?.state) writer.string(3, recording.parent.state.serialize());
    writer.hex(2, span.id);
    writer.hex(1, traceId);
    writer.message(2, from);
  }

  /** The bytes; nothing may be added after. */
  finish(): Buffer {
    const writer = this.#writer;
    const scope = writer.length;
    if (this.#scope.version !== undefined) writer.string(2, this.#scope.version);
    writer.string(1, this.#scope.name);
    writer.message(1, scope);
    writer.message(2, 0);
    const resource = writer.length;
    writeAttributes(writer, 1, this.#resource);
    writer.message(1, resource);
    writer.message(1, 0);
    return writer.finish();
  }
}

function writeStatus(writer: BackWriter, { code, message }: SpanStatus): void {
  if (code === SpanStatusCode.UNSET) return;
  const from = writer.length;
  writer.integer(3, code);
  if (message !== undefined) writer.string(2, message);
  writer.message(15, from);
}

function writeLink(writer: BackWriter, { context, attributes }: Link): void {
  const from = writer.length;
  const remote = context.isRemote === true ? IS_REMOTE : 0;
  writer.fixed32(6, context.traceFlags | IS_REMOTE_KNOWN | remote);
  if (attributes) writeAttributes(writer, 4, attributes);
  if (context.traceState) writer.string(3, context.traceState.serialize());
  writer.hex(2, context.spanId);
  writer.hex(1, context.traceId);
  writer.message(13, from);
}

function writeEvent(writer: BackWriter, { name, time, attributes }: SpanEvent): void {
  const from = writer.length;
  writeAttributes(writer, 3, attributes);
  writer.string(2, name);
  writeTime(writer, 1, time);
  writer.message(11, from);
}

function writeTime(writer: BackWriter, field: number, time: number): void {
  const [seconds, nanoseconds] = toHrTime(time);
  const { high, low } = nanosecondHalves(seconds, nanoseconds);
  writer.fixed64(field, high, low);
}

function writeAttributes(writer: BackWriter, field: number, attributes: Attributes): void {
  for (const key in attributes) {
    const value = attributes[key];
    if (value === undefined) continue;
    const from = writer.length;
    writeValue(writer, 2, value);
    writer.string(1, key);
    writer.message(field, from);
  }
}

/** An `AnyValue`: a field for each type. */
function writeValue(writer: BackWriter, field: number, value: AttributeValue | null | undefined): void {
  const from = writer.length;
  if (typeof value === 'string') writer.string(1, value);
  else if (typeof value === 'boolean') writer.integer(2, value ? 1 : 0);
  else if (typeof value === 'number') {
    if (Number.isSafeInteger(value)) writer.integer(3, value);
    else writer.double(4, value);
  } else if (Array.isArray(value)) {
    for (let index = value.length; index > 0; index--) writeValue(writer, 1, value[index - 1]);
    writer.message(5, from);
  }
  writer.message(field, from);
}
