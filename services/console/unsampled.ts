import { TraceFlags } from '@opentelemetry/api';
import { formatTraceparent, newSpanId, newTraceId } from '../runtime/telemetry/trace-context.ts';

/**
 * A trace context that asks not to be exported, for what the page asks every few seconds by itself: among the traces it
 * would push out what people look for. A call that fails or is slow is exported all the same.
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
