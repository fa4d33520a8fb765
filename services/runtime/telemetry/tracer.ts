import { type Attributes, SpanKind } from '@opentelemetry/api';
import { Batch, type ModelRun } from './batch.ts';
import type { TraceParent } from './context.ts';
import type { Sampler } from './sampler.ts';
import { Recording, Span, type SpanSink } from './span.ts';

/** Where spans go that are kept; see `SpanQueue`. */
export interface SpanOutlet {
  push(spans: readonly Span[]): void;
}

/**
 * Most traces a second that are kept although nobody sampled them, and how many of them may come at once: an overload
 * refuses thousands of requests a second, and to tell of each would be the next overload.
 */
export const UNSAMPLED_PER_SECOND = 20;
export const UNSAMPLED_BURST = 100;

/** Where a run has its span. A `WeakMap` would do, and costs the garbage collector more than all spans of a search. */
const BATCH = Symbol('batch');
type Run = ModelRun & { [BATCH]?: Batch };

/** Begins the spans of a process and decides which are kept. */
export class Tracer {
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

  /** Begins the span of a call that came in. @param parent what the caller sent, or nothing */
  server(name: string, parent: TraceParent | undefined, startTime: number, attributes: Attributes): Span {
    const { sampled, traceId } = this.#sampler(parent);
    const recording = new Recording(this.#sink, sampled, parent, traceId);
    return new Span(recording, undefined, name, SpanKind.SERVER, startTime, attributes);
  }

  /** The span of a run of a model, the same for all who share the run. */
  batch(run: Run, model: string): Batch {
    return (run[BATCH] ??= new Batch(this.#sink, run, model));
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
