// Traces as the console serves them in JSON, to its own page and to the command line.

/** A value of an attribute. */
export type AttributeValue = string | number | boolean | readonly AttributeValue[];
export type Attributes = Readonly<Record<string, AttributeValue>>;

/** What role a span plays in a call between processes. */
export type SpanKind = 'internal' | 'server' | 'client' | 'producer' | 'consumer';
export type SpanStatus = 'unset' | 'ok' | 'error';

/** Which traces come first; `failed` are those with an error alone. */
export type TraceOrder = 'latest' | 'slowest' | 'failed';

/** A trace in the answer of `GET /api/traces`. */
export interface TraceSummary {
  traceId: string;
  /** Of the root span, or of the earliest one where the root is somebody else's. */
  name: string;
  service: string;
  /** ISO 8601. */
  startTime: string;
  durationMs: number;
  /** How many there are. */
  spans: number;
  /** `error` where a span has failed, or a call that it stands for has not ended OK. */
  status: 'ok' | 'error';
}

/** A span of a {@link Trace}. Times are milliseconds since the start of the trace. */
export interface TraceSpan {
  spanId: string;
  /** May be a span that is not there: the caller's. */
  parentSpanId: string | null;
  name: string;
  kind: SpanKind;
  service: string;
  startMs: number;
  durationMs: number;
  attributes: Attributes;
  events: readonly { name: string; timeMs: number; attributes: Attributes }[];
  links: readonly { traceId: string; spanId: string; attributes: Attributes }[];
  status: SpanStatus;
  statusMessage?: string;
}

/** Answer of `GET /api/traces/:id`: everything that is known of a trace. */
export interface Trace {
  traceId: string;
  /** ISO 8601. */
  startTime: string;
  /** By start; parents before their children. */
  spans: TraceSpan[];
}
