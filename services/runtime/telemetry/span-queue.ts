import { TraceFlags } from '@opentelemetry/api';
import {
  ExportResultCode,
  hrTimeDuration,
  type ExportResult,
  type InstrumentationScope,
} from '@opentelemetry/core';
import type { Resource } from '@opentelemetry/resources';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace-base';
import type { Logger } from 'pino';
import { followClock, toHrTime } from './clock.ts';
import type { RecordedSpan } from './recorded-span.ts';

/** How spans are exported; the names are those of `OTEL_BSP_*`. */
export interface QueueSettings {
  scheduledDelayMillis: number;
  maxQueueSize: number;
  maxExportBatchSize: number;
}

/** Who speaks, to a receiver of spans. */
export interface SpanOrigin {
  resource: Resource;
  scope: InstrumentationScope;
}

/**
 * Spans that wait to be exported. Only so many wait: others are dropped and counted. The log says once that a receiver
 * is away, and once that it is back.
 */
export class SpanQueue {
  /** Spans that were dropped because too many waited, or because the receiver did not take them. */
  dropped = 0;
  readonly #exporter: SpanExporter;
  readonly #settings: QueueSettings;
  readonly #origin: SpanOrigin;
  readonly #log: Logger;
  #waiting: RecordedSpan[] = [];
  /** How many of them go out now; the others wait for more to come, or for the timer. */
  #due = 0;
  /** Spans that the exporter has and has not answered for. */
  #inFlight = 0;
  #exporting: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failing = false;
  #closed = false;

  constructor(
    exporter: SpanExporter,
    settings: QueueSettings,
    { log, ...origin }: SpanOrigin & { log: Logger },
  ) {
    this.#exporter = exporter;
    this.#settings = settings;
    this.#origin = origin;
    this.#log = log;
  }

  /** Takes spans that have ended. */
  push(spans: readonly RecordedSpan[]): void {
    followClock();
    const { maxQueueSize, maxExportBatchSize, scheduledDelayMillis } = this.#settings;
    for (const span of spans) {
      if (span.batches) for (const batch of span.batches) batch.keep();
      if (this.#closed || this.#waiting.length + this.#inFlight >= maxQueueSize) this.dropped++;
      else this.#waiting.push(span);
    }
    const { length } = this.#waiting;
    this.#export(length - (length % maxExportBatchSize));
    // The timer does not keep the process running: closing the queue exports the rest.
    if (length > this.#due)
      this.#timer ??= setTimeout(() => this.#exportRest(), scheduledDelayMillis).unref();
  }

  /**
   * Exports what there is, and takes no more. A service that ends does not wait for a receiver that is away: what it did
   * not take the last time, and has not taken yet, is dropped.
   */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#failing && this.#inFlight > 0) {
      this.#dropWaiting();
      return;
    }
    this.#exportRest();
    await this.#exporting;
    await this.#exporter.shutdown();
  }

  #dropWaiting(): void {
    this.dropped += this.#waiting.length;
    this.#waiting = [];
    this.#due = 0;
  }

  #exportRest(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#export(this.#waiting.length);
  }

  #export(due: number): void {
    this.#due = Math.max(this.#due, due);
    if (this.#due > 0) this.#exporting ??= this.#exportDue();
  }

  /** One request after the other. */
  async #exportDue(): Promise<void> {
    while (this.#due > 0) {
      const spans = this.#waiting.splice(0, Math.min(this.#due, this.#settings.maxExportBatchSize));
      this.#due -= spans.length;
      this.#inFlight = spans.length;
      const { code, error } = await new Promise<ExportResult>((resolve) =>
        this.#exporter.export(
          spans.map((span) => readable(span, this.#origin)),
          resolve,
        ),
      ).catch((thrown: Error): ExportResult => ({ code: ExportResultCode.FAILED, error: thrown }));
      this.#inFlight = 0;
      const failed = code === ExportResultCode.FAILED;
      if (failed) this.dropped += spans.length;
      if (failed && this.#closed) this.#dropWaiting();
      if (failed === this.#failing) continue;
      this.#failing = failed;
      if (failed) this.#log.warn({ err: error }, 'spans can’t be exported and are dropped, until they can');
      else this.#log.info('spans are exported again');
    }
    this.#exporting = undefined;
  }
}

/** A span as OpenTelemetry's exporters take it. */
export function readable(span: RecordedSpan, { resource, scope }: SpanOrigin): ReadableSpan {
  const { name, kind, parent, status, recording, batches } = span;
  // A span that is exported counts as sampled, even where that was decided at the end.
  const context = { ...span.spanContext(), traceFlags: TraceFlags.SAMPLED };
  const above = parent ? parent.spanContext() : recording.parent;
  const links = span.links ?? [];
  const startTime = toHrTime(span.startTime);
  const endTime = toHrTime(span.endTime);
  return {
    name,
    kind,
    spanContext: () => context,
    ...(above && { parentSpanContext: above }),
    startTime,
    endTime,
    duration: hrTimeDuration(startTime, endTime),
    status,
    attributes: span.attributes ?? {},
    links: batches ? [...links, ...batches.map((batch) => ({ context: batch.spanContext() }))] : links,
    events: span.events?.map(({ time, ...event }) => ({ ...event, time: toHrTime(time) })) ?? [],
    ended: true,
    resource,
    instrumentationScope: scope,
    droppedAttributesCount: 0,
    droppedEventsCount: span.droppedEvents,
    droppedLinksCount: 0,
  };
}
