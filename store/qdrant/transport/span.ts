import { type Context, propagation, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Call } from './failure.ts';

const tracer = trace.getTracer('scalingnote.store.qdrant');

/**
 * Begins the span of one HTTP call (OpenTelemetry's conventions for database clients) and adds its W3C trace
 * context to the headers. Without a telemetry SDK in the process, both cost almost nothing.
 */
export function startSpan(
  call: Call,
  node: { host: string; port: number },
  attempt: number,
  headers: Record<string, string>,
  parent: Context,
): Span {
  const { operation, collection } = call;
  const name = collection === undefined ? operation : `${operation} ${collection}`;
  const options = {
    kind: SpanKind.CLIENT,
    attributes: {
      'db.system.name': 'qdrant',
      'db.operation.name': operation,
      ...(collection !== undefined && { 'db.collection.name': collection }),
      'server.address': node.host,
      'server.port': node.port,
      ...(attempt > 1 && { 'scalingnote.attempt': attempt }),
    },
  };
  const span = tracer.startSpan(name, options, parent);
  propagation.inject(trace.setSpan(parent, span), headers);
  return span;
}

/** Ends a span; `failure` says what went wrong, if anything. */
export function endSpan(
  span: Span,
  status: number | undefined,
  failure?: { name: string; message: string },
): void {
  if (status !== undefined) span.setAttribute('db.response.status_code', String(status));
  if (failure) {
    span.setAttribute('error.type', failure.name);
    span.setStatus({ code: SpanStatusCode.ERROR, message: failure.message });
  }
  span.end();
}
