import {
  context,
  INVALID_SPAN_CONTEXT,
  propagation,
  trace,
  type Context,
  type Span as ApiSpan,
  type SpanOptions,
  type Tracer as ApiTracer,
  type TracerProvider,
} from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { toPerformanceTime } from './clock.ts';
import { RecordedSpan } from './recorded-span.ts';

/** Begins the spans of libraries: below a span of ours, and nowhere else. */
const libraryTracer: ApiTracer = {
  startSpan: (name: string, options: SpanOptions = {}, from: Context = context.active()): ApiSpan => {
    const parent = options.root === true ? undefined : trace.getSpan(from);
    if (!(parent instanceof RecordedSpan)) return trace.wrapSpanContext(INVALID_SPAN_CONTEXT);
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
    const span = libraryTracer.startSpan(name, options, from);
    return context.with(trace.setSpan(from, span), () => run(span) as ReturnType<Run>);
  },
};

/** What libraries find where no SDK is registered. */
export const libraryTracers: TracerProvider = { getTracer: () => libraryTracer };

/**
 * Lets libraries in this process begin spans through `@opentelemetry/api`. They are given the context that they are
 * called in, `traceOf`: an active context takes `AsyncLocalStorage`, which on Node 20 makes every promise of the process
 * dearer.
 */
export function connectLibraries(): void {
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  trace.setGlobalTracerProvider(libraryTracers);
}
