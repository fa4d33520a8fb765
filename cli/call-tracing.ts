import { trace as tracing, propagation } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import type { Trace } from '../clients/console-traces.ts';
import { CliError } from './output/print.ts';
import { TraceReader } from './trace-reader.ts';

/** How long to wait for the services' spans, which are sent several times a second. */
const PATIENCE_MS = 5_000;

/** Traces the calls of this process, from here through the services. */
export class CallTracing {
  readonly #provider: BasicTracerProvider;
  readonly #reader: TraceReader;
  #traceId: string | undefined;

  /**
   * @param consoleAddress - `host:port` of the console, where the services send their spans
   * @throws {CliError} where this process was started with an OpenTelemetry SDK, which would get the spans instead
   */
  constructor(consoleAddress: string) {
    this.#reader = new TraceReader(consoleAddress);
    const exporter = new OTLPTraceExporter({ url: `http://${consoleAddress}/v1/traces` });
    this.#provider = new BasicTracerProvider({
      resource: resourceFromAttributes({ 'service.name': 'scalingnote-cli' }),
      spanProcessors: [
        new SimpleSpanProcessor(exporter),
        {
          onStart: (span) => {
            this.#traceId = span.spanContext().traceId;
          },
          onEnd: () => {},
          forceFlush: () => Promise.resolve(),
          shutdown: () => Promise.resolve(),
        },
      ],
    });
    if (!tracing.setGlobalTracerProvider(this.#provider)) {
      throw new CliError(
        'an OpenTelemetry SDK is registered in this process; leave it out to see the trace here',
      );
    }
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  }

  /**
   * The trace of the last call, with the spans of the service.
   *
   * @throws {CliError} where the console can't be reached, or has nothing of the trace
   */
  async last(): Promise<Trace | undefined> {
    await this.#provider.shutdown();
    if (this.#traceId === undefined) return undefined;
    const answered = ({ spans }: Trace): boolean => spans.some(({ kind }) => kind === 'server');
    return this.#reader.await(this.#traceId, answered, PATIENCE_MS);
  }
}
