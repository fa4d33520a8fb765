import type { BatchStats } from '../../../towers/tower.ts';
import type { Attributes, SpanContext } from '@opentelemetry/api';
import type { Span } from './span.ts';

/** A run of a model, as towers report it. */
export type ModelRun = BatchStats;

/** Begins a span that is the root of a new trace. */
export interface RootTracer {
  root(name: string, startTime: number, attributes: Attributes): Span;
}

/** Where a run has its span. A `WeakMap` would do, and costs the garbage collector more than all spans of a search. */
const BATCH = Symbol('batch');

/**
 * The span of a run of a model, which many requests share. It is the root of a trace of its own and has a link to each
 * request; each request has a link to it. It is exported where any of the requests is.
 */
export class BatchSpan {
  readonly #tracer: RootTracer;
  readonly #run: ModelRun;
  readonly #model: string;
  #members: { span: Span; attributes: Attributes }[] | undefined;
  #span: Span | undefined;
  #scheduled = false;

  /** The span of a run: the same for all who share the run. @param model - name of the tower */
  static of(tracer: RootTracer, run: ModelRun & { [BATCH]?: BatchSpan }, model: string): BatchSpan {
    return (run[BATCH] ??= new BatchSpan(tracer, run, model));
  }

  private constructor(tracer: RootTracer, run: ModelRun, model: string) {
    this.#tracer = tracer;
    this.#run = run;
    this.#model = model;
  }

  spanContext(): SpanContext {
    return this.#begun().spanContext();
  }

  /**
   * Adds a request that took part in the run. All requests of a run learn of its end in one turn of the event loop, and
   * join in that turn. The link back is `Span.addBatch`.
   *
   * @param attributes - of the link: which part of the run was the request's
   */
  join(span: Span, attributes: Attributes): void {
    const member = { span, attributes };
    if (this.#members) this.#members.push(member);
    else this.#members = [member];
    if (span.sampled) this.keep();
  }

  /** Exports the span after every member has joined. */
  keep(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      const span = this.#begun();
      for (const member of this.#members ?? []) {
        span.addLink({ context: member.span.spanContext(), attributes: member.attributes });
      }
      span.end(this.#run.startedAt + this.#run.encodeMs);
    });
  }

  /** Most batches are not exported: their span is never made. */
  #begun(): Span {
    const { startedAt, size, tokens, paddingRatio } = this.#run;
    return (this.#span ??= this.#tracer.root('encode batch', startedAt, {
      'gen_ai.operation.name': 'embeddings',
      'gen_ai.request.model': this.#model,
      'scalingnote.batch.size': size,
      'scalingnote.batch.tokens': tokens,
      'scalingnote.batch.padding_ratio': paddingRatio,
    }));
  }
}
