import { TraceFlags, type Attributes, type Link, type SpanContext } from '@opentelemetry/api';
import { ExportResultCode, type ExportResult, type InstrumentationScope } from '@opentelemetry/core';
import type { Resource } from '@opentelemetry/resources';
import { BatchSpanProcessor, type ReadableSpan, type SpanExporter } from '@opentelemetry/sdk-trace-base';
import type { Logger } from 'pino';
import { followClock, toHrDuration, toHrTime } from './clock.ts';
import type { TraceParent } from './context.ts';
import type { Span } from './span.ts';

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
      for (const { batch } of span.batches ?? []) batch.keep();
      if (this.#waiting >= this.#maxQueueSize) {
        this.dropped++;
        continue;
      }
      this.#waiting++;
      this.#processor.onEnd(readable(span, this.#resource, this.#scope));
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

/** A span as OpenTelemetry's exporters take it. */
function readable(span: Span, resource: Resource, scope: InstrumentationScope): ReadableSpan {
  const { recording, parent, startTime, endTime, droppedEvents } = span;
  const context = sampledContext(span.context);
  const links: Link[] = [...(span.links ?? [])];
  for (const { batch, attributes } of span.batches ?? []) {
    links.push({ context: batch.span.spanContext(), attributes });
  }
  const parentContext = parent?.context ?? recording.parent;
  return {
    name: span.name,
    kind: span.kind,
    spanContext: () => context,
    ...(parentContext && {
      parentSpanContext: { ...sampledContext(parentContext), isRemote: parent === undefined },
    }),
    startTime: toHrTime(startTime),
    endTime: toHrTime(endTime),
    duration: toHrDuration(endTime - startTime),
    status: span.status,
    attributes: span.attributes ?? NO_ATTRIBUTES,
    links,
    events: (span.events ?? []).map(({ name, time, attributes }) => ({
      name,
      time: toHrTime(time),
      attributes,
      droppedAttributesCount: 0,
    })),
    ended: true,
    resource,
    instrumentationScope: scope,
    droppedAttributesCount: 0,
    droppedEventsCount: droppedEvents,
    droppedLinksCount: 0,
  };
}

const NO_ATTRIBUTES: Attributes = {};

/** What is sent has been sampled, be it at the end. */
function sampledContext({ traceId, spanId }: TraceParent): SpanContext {
  return { traceId, spanId, traceFlags: TraceFlags.SAMPLED };
}
