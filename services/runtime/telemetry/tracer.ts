import type { IncomingHttpHeaders } from 'node:http';
import type { Metadata } from '@grpc/grpc-js';
import { type Attributes, createTraceState, type SpanContext, SpanKind } from '@opentelemetry/api';
import { BatchSpan, type ModelRun, type RootTracer } from './batch-span.ts';
import { RecordedSpan, Recording, type SpanSink } from './recorded-span.ts';
import type { Sampler } from './sampler.ts';
import type { Span } from './span.ts';
import type { ServiceError } from '../errors.ts';
import { parseTraceparent } from './trace-context.ts';

/** A call that came in, as far as it may say in which span it was made. */
export interface IncomingCall {
  readonly metadata: Metadata;
  /** What the metadata are made of, where they are made for whoever asks. */
  readonly head?: {
    readonly headers: Readonly<IncomingHttpHeaders>;
    /** As of `performance.now()`. */
    readonly arrived?: number | undefined;
    /** Why the call was ended by whoever lets calls in. */
    readonly refusal?: ServiceError | undefined;
  };
}

/** Begins the spans of a process: our own {@link Tracer}, or that of an OpenTelemetry SDK. */
export interface CallTracer extends RootTracer {
  /** Begins the span of a call that came in. */
  incoming(name: string, call: IncomingCall, startTime: number, attributes: Attributes): Span;
  /** Begins the span of a call that goes out, and belongs to no single call that came in. */
  outgoing(name: string, startTime: number, attributes: Attributes): Span;
  /** The span of a run of a model, the same for all who share the run. @param model - name of the tower */
  batch(run: ModelRun, model: string): BatchSpan;
  /** The same handler; where there is a context manager, the span of its call is active in it. */
  activate<Parameters extends unknown[], Result>(
    handler: (...parameters: Parameters) => Result,
    spanOf: (...parameters: Parameters) => Span | undefined,
  ): (...parameters: Parameters) => Result;
}

/** Where spans go that are exported; see `SpanQueue`. */
export interface SpanOutlet {
  push(spans: readonly RecordedSpan[]): void;
}

/**
 * Most unsampled traces that are exported in a second, and how many of them may come at once: an overload rejects
 * thousands of requests a second, and exporting each of them would be the next overload.
 */
export const UNSAMPLED_PER_SECOND = 20;
export const UNSAMPLED_BURST = 100;

/** Our own tracer: records every request and decides at its end whether to export it. */
export class Tracer implements CallTracer {
  readonly #sampler: Sampler;
  readonly #sink: SpanSink;
  #allowance = UNSAMPLED_BURST;
  #allowedAt = 0;

  constructor(outlet: SpanOutlet, sampler: Sampler) {
    this.#sampler = sampler;
    this.#sink = {
      export: (spans) => outlet.push(spans),
      mayKeep: (now) => this.#mayKeep(now),
    };
  }

  incoming(name: string, call: IncomingCall, startTime: number, attributes: Attributes): RecordedSpan {
    return this.server(name, callerOf(call), startTime, attributes);
  }

  /** Begins the span of a call that came in. @param parent - what the caller sent, or nothing */
  server(
    name: string,
    parent: SpanContext | undefined,
    startTime: number,
    attributes: Attributes,
  ): RecordedSpan {
    const { sampled, traceId } = this.#sampler(parent);
    const recording = new Recording(this.#sink, sampled, parent, traceId);
    return new RecordedSpan(recording, undefined, name, SpanKind.SERVER, startTime, attributes);
  }

  root(name: string, startTime: number, attributes: Attributes): RecordedSpan {
    const recording = new Recording(this.#sink, true);
    return new RecordedSpan(recording, undefined, name, SpanKind.INTERNAL, startTime, attributes);
  }

  outgoing(name: string, startTime: number, attributes: Attributes): RecordedSpan {
    const { sampled, traceId } = this.#sampler(undefined);
    const recording = new Recording(this.#sink, sampled, undefined, traceId);
    return new RecordedSpan(recording, undefined, name, SpanKind.CLIENT, startTime, attributes);
  }

  batch(run: ModelRun, model: string): BatchSpan {
    return BatchSpan.of(this, run, model);
  }

  /** As it is: on Node 20 an active context makes every promise of the process dearer. */
  activate<Handler>(handler: Handler): Handler {
    return handler;
  }

  /** A bucket of allowances that fills up again. */
  #mayKeep(now: number): boolean {
    const filled = ((now - this.#allowedAt) / 1000) * UNSAMPLED_PER_SECOND;
    this.#allowance = Math.min(UNSAMPLED_BURST, this.#allowance + filled);
    this.#allowedAt = now;
    if (this.#allowance < 1) return false;
    this.#allowance--;
    return true;
  }
}

/** The context that a call carries, if it does. */
function callerOf(call: IncomingCall): SpanContext | undefined {
  if (call.head && call.head.headers['traceparent'] === undefined) return undefined;
  const { metadata } = call;
  const [traceparent] = metadata.get('traceparent');
  const parent = traceparent === undefined ? undefined : parseTraceparent(String(traceparent));
  if (!parent) return undefined;
  const states = metadata.get('tracestate');
  return states.length === 0 ? parent : { ...parent, traceState: createTraceState(states.join(',')) };
}
