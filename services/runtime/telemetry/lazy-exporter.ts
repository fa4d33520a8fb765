import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace-base';

/**
 * An exporter that is loaded with the first spans: loading one takes longer than all else of a service's telemetry, and no start
 * should wait for it.
 */
export class LazyExporter implements SpanExporter {
  readonly #load: () => Promise<SpanExporter>;
  #loading: Promise<SpanExporter> | undefined;

  /** @param load fails where the exporter's options can't be used; the spans of that time are lost, as of a receiver that is away */
  constructor(load: () => Promise<SpanExporter>) {
    this.#load = load;
  }

  export(spans: ReadableSpan[], report: (result: ExportResult) => void): void {
    this.#loading ??= this.#load();
    this.#loading.then(
      (exporter) => exporter.export(spans, report),
      (error: Error) => report({ code: ExportResultCode.FAILED, error }),
    );
  }

  async forceFlush(): Promise<void> {
    await (await this.#loaded())?.forceFlush?.();
  }

  async shutdown(): Promise<void> {
    await (await this.#loaded())?.shutdown();
  }

  /** Spans that could not be exported have said why. */
  #loaded(): Promise<SpanExporter | undefined> | undefined {
    return this.#loading?.catch(() => undefined);
  }
}
