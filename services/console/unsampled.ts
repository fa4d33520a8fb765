import { TraceFlags } from '@opentelemetry/api';
import { formatTraceparent, newSpanId, newTraceId } from '../runtime/telemetry/trace-context.ts';

/**
 * A trace context that asks services not to export the trace, for calls that the page repeats every few seconds: they
 * would push out the traces that people look for. Services still export calls that fail or are slow.
 */
export function unsampled(): { traceparent: string } {
  return {
    traceparent: formatTraceparent({
      traceId: newTraceId(),
      spanId: newSpanId(),
      traceFlags: TraceFlags.NONE,
    }),
  };
}
