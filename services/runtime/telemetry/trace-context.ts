import { type SpanContext, TraceFlags } from '@opentelemetry/api';
import { parseTraceParent } from '@opentelemetry/core';
import { RandomIdGenerator } from '@opentelemetry/sdk-trace-base';

const ids = new RandomIdGenerator();

/** 32 hex digits. */
export function newTraceId(): string {
  return ids.generateTraceId();
}

/** 16 hex digits. */
export function newSpanId(): string {
  return ids.generateSpanId();
}

/**
 * Reads a W3C `traceparent`, which comes from another process; `undefined` for a text that is none: it is then ignored,
 * as W3C asks.
 */
export function parseTraceparent(text: string): SpanContext | undefined {
  const context = parseTraceParent(text);
  return context ? { ...context, isRemote: true } : undefined;
}

/** As the header has it. */
export function formatTraceparent({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-0${traceFlags & TraceFlags.SAMPLED}`;
}

/** A trace that begins here and is to be exported, for whoever calls a service without a tracer of its own. */
export function newTraceContext(): { traceId: string; spanId: string; traceparent: string } {
  const context = { traceId: newTraceId(), spanId: newSpanId(), traceFlags: TraceFlags.SAMPLED };
  return { ...context, traceparent: formatTraceparent(context) };
}
