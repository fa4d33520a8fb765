import type {
  Attributes,
  AttributeValue,
  Trace,
  TraceOrder,
  TraceSpan,
  TraceSummary,
} from '../../../clients/console-traces.ts';
import { waterfall } from '../shared/waterfall.ts';
import type { ReceivedSpan } from './otlp.ts';

/** Which traces, and in which order. */
export interface TraceQuery {
  order: TraceOrder;
  limit: number;
  service?: string | undefined;
  /** A part of the name. */
  name?: string | undefined;
}

/** An ingest that runs all day must not push out everything else, and nobody reads more in one picture. */
export const MAX_SPANS_PER_TRACE = 5000;

/** About how many bytes the objects of a span take, without its strings. */
const SPAN_BYTES = 600;
const ENTRY_BYTES = 48;

interface Entry {
  spans: Map<string, ReceivedSpan>;
  bytes: number;
  summary: TraceSummary | undefined;
}

/** Keeps the latest traces in bounded memory: new ones push out the one that has been quiet for longest. */
export class TraceStore {
  readonly #maxTraces: number;
  readonly #maxBytes: number;
  /** In the order of their newest spans. */
  readonly #traces = new Map<string, Entry>();
  /** Traces with spans that link to a span, by that span. */
  readonly #linked = new Map<string, Set<string>>();
  #spans = 0;
  #bytes = 0;
  /** Spans that it did not keep because their trace had {@link MAX_SPANS_PER_TRACE} already. */
  #dropped = 0;

  constructor(limits: { maxTraces: number; maxBytes: number }) {
    this.#maxTraces = limits.maxTraces;
    this.#maxBytes = limits.maxBytes;
  }

