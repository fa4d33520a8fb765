import { trace as tracing, propagation } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import type { Trace } from '../clients/traces.ts';
import { Traces } from './traces.ts';

/** How long to wait for the services' spans: they send them several times a second. */
const PATIENCE_MS = 5_000;

/** Has the calls of this process seen, from here through the services. */
export class CallTracing {
  readonly #provider: BasicTracerProvider;
  readonly #traces: Traces;
  #traceId: string | undefined;

  /** @param consoleAddress - `host:port` of the console, where the services send their spans */
  constructor(consoleAddress: string) {
    this.#traces = new Traces(consoleAddress);
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
    tracing.setGlobalTracerProvider(this.#provider);
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  }

  /**
   * The trace of the last call, with what the service made of it.
   *
   * @throws {CliError} where the console can't be reached, or nothing of it came there
   */
  async last(): Promise<Trace | undefined> {
    await this.#provider.shutdown();
    if (this.#traceId === undefined) return undefined;
    const answered = ({ spans }: Trace): boolean => spans.some(({ kind }) => kind === 'server');
    return this.#traces.await(this.#traceId, answered, PATIENCE_MS);
  }
}
