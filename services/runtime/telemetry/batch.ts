import { type Attributes, SpanKind } from '@opentelemetry/api';
import { Recording, type SharedWork, Span, type SpanSink } from './span.ts';

/** A run of a model: what towers tell of it. `startedAt` as of `performance.now()`. */
export interface ModelRun {
  startedAt: number;
  encodeMs: number;
  size: number;
  tokens: number;
  paddingRatio: number;
}

/**
 * A run of a model that many requests share: a span in a trace of its own, linked to each of them, and each to it. It is
 * kept where the trace of any of them is.
 */
export class Batch implements SharedWork {
  readonly #sink: SpanSink;
  readonly #run: ModelRun;
  readonly #model: string;
  #members: { span: Span; attributes: Attributes }[] | undefined;
  #span: Span | undefined;
  #scheduled = false;

  /** @param model name of the tower */
  constructor(sink: SpanSink, run: ModelRun, model: string) {
    this.#sink = sink;
    this.#run = run;
    this.#model = model;
  }

  /** Made when somebody asks for it: most batches are not kept. */
  get span(): Span {
    if (this.#span) return this.#span;
    const { startedAt, size, tokens, paddingRatio } = this.#run;
    const recording = new Recording(this.#sink, true);
    this.#span = new Span(recording, undefined, 'encode batch', SpanKind.INTERNAL, startedAt, {
      'gen_ai.operation.name': 'embeddings',
      'gen_ai.request.model': this.#model,
      'scalingnote.batch.size': size,
      'scalingnote.batch.tokens': tokens,
      'scalingnote.batch.padding_ratio': paddingRatio,
    });
    return this.#span;
  }

  /**
   * Links the batch to a span. All who share a batch learn of its end in one turn of the event loop, and join in it. The
   * link back is `Span.addBatch`.
   *
   * @param attributes of the link: what of the batch was the span's
   */
  join(span: Span, attributes: Attributes): void {
    const member = { span, attributes };
    if (this.#members) this.#members.push(member);
    else this.#members = [member];
    if (span.sampled) this.keep();
  }

  /** Has the batch told of, once everybody has joined. */
  keep(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      for (const { span, attributes } of this.#members ?? []) {
        this.span.addLink({ context: span.spanContext(), attributes });
      }
      this.span.end(this.#run.startedAt + this.#run.encodeMs);
    });
  }
}
