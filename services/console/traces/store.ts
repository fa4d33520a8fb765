import type {
  Attributes,
  AttributeValue,
  Trace,
  TraceOrder,
  TraceSpan,
  TraceSummary,
} from '../../../clients/console-traces.ts';
import type { ReceivedSpan } from './otlp.ts';

/** Which traces, and in which order. */
export interface TraceQuery {
  order: TraceOrder;
  limit: number;
  service?: string | undefined;
  /** A part of the name. */
  name?: string | undefined;
}

/** What the store holds. */
export interface TraceStats {
  traces: number;
  spans: number;
  bytes: number;
  maxTraces: number;
  maxBytes: number;
  /** Spans that were not kept because their trace had {@link MAX_SPANS_PER_TRACE} already. */
  dropped: number;
}

/** An ingest of a day must not push out everything else, and nobody reads more in one picture. */
export const MAX_SPANS_PER_TRACE = 5000;

/** About what a span's objects take beside its strings. */
const SPAN_BYTES = 600;
const ENTRY_BYTES = 48;

interface Entry {
  spans: Map<string, ReceivedSpan>;
  bytes: number;
  summary: TraceSummary | undefined;
}

/** The traces that were heard of last, in bounded memory: what comes pushes out what has been quiet for longest. */
export class TraceStore {
  readonly #maxTraces: number;
  readonly #maxBytes: number;
  /** The one that was heard of last is last. */
  readonly #traces = new Map<string, Entry>();
  /** Traces with spans that link to a span, by that span. */
  readonly #linked = new Map<string, Set<string>>();
  #spans = 0;
  #bytes = 0;
  #dropped = 0;

  constructor(limits: { maxTraces: number; maxBytes: number }) {
    this.#maxTraces = limits.maxTraces;
    this.#maxBytes = limits.maxBytes;
  }

  /** Takes spans in. One that comes twice, because its sender was not sure, counts once. */
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
      spans: parentsFirst(spans).map((span) => traceSpan(span, start)),
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

  stats(): TraceStats {
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
      const from = this.#linked.get(target);
      if (from) from.add(span.traceId);
      else this.#linked.set(target, new Set([span.traceId]));
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

/** What a caller has cancelled itself has not failed. */
function hasFailed({ status, attributes }: ReceivedSpan): boolean {
  const code = attributes['rpc.response.status_code'];
  return status === 'error' || (code !== undefined && code !== 'OK' && code !== 'CANCELLED');
}

/** By start, except that a clock which is behind its caller's by a little does not put a child before its parent. */
function parentsFirst(spans: readonly ReceivedSpan[]): ReceivedSpan[] {
  const children = new Map<string | null, ReceivedSpan[]>();
  const ids = new Set(spans.map(({ spanId }) => spanId));
  for (const span of [...spans].sort((a, b) => a.startMs - b.startMs)) {
    const parent = span.parentSpanId !== null && ids.has(span.parentSpanId) ? span.parentSpanId : null;
    const siblings = children.get(parent);
    if (siblings) siblings.push(span);
    else children.set(parent, [span]);
  }
  const ordered = new Set<ReceivedSpan>();
  const open = (children.get(null) ?? []).toReversed();
  for (let span = open.pop(); span !== undefined; span = open.pop()) {
    ordered.add(span);
    open.push(...(children.get(span.spanId) ?? []).toReversed());
  }
  // Spans that are each other's ancestors are somebody's mistake, and still to be seen.
  return [...ordered, ...spans.filter((span) => !ordered.has(span))];
}

function traceSpan(span: ReceivedSpan, traceStart: number): TraceSpan {
  const { spanId, parentSpanId, name, kind, service, attributes, links, status, statusMessage } = span;
  return {
    spanId,
    parentSpanId,
    name,
    kind,
    service,
    startMs: rounded(span.startMs - traceStart),
    durationMs: rounded(span.endMs - span.startMs),
    attributes,
    events: span.events.map((event) => ({ ...event, timeMs: rounded(event.timeMs - traceStart) })),
    links,
    status,
    ...(statusMessage === '' ? {} : { statusMessage }),
  };
}

/** To microseconds: what is beyond that is the noise of numbers near 10^12. */
function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

/** About how many bytes of memory a span takes. */
function sizeOf({ name, attributes, events, links }: ReceivedSpan): number {
  let bytes = SPAN_BYTES + name.length + sizeOfAttributes(attributes);
  for (const event of events) bytes += ENTRY_BYTES + event.name.length + sizeOfAttributes(event.attributes);
  // Each is in the index as well.
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
