import {
  TraceFlags,
  type Attributes,
  type HrTime,
  type Link,
  type SpanContext,
  type SpanKind,
  type SpanStatus,
} from '@opentelemetry/api';
import { ExportResultCode, type ExportResult, type InstrumentationScope } from '@opentelemetry/core';
import type { Resource } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  type ReadableSpan,
  type SpanExporter,
  type TimedEvent,
} from '@opentelemetry/sdk-trace-base';
import type { Logger } from 'pino';
import { followClock, toHrTime } from './clock.ts';
import type { Span, SpanEvent } from './span.ts';

/** How spans are sent; the names are those of `OTEL_BSP_*`. */
export interface QueueSettings {
  scheduledDelayMillis: number;
  maxQueueSize: number;
  maxExportBatchSize: number;
  exportTimeoutMillis: number;
}

/**
 * Spans on their way out: at most so many wait, what comes on top is dropped and counted, and a receiver that is away
 * is told of once. Nobody waits for it.
 */
export class SpanQueue {
  /** Spans that were given up, because too many waited or the receiver did not take them. */
  dropped = 0;
  readonly #processor: BatchSpanProcessor;
  readonly #resource: Resource;
  readonly #scope: InstrumentationScope;
  readonly #maxQueueSize: number;
  readonly #log: Logger;
  #waiting = 0;
  #failing = false;

  constructor(
    exporter: SpanExporter,
    settings: QueueSettings,
    origin: { resource: Resource; scope: InstrumentationScope; log: Logger },
  ) {
    this.#resource = origin.resource;
    this.#scope = origin.scope;
    this.#log = origin.log;
    this.#maxQueueSize = settings.maxQueueSize;
    this.#processor = new BatchSpanProcessor(
      {
        export: (spans, done) => this.#send(exporter, spans, done),
        shutdown: () => exporter.shutdown(),
        forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
      },
      settings,
    );
  }

  /** Takes spans that have ended. */
  push(spans: readonly Span[]): void {
    followClock();
    for (const span of spans) {
      if (span.batches) for (const batch of span.batches) batch.keep();
      if (this.#waiting >= this.#maxQueueSize) {
        this.dropped++;
        continue;
      }
      this.#waiting++;
      this.#processor.onEnd(new ExportedSpan(span, this.#resource, this.#scope));
    }
  }

  flush(): Promise<void> {
    return this.#processor.forceFlush();
  }

  async close(): Promise<void> {
    await this.#processor.shutdown();
  }

  #send(exporter: SpanExporter, spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    exporter.export(spans, (result) => {
      this.#waiting -= spans.length;
      const failed = result.code === ExportResultCode.FAILED;
      if (failed) this.dropped += spans.length;
      if (failed !== this.#failing) {
        this.#failing = failed;
        if (failed)
          this.#log.warn({ err: result.error }, 'spans can’t be sent and are dropped, until they can');
        else this.#log.info('spans are sent again');
      }
      done({ code: ExportResultCode.SUCCESS });
    });
  }
}

/** A span as OpenTelemetry's exporters take it. Thousands a second are made: each field is set once, and that is all. */
class ExportedSpan implements ReadableSpan {
  readonly name: string;
  readonly kind: SpanKind;
  readonly parentSpanContext?: SpanContext;
  readonly startTime: HrTime;
  readonly endTime: HrTime;
  readonly status: SpanStatus;
  readonly attributes: Attributes;
  readonly links: Link[];
  readonly events: TimedEvent[];
  readonly resource: Resource;
  readonly instrumentationScope: InstrumentationScope;
  readonly ended = true;
  readonly droppedAttributesCount = 0;
  readonly droppedEventsCount: number;
  readonly droppedLinksCount = 0;
  readonly #context: SpanContext;

  constructor(span: Span, resource: Resource, scope: InstrumentationScope) {
    const { recording, parent, traceId } = span;
    this.name = span.name;
    this.kind = span.kind;
    // What is sent has been sampled, be it at the end.
    this.#context = { traceId, spanId: span.id, traceFlags: TraceFlags.SAMPLED };
    const state = recording.parent?.state;
    if (state) this.#context.traceState = state;
    const parentId = parent ? parent.id : recording.parent?.spanId;
    if (parentId !== undefined) {
      const isRemote = parent === undefined;
      this.parentSpanContext = { traceId, spanId: parentId, traceFlags: TraceFlags.SAMPLED, isRemote };
    }
    this.startTime = toHrTime(span.startTime);
    this.endTime = toHrTime(span.endTime);
    this.status = span.status;
    this.attributes = span.attributes ?? NO_ATTRIBUTES;
    this.links = linksOf(span);
    this.events = span.events ? span.events.map(timedEvent) : NO_EVENTS;
    this.droppedEventsCount = span.droppedEvents;
    this.resource = resource;
    this.instrumentationScope = scope;
  }

  get duration(): HrTime {
    const [startSeconds, startNanos] = this.startTime;
    const [endSeconds, endNanos] = this.endTime;
    const nanos = endNanos - startNanos;
    return nanos < 0 ? [endSeconds - startSeconds - 1, nanos + 1e9] : [endSeconds - startSeconds, nanos];
  }

  spanContext(): SpanContext {
    return this.#context;
  }
}

const NO_ATTRIBUTES: Attributes = {};
const NO_EVENTS: TimedEvent[] = [];
const NO_LINKS: Link[] = [];

function linksOf({ links, batches }: Span): Link[] {
  if (!batches) return links ?? NO_LINKS;
  const all = links ? [...links] : [];
  for (const batch of batches) all.push({ context: batch.span.spanContext() });
  return all;
}

function timedEvent({ name, time, attributes }: SpanEvent): TimedEvent {
  return { name, time: toHrTime(time), attributes };
}
