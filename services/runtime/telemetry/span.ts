import {
  type Attributes,
  type AttributeValue,
  type Context,
  type Link,
  type SpanContext,
  type SpanKind,
  type SpanStatus,
  TraceFlags,
} from '@opentelemetry/api';
import type { BatchSpan } from './batch-span.ts';

/** What a span may begin with. */
export interface SpanStart {
  /** @default internal */
  kind?: SpanKind;
  /** As of `performance.now()`. @default now */
  startTime?: number;
  attributes?: Attributes;
}

/**
 * A stretch of work, as the services see it: a `RecordedSpan` of our own tracer, or an `SdkSpan` where the process was
 * started with an OpenTelemetry SDK. Times are those of `performance.now()`.
 */
export interface Span {
  readonly startTime: number;
  /** Negative until the span has ended. */
  readonly endTime: number;
  readonly hasEnded: boolean;
  /** Whether it is certain already that the span will be exported. */
  readonly sampled: boolean;
  /** The request failed or was slow: our own tracer then exports its trace although it was not sampled. */
  notable: boolean;
  /** Fields of a line in the log. */
  readonly logFields: { trace_id: string; span_id: string };
  /** What libraries need to know to begin spans below this one; absent where such spans would not be exported. */
  readonly libraryContext: Context | undefined;
  spanContext(): SpanContext;
  /** Begins a part of this span. */
  child(name: string, start?: SpanStart): Span;
  /** Adds a part that has ended already. */
  record(name: string, startTime: number, endTime: number, attributes?: Attributes): Span;
  /**
   * Begins a part of a stream. A stream may last for days, so its parts are exported when they end.
   *
   * @param start.parent - the trace that the part belongs to, where that is another one: the two are then linked
   */
  part(name: string, start?: SpanStart & { parent?: SpanContext }): Span;
  setAttribute(key: string, value: AttributeValue): this;
  setAttributes(attributes: Attributes): this;
  addEvent(name: string, attributes?: Attributes): this;
  addLink(link: Link): this;
  /** Links to a run of the model that this work was a part of. Where this span is exported, so is the run's. */
  addBatch(batch: BatchSpan): this;
  setStatus(status: SpanStatus): this;
  /** The work failed. @param type - a stable word; see `error.type` of the semantic conventions */
  fail(type: string, message?: string): this;
  /** @param endTime - @default now */
  end(endTime?: number): void;
}

/** What a call made on behalf of a span is given, so that libraries can begin spans below it. */
export function traceOf(span: Span | undefined): { trace?: Context } {
  const trace = span?.libraryContext;
  return trace ? { trace } : {};
}

/** Whether a span, of this process or another, is to be exported. */
export function isSampled({ traceFlags }: SpanContext): boolean {
  return (traceFlags & TraceFlags.SAMPLED) !== 0;
}
