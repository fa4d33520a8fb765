import type { Attributes } from '@opentelemetry/api';
import { ExportResultCode, type ExportResult, type InstrumentationScope } from '@opentelemetry/core';
import type { Logger } from 'pino';
import { followClock } from './clock.ts';
import { SpanRequest } from './otlp-spans.ts';
import type { Span } from './span.ts';

/** How spans are sent; the names are those of `OTEL_BSP_*`. */
export interface QueueSettings {
  scheduledDelayMillis: number;
  maxQueueSize: number;
  maxExportBatchSize: number;
}

/** What sends requests; see `spanSender`. */
export interface SpanSender {
  /** Never throws. @param done hears what became of it */
  export(request: SpanRequest, done: (result: ExportResult) => void): void;
  shutdown(): Promise<void>;
}

/**
 * Spans on their way out: at most so many wait, what comes on top is dropped and counted, and a receiver that is away
 * is told of once. Nobody waits for it.
 */
export class SpanQueue {
  /** Spans that were given up, because too many waited or the receiver did not take them. */
  dropped = 0;
  readonly #sender: SpanSender;
  readonly #settings: QueueSettings;
  readonly #newRequest: () => SpanRequest;
  readonly #log: Logger;
  /** Spans that were taken and neither sent nor given up. */
  #waiting = 0;
  #open: SpanRequest | undefined;
  readonly #full: SpanRequest[] = [];
  #sending: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failing = false;
  #closed = false;

  constructor(
    sender: SpanSender,
    settings: QueueSettings,
    { resource, scope, log }: { resource: Attributes; scope: InstrumentationScope; log: Logger },
  ) {
    this.#sender = sender;
    this.#settings = settings;
    this.#newRequest = () => new SpanRequest(resource, scope);
    this.#log = log;
  }

  /** Takes spans that have ended. */
  push(spans: readonly Span[]): void {
    followClock();
    for (const span of spans) {
      if (span.batches) for (const batch of span.batches) batch.keep();
      if (this.#waiting >= this.#settings.maxQueueSize || this.#closed) {
        this.dropped++;
        continue;
      }
      this.#waiting++;
      this.#open ??= this.#newRequest();
      this.#open.add(span);
      if (this.#open.size >= this.#settings.maxExportBatchSize) this.#send();
    }
    // Not held against the process: what is left is sent when the queue is closed.
    if (this.#open)
      this.#timer ??= setTimeout(() => this.#send(), this.#settings.scheduledDelayMillis).unref();
  }

  /** Sends what there is, and takes no more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#send();
    await this.#sending;
    await this.#sender.shutdown();
  }

  #send(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#open) this.#full.push(this.#open);
    this.#open = undefined;
    if (this.#full.length > 0) this.#sending ??= this.#sendAll();
  }

  /** One request after the other. */
  async #sendAll(): Promise<void> {
    for (let request = this.#full.shift(); request; request = this.#full.shift()) {
      const { size } = request;
      const { code, error } = await new Promise<ExportResult>((resolve) =>
        this.#sender.export(request, resolve),
      );
      this.#waiting -= size;
      const failed = code === ExportResultCode.FAILED;
      if (failed) this.dropped += size;
      if (failed === this.#failing) continue;
      this.#failing = failed;
      if (failed) this.#log.warn({ err: error }, 'spans can’t be sent and are dropped, until they can');
      else this.#log.info('spans are sent again');
    }
    // In the same turn that found nothing more: what comes now begins anew.
    this.#sending = undefined;
  }
}
