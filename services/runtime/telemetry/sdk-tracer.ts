import {
  context,
  createNoopMeter,
  type Attributes,
  type AttributeValue,
  type Context,
  type Link,
  type Meter,
  type MeterProvider,
  metrics,
  propagation,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  type Span as ApiSpan,
  type SpanContext,
  SpanKind,
  type SpanStatus,
  SpanStatusCode,
  trace,
  type Tracer as ApiTracer,
  type TracerProvider,
} from '@opentelemetry/api';
import type { Metadata } from '@grpc/grpc-js';
import type { InstrumentationScope } from '@opentelemetry/core';
import { BatchSpan, type ModelRun } from './batch-span.ts';
import { followClock, toHrTime } from './clock.ts';
import { libraryTracers } from './library-spans.ts';
import { isSampled, type Span, type SpanStart } from './span.ts';
import type { CallTracer, IncomingCall } from './tracer.ts';

/** What an OpenTelemetry SDK offers that was registered before the service started (`node --import`). */
export interface RegisteredSdk {
  readonly tracer: CallTracer | undefined;
  readonly meter: Meter | undefined;
  /** Sends what the SDK still holds, where the SDK can be asked to. */
  flush(): Promise<unknown>;
}

/** The SDK that is registered with `@opentelemetry/api`; either half may be missing. */
export function registeredSdk({ name, version }: InstrumentationScope): RegisteredSdk {
  const tracers = delegateOf(trace.getTracerProvider());
  const hasTracer = tracers !== delegateOf(new ProxyTracerProvider()) && tracers !== libraryTracers;
  const meters = metrics.getMeterProvider();
  const meter = meters.getMeter(name, version);
  const hasMeter = meter !== createNoopMeter();
  return {
    tracer: hasTracer ? new SdkTracer(trace.getTracer(name, version)) : undefined,
    meter: hasMeter ? meter : undefined,
    flush: () => Promise.allSettled([hasTracer && flush(tracers), hasMeter && flush(meters)]),
  };
}

/** The provider behind the API's proxy; that of another copy of the API is a proxy, too. */
function delegateOf(provider: TracerProvider): TracerProvider {
  return 'getDelegate' in provider ? (provider as ProxyTracerProvider).getDelegate() : provider;
}

/** The API knows no `forceFlush`; the providers of the SDKs have one. */
async function flush(provider: TracerProvider | MeterProvider): Promise<void> {
  await (provider as { forceFlush?(): Promise<void> }).forceFlush?.();
}

/** Begins spans through `@opentelemetry/api`. Sampling, limits and export are the SDK's. */
class SdkTracer implements CallTracer {
  readonly #tracer: ApiTracer;

  constructor(tracer: ApiTracer) {
    this.#tracer = tracer;
  }

  incoming(name: string, { metadata }: IncomingCall, startTime: number, attributes: Attributes): Span {
    followClock();
    const active = context.active();
    // An instrumentation of gRPC may have read the metadata and begun a span already.
    const parent = trace.getSpan(active) ? active : propagation.extract(active, metadata, METADATA);
    return new SdkSpan(this.#tracer, parent, name, { kind: SpanKind.SERVER, startTime, attributes });
  }

  root(name: string, startTime: number, attributes: Attributes): Span {
    return new SdkSpan(this.#tracer, ROOT_CONTEXT, name, { startTime, attributes });
  }

  outgoing(name: string, startTime: number, attributes: Attributes): Span {
    return new SdkSpan(this.#tracer, ROOT_CONTEXT, name, { kind: SpanKind.CLIENT, startTime, attributes });
  }

  batch(run: ModelRun, model: string): BatchSpan {
    return BatchSpan.of(this, run, model);
  }

  /** While the work of a call goes on, its span is the active one. */
  activate<Parameters extends unknown[], Result>(
    handler: (...parameters: Parameters) => Result,
    spanOf: (...parameters: Parameters) => Span | undefined,
  ): (...parameters: Parameters) => Result {
    return (...parameters) =>
      context.with(spanOf(...parameters)?.libraryContext ?? context.active(), () => handler(...parameters));
  }
}

/** How a propagator reads what came with a call. */
const METADATA = {
  get: (metadata: Metadata, key: string): string[] => metadata.get(key).map(String),
  keys: (metadata: Metadata): string[] => Object.keys(metadata.getMap()),
};

/** A span of the SDK. */
class SdkSpan implements Span {
  readonly startTime: number;
  endTime = -1;
  notable = false;
  readonly libraryContext: Context;
  readonly #tracer: ApiTracer;
  readonly #span: ApiSpan;

  constructor(tracer: ApiTracer, parent: Context, name: string, start: SpanStart & { links?: Link[] }) {
    this.startTime = start.startTime ?? performance.now();
    this.#tracer = tracer;
    this.#span = tracer.startSpan(name, { ...start, startTime: toHrTime(this.startTime) }, parent);
    this.libraryContext = trace.setSpan(parent, this.#span);
  }

  get hasEnded(): boolean {
    return this.endTime >= 0;
  }

  get sampled(): boolean {
    return isSampled(this.spanContext());
  }

  get logFields(): { trace_id: string; span_id: string } {
    const { traceId, spanId } = this.spanContext();
    return { trace_id: traceId, span_id: spanId };
  }

  spanContext(): SpanContext {
    return this.#span.spanContext();
  }

  child(name: string, start: SpanStart = {}): Span {
    return new SdkSpan(this.#tracer, this.libraryContext, name, start);
  }

  record(name: string, startTime: number, endTime: number, attributes: Attributes = {}): Span {
    const span = this.child(name, { startTime, attributes });
    span.end(endTime);
    return span;
  }

  part(name: string, { parent, ...start }: SpanStart & { parent?: SpanContext } = {}): Span {
    if (!parent) return this.child(name, start);
    const above = trace.setSpanContext(ROOT_CONTEXT, parent);
    return new SdkSpan(this.#tracer, above, name, { ...start, links: [{ context: this.spanContext() }] });
  }

  setAttribute(key: string, value: AttributeValue): this {
    this.#span.setAttribute(key, value);
    return this;
  }

  setAttributes(attributes: Attributes): this {
    this.#span.setAttributes(attributes);
    return this;
  }

  addEvent(name: string, attributes: Attributes = {}): this {
    this.#span.addEvent(name, attributes);
    return this;
  }

  addLink(link: Link): this {
    this.#span.addLink(link);
    return this;
  }

  addBatch(batch: BatchSpan): this {
    if (!this.sampled) return this;
    batch.keep();
    return this.addLink({ context: batch.spanContext() });
  }

  setStatus(status: SpanStatus): this {
    this.#span.setStatus(status);
    return this;
  }

  fail(type: string, message?: string): this {
    this.setAttribute('error.type', type);
    return this.setStatus({ code: SpanStatusCode.ERROR, ...(message !== undefined && { message }) });
  }

  end(endTime: number = performance.now()): void {
    if (this.hasEnded) return;
    this.endTime = endTime;
    this.#span.end(toHrTime(endTime));
  }
}
