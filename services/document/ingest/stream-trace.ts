import { SpanKind } from '@opentelemetry/api';
import type { Encoding as Encoded } from '../../../towers/tower.ts';
import type { BatchSpan } from '../../runtime/telemetry/batch-span.ts';
import { parseTraceparent } from '../../runtime/telemetry/trace-context.ts';
import type { HistogramSeries } from '../../runtime/telemetry/instruments.ts';
import type { Span } from '../../runtime/telemetry/span.ts';
import type { Telemetry } from '../../runtime/telemetry/telemetry.ts';
import type { EncodeWatch } from './encoder.ts';
import type { DocumentTrace, Encoding, Settled, Writing } from './operation.ts';

/** Where a stream writes to. */
interface WriteTarget {
  /** Kind of the store. */
  store: string;
  /** Physical name. */
  collection: string;
}

/**
 * Spans and metrics of an ingest stream. The stream is a span with an event for each of its documents. Under it are the
 * writes, with links to the runs of the model that made their vectors, and the watermarks. A document that brings a
 * `traceparent` has a span in that trace as well, from its arrival to the watermark that covers it.
 */
export class StreamTrace {
  readonly #span: Span | undefined;
  readonly #telemetry: Telemetry;
  readonly #model: string;
  readonly #ingestWaits: HistogramSeries | undefined;
  readonly #encodeWaits: HistogramSeries | undefined;
  #firstSettledAt: number | undefined;

  /** @param span of the call @param model name of the tower */
  constructor(telemetry: Telemetry, span: Span | undefined, model: string) {
    this.#telemetry = telemetry;
    this.#span = span;
    this.#model = model;
    this.#ingestWaits = telemetry.metrics?.queueWait({ 'scalingnote.queue': 'ingest' });
    this.#encodeWaits = telemetry.metrics?.queueWait({ 'scalingnote.queue': 'encode' });
  }

  /** 32 hex digits; absent where the call has no span. */
  get traceId(): string | undefined {
    return this.#span?.spanContext().traceId;
  }

  /** The stream is open. */
  opened(collection: string): void {
    this.#span?.setAttribute('scalingnote.collection', collection);
  }

  /** An operation had to wait for room. @param startTime as of `performance.now()` */
  admitted(startTime: number): void {
    const seconds = (performance.now() - startTime) / 1000;
    this.#ingestWaits?.record(seconds, this.#span);
  }

  /** Begins the document's own trace, if it has one. */
  document(sequence: number, documentId: string, traceparent: string): DocumentTrace | undefined {
    const parent = traceparent === '' ? undefined : parseTraceparent(traceparent);
    if (!parent || !this.#span) return undefined;
    const attributes = { 'scalingnote.document.id': documentId, 'scalingnote.sequence': sequence };
    return { span: this.#span.part('document', { kind: SpanKind.CONSUMER, parent, attributes }) };
  }

  /** Watches an operation being encoded. @param batches collects the runs of the model that it shares */
  encoding({ documentId, sequence, trace }: Encoding, batches: Set<BatchSpan>): EncodeWatch {
    const attributes = { 'scalingnote.document.id': documentId, 'scalingnote.sequence': sequence };
    const { tracer } = this.#telemetry;
    let encode: Span | undefined;
    let tokens = 0;
    return {
      tokenized: (startTime, endTime) => {
        trace?.span.record('tokenize', startTime, endTime);
        encode ??= trace?.span.child('encode', {
          startTime: endTime,
          attributes: { 'gen_ai.operation.name': 'embeddings', 'gen_ai.request.model': this.#model },
        });
      },
      passage: (count, { batch: run, queueMs }: Encoded) => {
        tokens += count;
        this.#encodeWaits?.record(queueMs / 1000, this.#span);
        const batch = tracer?.batch(run, this.#model);
        const member = encode ?? this.#span;
        if (!batch || !member || batches.has(batch)) return;
        batches.add(batch);
        batch.join(member, attributes);
        encode?.addBatch(batch);
      },
      encoded: (passages, encoded) => {
        encode
          ?.setAttributes({
            'gen_ai.usage.input_tokens': tokens,
            'scalingnote.passages': passages,
            'scalingnote.passages.encoded': encoded,
          })
          .end();
      },
    };
  }

  /** Begins a write. */
  writing(operations: readonly Writing[], { store, collection }: WriteTarget): Span | undefined {
    const span = this.#span?.part('upsert', {
      kind: SpanKind.CLIENT,
      attributes: {
        'db.system.name': store,
        'db.operation.name': 'upsert',
        'db.collection.name': collection,
        'db.operation.batch.size': operations.length,
      },
    });
    if (!span) return undefined;
    const batches = new Set(operations.flatMap(({ step }) => (step.kind === 'put' ? [...step.batches] : [])));
    for (const batch of batches) span.addBatch(batch);
    return span;
  }

  /** A write has ended, well or not. The span has no error: where a write fails, the stream fails and says why. */
  written(span: Span | undefined, operations: readonly Writing[]): void {
    if (!span) return;
    span.end();
    for (const { trace } of operations) {
      const part = trace?.span.child('upsert', { startTime: span.startTime });
      part?.addLink({ context: span.spanContext() }).end(span.endTime);
    }
  }

  /** An operation has its outcome. */
  settled({ documentId, sequence, trace, outcome, reason }: Settled): void {
    const attributes = {
      'scalingnote.document.outcome': String(outcome.kind).replace('OUTCOME_KIND_', '').toLowerCase(),
      ...(reason !== '' && { 'scalingnote.reason': reason }),
    };
    this.#telemetry.metrics?.documents(attributes).add(1);
    this.#firstSettledAt ??= performance.now();
    this.#span?.addEvent('document', {
      'scalingnote.document.id': documentId,
      'scalingnote.sequence': sequence,
      ...attributes,
    });
    if (!trace) return;
    trace.settledAt = performance.now();
    trace.span.setAttributes(attributes);
    if (reason !== '') trace.span.fail(reason);
  }

  /** A watermark has gone out: searches find everything up to its sequence. */
  visible(sequence: number, documents: number, traces: readonly DocumentTrace[]): void {
    const now = performance.now();
    const attributes = { 'scalingnote.watermark': sequence, 'scalingnote.documents': documents };
    this.#span?.part('visible', { startTime: this.#firstSettledAt ?? now, attributes }).end(now);
    this.#firstSettledAt = undefined;
    for (const { span, settledAt } of traces) {
      span.record('visible', settledAt ?? now, now, { 'scalingnote.watermark': sequence });
      span.end(now);
    }
  }

  /** The stream has ended before an operation was settled. */
  abandoned({ span }: DocumentTrace): void {
    if (!span.hasEnded) span.fail('abandoned').end();
  }
}