  /** Adds spans. One that its sender repeats counts once. */
  add(spans: readonly ReceivedSpan[]): void {
    for (const span of spans) this.#add(span);
    while (this.#traces.size > this.#maxTraces || this.#bytes > this.#maxBytes) this.#forgetOldest();
  }

  list({ order, limit, service, name }: TraceQuery): TraceSummary[] {
    const found: TraceSummary[] = [];
    for (const [traceId, entry] of this.#traces) {
      const summary = (entry.summary ??= summarize(traceId, entry));
      if (order === 'failed' && summary.status !== 'error') continue;
      if (service !== undefined && summary.service !== service) continue;
      if (name !== undefined && !summary.name.includes(name)) continue;
      found.push(summary);
    }
    const latest = (a: TraceSummary, b: TraceSummary): number => (a.startTime < b.startTime ? 1 : -1);
    found.sort(order === 'slowest' ? (a, b) => b.durationMs - a.durationMs : latest);
    return found.slice(0, limit);
  }

  get(traceId: string): Trace | undefined {
    const entry = this.#traces.get(traceId);
    if (!entry) return undefined;
    const spans = [...entry.spans.values()];
    const start = spans.reduce((least, { startMs }) => Math.min(least, startMs), Infinity);
    return {
      traceId,
      startTime: new Date(start).toISOString(),
      spans: waterfall(spans.map((span) => traceSpan(span, start))).rows.map(({ span }) => span),
    };
  }

  /** Traces that have a span which links to this one, latest first. */
  linkedTo(traceId: string, spanId: string): TraceSummary[] {
    const linked = [...(this.#linked.get(`${traceId}/${spanId}`) ?? [])];
    return linked.flatMap((id) => {
      const entry = this.#traces.get(id);
      return entry ? [(entry.summary ??= summarize(id, entry))] : [];
    });
  }

  stats() {
    return {
      traces: this.#traces.size,
      spans: this.#spans,
      bytes: this.#bytes,
      maxTraces: this.#maxTraces,
      maxBytes: this.#maxBytes,
      dropped: this.#dropped,
    };
  }

  #add(span: ReceivedSpan): void {
    const entry = this.#traces.get(span.traceId) ?? { spans: new Map(), bytes: 0, summary: undefined };
    if (entry.spans.has(span.spanId)) return;
    if (entry.spans.size >= MAX_SPANS_PER_TRACE) {
      this.#dropped++;
      return;
    }
    this.#traces.delete(span.traceId);
    this.#traces.set(span.traceId, entry);
    entry.spans.set(span.spanId, span);
    entry.summary = undefined;
    const bytes = sizeOf(span);
    entry.bytes += bytes;
    this.#bytes += bytes;
    this.#spans++;
    for (const link of span.links) {
      const target = `${link.traceId}/${link.spanId}`;
      const from = this.#linked.get(target) ?? new Set();
      this.#linked.set(target, from.add(span.traceId));
    }
  }

  #forgetOldest(): void {
    const [oldest] = this.#traces;
    if (!oldest) return;
    const [traceId, entry] = oldest;
    this.#traces.delete(traceId);
    this.#bytes -= entry.bytes;
    this.#spans -= entry.spans.size;
    for (const { links } of entry.spans.values()) {
      for (const link of links) {
        const target = `${link.traceId}/${link.spanId}`;
        const from = this.#linked.get(target);
        from?.delete(traceId);
        if (from?.size === 0) this.#linked.delete(target);
      }
    }
  }
}

function summarize(traceId: string, { spans }: Entry): TraceSummary {
  let first: ReceivedSpan | undefined;
  let start = Infinity;
  let end = -Infinity;
  let failed = false;
  for (const span of spans.values()) {
    start = Math.min(start, span.startMs);
    end = Math.max(end, span.endMs);
    failed ||= hasFailed(span);
    if (first === undefined || goesFirst(span, first)) first = span;
  }
  return {
    traceId,
    name: first?.name ?? '',
    service: first?.service ?? '',
    startTime: new Date(start).toISOString(),
    durationMs: rounded(end - start),
    spans: spans.size,
    status: failed ? 'error' : 'ok',
  };
}

function goesFirst(span: ReceivedSpan, other: ReceivedSpan): boolean {
  if ((span.parentSpanId === null) !== (other.parentSpanId === null)) return span.parentSpanId === null;
  return span.startMs < other.startMs;
}

/** A call that its caller cancelled has not failed. */
function hasFailed({ status, attributes }: ReceivedSpan): boolean {
  const code = attributes['rpc.response.status_code'];
  return status === 'error' || (code !== undefined && code !== 'OK' && code !== 'CANCELLED');
}

function traceSpan(received: ReceivedSpan, traceStart: number): TraceSpan {
  const { traceId: _trace, startMs, endMs, events, statusMessage, ...span } = received;
  return {
    ...span,
    startMs: rounded(startMs - traceStart),
    durationMs: rounded(endMs - startMs),
    events: events.map((event) => ({ ...event, timeMs: rounded(event.timeMs - traceStart) })),
    ...(statusMessage !== '' && { statusMessage }),
  };
}

/** To microseconds: further digits are noise, as the times themselves are near 10^12. */
function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

/** About how many bytes of memory a span takes. */
function sizeOf({ name, attributes, events, links }: ReceivedSpan): number {
  let bytes = SPAN_BYTES + name.length + sizeOfAttributes(attributes);
  for (const event of events) bytes += ENTRY_BYTES + event.name.length + sizeOfAttributes(event.attributes);
  // The index holds each as well.
  for (const link of links) bytes += 5 * ENTRY_BYTES + sizeOfAttributes(link.attributes);
  return bytes;
}

function sizeOfAttributes(attributes: Attributes): number {
  return Object.entries(attributes).reduce(
    (bytes, [key, value]) => bytes + ENTRY_BYTES + key.length + sizeOfValue(value),
    0,
  );
}

function sizeOfValue(value: AttributeValue): number {
  if (typeof value === 'string') return 2 * value.length;
  return typeof value === 'object'
    ? value.reduce<number>((bytes, each) => bytes + 16 + sizeOfValue(each), 0)
    : 8;
}
