import {
  context,
  INVALID_SPAN_CONTEXT,
  propagation,
  ROOT_CONTEXT,
  trace,
  type Context,
  type Span as ApiSpan,
  type SpanOptions,
  type Tracer as ApiTracer,
} from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { Span } from './span.ts';
import { toPerformanceTime } from './clock.ts';

/** Spans that a library begins through OpenTelemetry's interface: parts of ours where there is one, nothing elsewhere. */
const bridge: ApiTracer = {
  startSpan: (name: string, options: SpanOptions = {}, from: Context = context.active()): ApiSpan => {
    const parent = options.root === true ? undefined : trace.getSpan(from);
    if (!(parent instanceof Span)) return trace.wrapSpanContext(INVALID_SPAN_CONTEXT);
    const { kind, attributes, startTime, links } = options;
    const span = parent.child(name, {
      ...(kind !== undefined && { kind }),
      ...(attributes && { attributes: { ...attributes } }),
      ...(startTime !== undefined && { startTime: toPerformanceTime(startTime) }),
    });
    if (links) span.addLinks(links);
    return span;
  },
  startActiveSpan: <Run extends (span: ApiSpan) => unknown>(
    name: string,
    ...rest: [Run] | [SpanOptions, Run] | [SpanOptions, Context, Run]
  ): ReturnType<Run> => {
    const run = rest.at(-1) as Run;
    const options = rest.length > 1 ? (rest[0] as SpanOptions) : {};
    const from = rest.length > 2 ? (rest[1] as Context) : context.active();
    const span = bridge.startSpan(name, options, from);
    return context.with(trace.setSpan(from, span), () => run(span) as ReturnType<Run>);
  },
};

/**
 * Lets libraries in this process take part, through `@opentelemetry/api`. They are told of the context that they are
 * called in, {@link traceOf}: to have it active over an `await` takes `AsyncLocalStorage`, which on Node 20 makes every
 * promise of the process dearer.
 */
export function connectLibraries(): void {
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  trace.setGlobalTracerProvider({ getTracer: () => bridge });
}

/** What the calls that are made on behalf of a span are told; nothing where the span may not be kept. */
export function traceOf(span: Span | undefined): { trace?: Context } {
  return span?.sampled === true ? { trace: trace.setSpan(ROOT_CONTEXT, span) } : {};
}
