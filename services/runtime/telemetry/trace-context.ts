import { randomFillSync } from 'node:crypto';
import { type SpanContext, TraceFlags, type TraceState } from '@opentelemetry/api';

/** Where a span belongs: which trace, under which span, and whether its trace is to be recorded. */
export interface TraceParent {
  /** 32 hex digits. */
  readonly traceId: string;
  /** 16 hex digits. */
  readonly spanId: string;
  readonly sampled: boolean;
  /** `tracestate`: what other tracing systems add, handed on as it came. */
  readonly state?: TraceState;
}

const TRACEPARENT =
  /^(?<version>[0-9a-f]{2})-(?<traceId>[0-9a-f]{32})-(?<spanId>[0-9a-f]{16})-(?<flags>[0-9a-f]{2})(?<rest>-.*)?$/;
const NO_TRACE = '0'.repeat(32);
const NO_SPAN = '0'.repeat(16);

/**
 * Reads a `traceparent`; `undefined` for a text that is none: it is then ignored, as W3C asks.
 *
 * Source: W3C Trace Context, https://www.w3.org/TR/trace-context/#traceparent-header: later versions may be longer.
 */
export function parseTraceparent(text: string): TraceParent | undefined {
  const { version, traceId, spanId, flags, rest } = TRACEPARENT.exec(text.trim())?.groups ?? {};
  if (traceId === undefined || spanId === undefined || flags === undefined || version === 'ff')
    return undefined;
  if (traceId === NO_TRACE || spanId === NO_SPAN || (version === '00' && rest !== undefined))
    return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & TraceFlags.SAMPLED) !== 0 };
}

/** As the header has it. */
export function formatTraceparent({ traceId, spanId, sampled }: TraceParent): string {
  return `00-${traceId}-${spanId}-0${sampled ? 1 : 0}`;
}

/** As OpenTelemetry has a span of another process. */
export function toSpanContext({ traceId, spanId, sampled, state }: TraceParent): SpanContext {
  const traceFlags = sampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
  return { traceId, spanId, traceFlags, isRemote: true, ...(state && { traceState: state }) };
}

/** A trace that begins here and is to be recorded, for whoever calls a service without a tracer of its own. */
export function newTraceContext(): { traceId: string; spanId: string; traceparent: string } {
  const traceId = newTraceId();
  const spanId = newSpanId();
  return { traceId, spanId, traceparent: formatTraceparent({ traceId, spanId, sampled: true }) };
}

/** 32 hex digits. */
export function newTraceId(): string {
  return randomHex(16);
}

/** 16 hex digits. */
export function newSpanId(): string {
  return randomHex(8);
}

/** To ask the system for a few bytes at a time takes ten times as long. */
const pool = Buffer.alloc(4096);
let used = pool.length;

function randomHex(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const hex = pool.toString('hex', used, used + bytes);
  used += bytes;
  // All zeros says that there is none; it comes once in 2^64 times.
  return /[1-9a-f]/.test(hex) ? hex : randomHex(bytes);
}
