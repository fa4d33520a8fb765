import { type Attributes, type Link, SpanKind } from '@opentelemetry/api';
import { Recording, Span, type SpanSink } from './span.ts';

/** A run of a model, as it is told of. Times as of `performance.now()`. */
export interface BatchRun {
  readonly startTime: number;
  readonly endTime: number;
  readonly attributes: Attributes;
}

/**
 * A run of a model that many requests share: a span in a trace of its own, linked to each of them, and each to it. It is
 * kept where the trace of any of them is.
 */
export class Batch {
  readonly #sink: SpanSink;
  readonly #run: () => BatchRun;
  readonly #members: { span: Span; attributes: Attributes }[] = [];
  #span: Span | undefined;
  #scheduled = false;

  /** @param run is asked where the batch is told of, which few are */
  constructor(sink: SpanSink, run: () => BatchRun) {
    this.#sink = sink;
    this.#run = run;
  }

  get span(): Span {
    if (this.#span) return this.#span;
    const { startTime, attributes } = this.#run();
    const recording = new Recording(this.#sink, true);
    return (this.#span = new Span(
      recording,
      undefined,
      'encode batch',
      SpanKind.INTERNAL,
      startTime,
      attributes,
    ));
  }

  /**
   * Links the batch to a span. All who share a batch learn of its end in one turn of the event loop, and join in it. The
   * link back is `Span.addBatch`.
   *
   * @param attributes of the link: what of the batch was the span's
   */
  join(span: Span, attributes: Attributes): void {
    this.#members.push({ span, attributes });
    if (span.sampled) this.keep();
  }

  /** Has the batch told of, once everybody has joined. */
  keep(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.span.addLinks(
        this.#members.map(({ span, attributes }): Link => ({ context: span.spanContext(), attributes })),
      );
      this.span.end(this.#run().endTime);
    });
  }
}
